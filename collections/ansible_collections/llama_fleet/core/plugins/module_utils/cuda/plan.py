# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Say which CUDA toolkit is wanted, and find those on a host that can be used."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import (
    directory,
    optional_path,
    switch,
    text,
    texts,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import (
    Problem,
)

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.cuda.releases import Release
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner

PATH_VARIABLE = "cuda_toolkit_path"
VERSION_VARIABLE = "cuda_toolkit_version"
SPACE = 4_000_000_000  # bytes: the wheels, their unpacked content, and a margin
# The oldest driver of each CUDA major version that it runs, newest first.
OLDEST_DRIVER = {13: 580, 12: 525}
WHOLE = "a CUDA toolkit with nvcc, its headers and cuBLAS"


@dataclasses.dataclass(frozen=True)
class ToolkitHost:
    """Access to a host: paths are below ``root``, commands go through ``run``, ``folders`` are PATH's."""

    run: Runner
    machine: str
    folders: tuple[str, ...]
    root: pathlib.Path = pathlib.Path("/")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The options of the module cuda_toolkit; each is declared here only.

    An empty ``driver_version`` sets no limit; an empty ``version`` means the newest that fits.
    """

    root: pathlib.Path = directory("/opt/llama-fleet")
    path: str = optional_path()
    version: str = text()
    driver_version: str = text()
    architectures: tuple[str, ...] = texts()
    state: str = text("present", ("present", "absent"))
    install_packages: bool = switch(True)
    index_url: str = text()

    @property
    def driver(self) -> int:
        match = re.match(r"\d+", self.driver_version)
        return int(match[0]) if match else 0

    @property
    def numbers(self) -> list[str]:
        """Return the architectures as nvcc writes them: ``90-real`` -> ``90``."""
        return [re.split(r"[^0-9]", name)[0] for name in self.architectures]

    @property
    def ptx(self) -> bool:
        """Return whether the driver will have to compile PTX, which every architecture but ``-real`` contains."""
        return any(not name.endswith("-real") for name in self.architectures)


@dataclasses.dataclass(frozen=True)
class Toolkit:
    """A folder with bin/nvcc. ``nvcc`` is its version line, empty before the installation."""

    path: pathlib.Path
    version: str
    nvcc: str = ""

    @property
    def include(self) -> pathlib.Path:
        """Return the folder of its headers."""
        places = (self.path / "include", *sorted(self.path.glob("targets/*/include")))
        return next((place for place in places if (place / "cuda_runtime.h").is_file()), self.path / "include")

    @property
    def library(self) -> pathlib.Path:
        """Return the library folder: lib64 in NVIDIA's packages, a folder named after the machine in Debian's."""
        targets, machines = self.path.glob("targets/*/lib"), self.path.glob("lib/*-linux-gnu")
        places = (self.path / "lib64", *sorted(targets), *sorted(machines), self.path / "lib")
        return next((place for place in places if (place / "libcublas.so").exists()), self.path / "lib64")


@dataclasses.dataclass(frozen=True)
class ToolkitPlan:
    """The toolkit to use; ``release`` must be installed there first, if it is not None."""

    toolkit: Toolkit
    origin: str
    release: Release | None = None


class UnfitError(Exception):
    """A toolkit cannot be used; the text is the reason as a noun phrase."""


def has_compiler(host: ToolkitHost) -> bool:
    """Return whether the host has g++, which nvcc needs."""
    return shutil.which("g++", path=":".join(host.folders)) is not None


# Tries a toolkit by compiling; returns the reason if it cannot compile, otherwise an empty string.
Trial = typing.Callable[[Toolkit], str]


def unfit_release(release: Release, wanted: Wanted) -> str:
    """Return why a release cannot serve the driver and the GPUs, or an empty string."""
    unfit = unfit_for(release.version, release.architectures, wanted)
    if not unfit and wanted.ptx and wanted.driver and not 0 < release.oldest_ptx_driver <= wanted.driver:
        return f"CUDA {release.version}, whose PTX driver {wanted.driver_version} may be too old for"
    return unfit


def architecture_problems(wanted: Wanted) -> list[Problem]:
    """Return a problem for each architecture that CMake would not accept."""
    return [
        Problem("cuda_toolkit_architectures", f"'{name}'", "numbers as CMake has them, such as 90-real")
        for name in wanted.architectures
        if not re.fullmatch(r"\d{2,3}[af]?(-real|-virtual)?", name)
    ]


def unfit_for(version: str, architectures: typing.Collection[str], wanted: Wanted) -> str:
    """Return why a toolkit of this version cannot serve the driver and the GPUs, or an empty string."""
    major, oldest = int(version.partition(".")[0]), min(OLDEST_DRIVER)
    if major < oldest:
        return f"CUDA {version}, older than {oldest}"
    if wanted.driver and major not in OLDEST_DRIVER:
        return f"CUDA {version}, newer than {max(OLDEST_DRIVER)}, so that its driver is not known"
    if wanted.driver and wanted.driver < OLDEST_DRIVER[major]:
        return f"CUDA {version}, which driver {wanted.driver_version} is too old for"
    unknown = [number for number in wanted.numbers if architectures and number not in architectures]
    return f"CUDA {version}, which does not build for {', '.join(unknown)}" if unknown else ""


def examine(folder: pathlib.Path, wanted: Wanted, host: ToolkitHost) -> Toolkit:
    """Return the toolkit in ``folder``. Raises UnfitError with the reason if it cannot be used."""
    nvcc = folder / "bin/nvcc"
    if not os.access(nvcc, os.X_OK):
        raise UnfitError(f"{folder}, which has no bin/nvcc")
    match = re.search(
        r"^.*release [\d.]+, V(\d+\.\d+\.\d+).*$", host.run([str(nvcc), "--version"], timeout=60).stdout, re.MULTILINE
    )
    if match is None:
        raise UnfitError(f"{nvcc}, which does not print its version")
    toolkit = Toolkit(folder, match[1], match[0].strip())
    if wanted.version and not f"{toolkit.version}.".startswith(f"{wanted.version}."):
        raise UnfitError(f"CUDA {toolkit.version}, not {wanted.version}, in {folder}")
    needed = {
        "cuda_runtime.h": (toolkit.include / "cuda_runtime.h").is_file(),
        "cuBLAS": (toolkit.include / "cublas_v2.h").is_file() and (toolkit.library / "libcublas.so").exists(),
    }
    missing = [name for name, there in needed.items() if not there]
    if missing:
        raise UnfitError(f"CUDA {match[1]} in {folder}, which lacks {' and '.join(missing)}")
    known = re.findall(r"compute_(\d+)", host.run([str(nvcc), "--list-gpu-arch"], timeout=60).stdout)
    unfit = unfit_for(match[1], known, wanted)
    if unfit:
        raise UnfitError(f"{unfit}, in {folder}")
    return toolkit


def search(wanted: Wanted, host: ToolkitHost, refusal: Trial = lambda _toolkit: "") -> tuple[Toolkit | None, list[str]]:
    """Return the newest usable toolkit on the host that ``refusal`` accepts, and why the others cannot be used."""
    usable: list[Toolkit] = []
    reasons: list[str] = []
    for folder in candidates(host):
        toolkit, reason = _examined(folder, wanted, host)
        if toolkit:
            usable.append(toolkit)
        else:
            reasons.append(reason)
    for toolkit in sorted(usable, key=lambda each: [int(part) for part in each.version.split(".")], reverse=True):
        reason = refusal(toolkit)
        if not reason:
            return toolkit, reasons
        reasons.append(reason)
    return None, reasons


def _examined(folder: pathlib.Path, wanted: Wanted, host: ToolkitHost) -> tuple[Toolkit | None, str]:
    try:
        return examine(folder, wanted, host), ""
    except UnfitError as reason:
        return None, str(reason)


def candidates(host: ToolkitHost) -> list[pathlib.Path]:
    """List the folders that may hold a toolkit, resolved, because links change when another one is installed."""
    local = host.root / "usr/local"
    places = [local / "cuda", *sorted(local.glob("cuda-*"), reverse=True)]
    for folder in host.folders:
        nvcc = host.root / folder.lstrip("/") / "nvcc"
        if nvcc.is_file():
            places += [nvcc.resolve().parents[1], nvcc.parent.parent]
    return list(dict.fromkeys(place.resolve() for place in places if (place / "bin/nvcc").exists()))
