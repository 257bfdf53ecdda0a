# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Describe one run: what the user asked for, where its files are, and how its phases call Ansible."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import math
import os
import shutil
import subprocess
import sys
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf import tiny_model
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.tiny_model import F32, Q4_K, Q6_K, Q8_0, Model
from tests.gpu import toolkit
from tests.gpu.parcel import ROOT, pip
from tests.hub.server import Hub

if typing.TYPE_CHECKING:
    import pathlib

MARK = "LLAMA_FLEET_GPU_RUN"  # in the environment of every process of a phase: the work folder
INSTANCE = "gpu-run"
RELEASE = "release.json"  # what the phase of that name has provided
GPU, CPU, RECORDED = "gpu", "cpu", "recorded"
PACKED = "release+"


class FailedError(Exception):
    """A phase, or the run, cannot continue; the message says why, as a sentence."""


class NotHereError(Exception):
    """A phase has nothing to show on this host; the message says why, as a clause."""


def shapes(quant: str) -> dict[str, Model]:
    """Return models by what they resemble: one for a quick check, one of 1 and one of 8 billion parameters."""
    matrix, output = {"Q8_0": (Q8_0, Q8_0), "Q4_K": (Q4_K, Q6_K)}[quant]

    def model(name: str, width: int, feed_forward: int, heads: int, kv_heads: int, layers: int) -> Model:
        return Model(
            f"{name}-{quant}",
            width,
            feed_forward,
            heads,
            kv_heads,
            ((matrix, matrix),) * layers,
            matrix,
            output,
            32000,
            8192,
        )

    return {
        "small": model("small", 512, 1536, 8, 4, 4),
        "1b": model("1b", 2048, 8192, 32, 8, 16),
        "8b": model("8b", 4096, 14336, 32, 8, 32),
    }


def parameters(model: Model) -> int:
    """Return the number of the model's parameters."""
    return sum(math.prod(shape) for quant, shape in tiny_model.tensors(model).values() if quant is not F32)


