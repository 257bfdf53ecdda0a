# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""``tests/gpu/run``: builds, serves and measures out of a folder that tests/gpu/collect has filled."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import tiny_model
from ansible_collections.llama_fleet.core.plugins.module_utils.tiny_model import F32, Q4_K, Q6_K, Q8_0, Model
from tests.gpu import driver, gpus, speed
from tests.gpu.parcel import NAME, ROOT, pip
from tests.hub.server import Hub

FAILED, WRONG_USE, NO_GPU = 1, 2, 3
INSTANCE = "gpu-run"


class FailedError(Exception):
    """Why the run cannot go on, as a sentence."""


def shapes(quant: str) -> dict[str, Model]:
    """Models by what they resemble: one for a quick look, one of 1 and one of 8 thousand million parameters."""
    matrix, output = {"Q8_0": (Q8_0, Q8_0), "Q4_K": (Q4_K, Q6_K)}[quant]

    def model(name: str, width: int, feed_forward: int, heads: int, kv_heads: int, layers: int) -> Model:
        return Model(f"{name}-{quant}", width, feed_forward, heads, kv_heads, ((matrix, matrix),) * layers, matrix, output, 32000, 8192)

    return {"small": model("small", 512, 1536, 8, 4, 4), "1b": model("1b", 2048, 8192, 32, 8, 16), "8b": model("8b", 4096, 14336, 32, 8, 32)}


@dataclasses.dataclass(frozen=True)
class Run:
    """One run: what the user asked for, and where its things are."""

    folder: pathlib.Path
    work: pathlib.Path
    root: pathlib.Path
    compiler_cache: str
    cpu: bool
    model: Model
    prompt: int
    tokens: int
    rounds: int
    port: int
    cmake_options: dict[str, str]
    parcel: dict[str, typing.Any]

    @property
    def site(self) -> pathlib.Path:
        """Ansible."""
        return self.work / "site"

    @property
    def file(self) -> pathlib.Path:
        """The model."""
        return self.work / f"{self.model.name}.gguf"

    def ansible(self, *arguments: str) -> None:
        """Ansible's ``playbook`` on this host; what it says goes to stderr."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "LLAMA_"))}
        environment |= {
            "PYTHONPATH": str(self.site),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_HOME": str(self.work / "ansible"),
            "LC_ALL": "C.UTF-8",
        }
        command = [sys.executable, "-m", "ansible", "playbook", "-i", "inventories/localhost", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, check=False, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        if done.returncode:
            raise FailedError(f"ansible-playbook ended with {done.returncode}")


def main() -> int:
    try:
        return _main()
    except gpus.NoGpuError as reason:
        sys.stderr.write(f"tests/gpu/run: no NVIDIA GPU can be used here: {reason}\n")
        return NO_GPU
    except (FailedError, OSError, subprocess.SubprocessError) as reason:
        sys.stderr.write(f"tests/gpu/run: {reason}\n")
        return FAILED


def _main() -> int:
    given = _arguments().parse_args()
    seen = [] if given.cpu else gpus.look()
    try:
        parcel = json.loads((given.folder / NAME).read_text(encoding="utf-8"))
    except OSError:
        sys.stderr.write(f"tests/gpu/run: {given.folder} is not complete; run tests/gpu/collect {given.folder} where there is a package index\n")
        return WRONG_USE
    work = given.work.resolve()
    run = Run(
        folder=given.folder.resolve(),
        work=work,
        root=given.root.resolve() if given.root else work / "opt",
        compiler_cache=str(given.compiler_cache.resolve()) if given.compiler_cache else "",
        cpu=given.cpu,
        model=shapes(given.quant)[given.shape],
        prompt=given.prompt,
        tokens=given.tokens,
        rounds=given.rounds,
        port=given.port,
        cmake_options=dict(option.split("=", 1) for option in given.cmake_option),
        parcel=parcel,
    )
    report = _measure(run, seen)
    (given.json or work / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(report, indent=2) + "\n\n" + table(report))
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests/gpu/run", description=__doc__)
    parser.add_argument("folder", type=pathlib.Path, help="what tests/gpu/collect has filled")
    parser.add_argument("--cpu", action="store_true", help="do the same without a GPU, to try the run itself")
    parser.add_argument("--shape", choices=list(shapes("Q8_0")), default="1b")
    parser.add_argument("--quant", choices=["Q8_0", "Q4_K"], default="Q8_0")
    parser.add_argument("--prompt", type=int, default=512, help="tokens")
    parser.add_argument("--tokens", type=int, default=128, help="tokens to generate")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--port", type=int, default=8189)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("/tmp/llama-fleet-gpu"), help="folder for everything that the run makes")
    parser.add_argument("--root", type=pathlib.Path, help="folder of toolkits and releases, to build none that is there")
    parser.add_argument("--compiler-cache", type=pathlib.Path)
    parser.add_argument("--cmake-option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--json", type=pathlib.Path, help="file for the report (report.json in the folder of the run)")
    return parser


def _measure(run: Run, seen: list[dict[str, str]]) -> dict[str, typing.Any]:
    run.work.mkdir(parents=True, exist_ok=True)
    _install_ansible(run)
    examined = {} if run.cpu else _examined(driver.examine())
    _generate(run)
    url = f"http://127.0.0.1:{run.port}"
    with Hub(run.folder) as hub, speed.Readiness(url) as ready:
        results = _play(run, f"{hub.url}/simple")
    try:
        if not run.cpu:
            _examined({"wrong": driver.differences(results["gpu"], driver.query())})
        server, release = results["server"], results["release"]
        took = ready.seconds_of(server["pid"])
        with gpus.Watch(not run.cpu) as watch:
            served = speed.ask(url, run.model.vocabulary, run.prompt, run.tokens, run.rounds)
    finally:
        run.ansible("playbooks/down.yml", "-e", f"@{run.work / 'variables.json'}")
    if not run.cpu and not server["device"].startswith("CUDA"):
        raise FailedError(f"the instance computes on {server['device']} and not on the GPU")
    return {
        "gpus": seen,
        "driver": examined,
        "gpus_at_work": watch.busiest,
        "device": server["device"],
        "toolkit": {name: results["toolkit"].get(name, "") for name in ("version", "origin")},
        "release": {name: release[name] for name in ("build", "fingerprint", "compiled")},
        "cmake_options": run.cmake_options,
        "model": {"shape": run.model.name, "parameters": parameters(run.model), "bytes": run.file.stat().st_size},
        "time_to_ready_seconds": took,
        "server": served,
        "bench": speed.bench(pathlib.Path(release["path"]), run.file, run.prompt, run.tokens, run.rounds, not run.cpu),
    }


def _examined(report: dict[str, typing.Any]) -> dict[str, typing.Any]:
    """What nvidia_driver_info says; raises where any of it is not so."""
    if report["wrong"]:
        raise FailedError("nvidia_driver_info: " + "; ".join(report["wrong"]))
    return report


def _install_ansible(run: Run) -> None:
    python = ".".join(map(str, sys.version_info[:2]))
    if python not in run.parcel["pythons"]:
        raise FailedError(f"the folder has no wheels for Python {python}; collect them with --python {python}")
    stamp = run.site / "complete"
    if stamp.exists():
        return
    shutil.rmtree(run.site, ignore_errors=True)
    packages = run.folder / "simple"
    command = [*pip(packages), "install", "--quiet", "--disable-pip-version-check", "--no-index", "--find-links", str(packages), "--target", str(run.site)]
    # Neither the configuration of pip nor other folders of packages have a say.
    subprocess.run([*command, "ansible-core"], check=True, env={**os.environ, "PIP_CONFIG_FILE": os.devnull}, stdout=sys.stderr)
    stamp.touch()


def _generate(run: Run) -> None:
    if not run.file.exists():
        new = run.file.with_suffix(".new")
        tiny_model.write_model(new, run.model)
        new.rename(run.file)


def _play(run: Run, index: str) -> dict[str, typing.Any]:
    """The whole play; returns what its roles returned."""
    folders = {"llama_server_root": "etc", "llama_server_runtime_root": "run", "gguf_model_root": "models", "gguf_model_instances": "etc"}
    variables: dict[str, typing.Any] = {
        **{name: str(run.work / folder) for name, folder in folders.items()},
        "gpu_run_results": str(run.work / "results.json"),
        "nvidia_driver_gpu": "none" if run.cpu else "required",
        "cuda_toolkit_root": str(run.root),
        "cuda_toolkit_index_url": index,
        "llama_cpp_root": str(run.root),
        "llama_cpp_source": run.parcel["source"],
        "llama_cpp_index_url": index,
        "llama_cpp_install_packages": False,
        "llama_cpp_compiler_cache": run.compiler_cache,
        "llama_cpp_cmake_options": run.cmake_options,
        "gguf_model_source": str(run.file),
        "llama_server_instance": INSTANCE,
        "llama_server_runtime": "process",
        "llama_server_port": run.port,
        "llama_server_ctx_size": run.prompt + run.tokens + 64,
        "llama_server_parallel": 1,
        "llama_server_n_gpu_layers": "auto" if run.cpu else "all",
    }
    file = run.work / "variables.json"
    file.write_text(json.dumps(variables), encoding="utf-8")
    run.ansible("tests/gpu/play.yml", "-e", f"@{file}")
    return typing.cast("dict[str, typing.Any]", json.loads((run.work / "results.json").read_text(encoding="utf-8")))


def parameters(model: Model) -> int:
    """How many numbers the model has."""
    return sum(math.prod(shape) for quant, shape in tiny_model.tensors(model).values() if quant is not F32)


def table(report: dict[str, typing.Any]) -> str:
    """The report for people."""
    server, bench, model = report["server"], report["bench"], report["model"]
    names = ", ".join(gpu["name"] for gpu in report["gpus"]) or "none"
    rows = [
        ("GPU", f"{names}; computed on {report['device']}"),
        ("model", f"{model['shape']}, {model['parameters'] / 1e9:.2f} G parameters, {model['bytes'] / 1e9:.2f} GB"),
        ("time to ready", f"{report['time_to_ready_seconds']} s"),
        ("prompt", f"{server['prompt_tokens_per_second']} tokens/s (llama-bench: {bench['prompt_tokens_per_second']})"),
        ("generation", f"{server['generated_tokens_per_second']} tokens/s (llama-bench: {bench['generated_tokens_per_second']})"),
    ]
    return "".join(f"{name:14} {value}\n" for name, value in rows)


if __name__ == "__main__":
    raise SystemExit(main())