@dataclasses.dataclass(frozen=True)
class Run:
    """The input of every phase; it does not change during a run."""

    folder: pathlib.Path
    work: pathlib.Path
    root: pathlib.Path
    mode: str
    models: tuple[Model, ...]
    prompt: int
    tokens: int
    rounds: int
    port: int
    parcel: dict[str, typing.Any]
    wanted: str = ""  # llama_cpp_source: to be compiled, or packed
    compiler_cache: str = ""
    cmake_options: dict[str, str] = dataclasses.field(default_factory=dict)
    deadline: float = math.inf  # of time.monotonic

    @property
    def gpu(self) -> bool:
        """Return whether a GPU computes; in the other modes the CPU does."""
        return self.mode == GPU

    @property
    def limited(self) -> bool:
        return self.deadline != math.inf

    def left(self) -> float:
        """Return the seconds left of the budget."""
        return self.deadline - time.monotonic()

    @property
    def source(self) -> str:
        """Return ``llama_cpp_source``: that of the present release, otherwise the wanted one."""
        return str(self.returned().get("source") or self.wanted)

    def returned(self) -> dict[str, typing.Any]:
        """Return what the phase ``release`` has provided; empty before that."""
        file = self.work / RELEASE
        return (
            typing.cast("dict[str, typing.Any]", json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}
        )

    def borrow(self, package: str) -> typing.Any:
        """Import a module from the parcel's packages."""
        self.install_ansible()
        if str(self.site) not in sys.path:
            sys.path.append(str(self.site))
        return importlib.import_module(package)

    @property
    def site(self) -> pathlib.Path:
        """Return the folder of Ansible."""
        return self.work / "site"

    def environment(self) -> dict[str, str]:
        """Return the environment of a phase's programs."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ANSIBLE_", "LLAMA_")) or name == MARK
        }
        return environment | {
            "PYTHONPATH": str(self.site),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_HOME": str(self.work / "ansible"),
            "LC_ALL": "C.UTF-8",
        }

    def ansible(self, *arguments: str) -> None:
        """Run Ansible's ``playbook`` on this host, with its output on stderr; raise FailedError if it fails."""
        self.install_ansible()
        command = [sys.executable, "-m", "ansible", "playbook", "-i", "inventories/localhost", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment(), check=False, stdin=subprocess.DEVNULL, stdout=sys.stderr
        )
        if done.returncode:
            raise FailedError(f"ansible-playbook ended with {done.returncode}")

    def play(self, playbook: str, more: typing.Mapping[str, typing.Any] | None = None) -> dict[str, typing.Any]:
        """Run a play of tests/gpu with this run's variables and ``more``; return what its roles returned."""
        results = self.work / "returned.json"
        results.unlink(missing_ok=True)
        with self.variables(more) as file:
            self.ansible(playbook, "-e", f"@{file}")
        return (
            typing.cast("dict[str, typing.Any]", json.loads(results.read_text(encoding="utf-8")))
            if results.exists()
            else {}
        )

    @contextlib.contextmanager
    def variables(self, more: typing.Mapping[str, typing.Any] | None = None) -> typing.Iterator[pathlib.Path]:
        """Yield a file of role variables, while a package index serves the parcel."""
        folders = {
            "llama_server_root": "etc",
            "llama_server_runtime_root": "run",
            "gguf_model_root": "models",
            "gguf_model_instances": "etc",
        }
        file = self.work / "variables.json"
        with Hub(self.folder) as hub:
            index = f"{hub.url}/simple"
            variables: dict[str, typing.Any] = {
                **{name: str(self.work / folder) for name, folder in folders.items()},
                "gpu_run_results": str(self.work / "returned.json"),
                "nvidia_driver_gpu": "required" if self.gpu else "none",
                "cuda_toolkit_root": str(self.root),
                "cuda_toolkit_path": self.toolkit(),
                "cuda_toolkit_index_url": index,
                "llama_cpp_root": str(self.root),
                "llama_cpp_source": self.source,
                "llama_cpp_index_url": index,
                "llama_cpp_install_packages": False,
                "llama_cpp_compiler_cache": self.compiler_cache,
                "llama_cpp_cmake_options": self.cmake_options,
                "llama_server_instance": INSTANCE,
                "llama_server_runtime": "process",
                "llama_server_port": self.port,
                "llama_server_n_gpu_layers": "all" if self.gpu else "auto",
            }
            file.write_text(json.dumps({**variables, **(more or {})}), encoding="utf-8")
            yield file

    def toolkit(self) -> str:
        """Return the host's toolkit, if a GPU is built for and the parcel has none."""
        found = toolkit.find(self.work) if self.gpu and not self.parcel.get("toolkit") else None
        return str(found or "")

    def install_ansible(self) -> None:
        """Install Ansible below the work folder, from the parcel."""
        python = ".".join(map(str, sys.version_info[:2]))
        if python not in self.parcel["pythons"]:
            raise FailedError(f"the folder has no wheels for Python {python}; collect them with --python {python}")
        stamp = self.site / "complete"
        if stamp.exists():
            return
        shutil.rmtree(self.site, ignore_errors=True)
        packages = self.folder / "simple"
        command = [
            *pip(packages),
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-index",
            "--find-links",
            str(packages),
            "--target",
            str(self.site),
        ]
        # Ignore pip's configuration and other folders of packages.
        environment = {**os.environ, "PIP_CONFIG_FILE": os.devnull}
        subprocess.run(
            [*command, *self.parcel.get("packages", ["ansible-core"])], check=True, env=environment, stdout=sys.stderr
        )
        stamp.touch()

    def model_file(self, model: Model) -> pathlib.Path:
        """Return the model as a file, generated on first use."""
        file = self.work / f"{model.name}.gguf"
        if not file.exists():
            new = file.with_suffix(".new")
            tiny_model.write_model(new, model)
            new.rename(file)
        return file
