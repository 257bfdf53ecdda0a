# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Which CUDA toolkit a host is to use: one that is there and works, else one from wheels."""

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
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import wheels as cuda_wheels
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda.releases import RELEASES, Release
from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import (
    Problem,
    ProblemError,
    one_of,
    raise_if_any,
)

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner

PATH_VARIABLE = "cuda_toolkit_path"
VERSION_VARIABLE = "cuda_toolkit_version"
SPACE = 4_000_000_000  # bytes: the wheels, what they unpack to, and some air
# The oldest driver of each CUDA major version that it runs, newest first.
OLDEST_DRIVER = {13: 580, 12: 525}
WHOLE = "a CUDA toolkit with nvcc, its headers and cuBLAS"


@dataclasses.dataclass(frozen=True)
class Host:
    """Where to look: every path below ``root``, every command through ``run``; ``folders`` are those of PATH."""

    run: Runner
    machine: str
    folders: tuple[str, ...]
    root: pathlib.Path = pathlib.Path("/")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The options of the module cuda_toolkit; each is declared here only.

    An empty ``driver_version`` is no limit, an empty ``version`` means the newest that fits.
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
        """``90-real`` -> ``90``, as nvcc counts."""
        return [re.split(r"[^0-9]", name)[0] for name in self.architectures]

    @property
    def ptx(self) -> bool:
        """Whether the driver will have to compile: all but ``-real`` hold PTX."""
        return any(not name.endswith("-real") for name in self.architectures)


@dataclasses.dataclass(frozen=True)
class Toolkit:
    """A folder with bin/nvcc, the version nvcc calls itself, and the line it does so in (empty before an
    installation).
    """

    path: pathlib.Path
    version: str
    nvcc: str = ""

    @property
    def include(self) -> pathlib.Path:
        """Where its headers are."""
        return _header_folder(self.path)

    @property
    def library(self) -> pathlib.Path:
        """Where its libraries are."""
        return _library_folder(self.path)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The toolkit to use; ``release`` says what to install there first, if anything."""

    toolkit: Toolkit
    origin: str
    release: Release | None = None


class UnfitError(Exception):
    """Why a toolkit cannot be used, as a noun phrase."""


def has_compiler(host: Host) -> bool:
    """Whether there is the C++ compiler without which nvcc compiles nothing."""
    return shutil.which("g++", path=":".join(host.folders)) is not None


def make_plan(wanted: Wanted, host: Host, compiler_later: bool = False) -> Plan:
    """Choose; raises where no toolkit can be had. The given one counts, then our own, then the newest on the host.

    With ``compiler_later`` it is no problem that there is no C++ compiler yet.
    """
    problems = architecture_problems(wanted)
    if not (compiler_later or has_compiler(host)):
        problems.append(
            Problem(
                "compiler",
                "no g++ on the host",
                "a C++ compiler, which nvcc needs",
                "install one (Debian and Ubuntu: apt-get install g++)",
            )
        )
    raise_if_any(problems)
    if wanted.path:
        return Plan(_given(wanted, host), "found")
    release = choose(wanted)
    target = cuda_wheels.folder_of(wanted.root, release)
    fits = not unfit_release(release, wanted)
    if fits and cuda_wheels.installed(release, wanted.root):
        return Plan(Toolkit(target, release.version, cuda_wheels.manifest_of(target).get("nvcc", "")), "installed")
    found, reasons = search(wanted, host)
    if found:
        return Plan(found, "found")
    raise_if_any(install_problems(release, target, wanted, host, reasons))
    return Plan(Toolkit(target, release.version), "installed", release)


def choose(wanted: Wanted) -> Release:
    """The release to install: the one of the wanted version, else the newest that fits, else the newest."""
    if wanted.version and wanted.version not in RELEASES:
        fix = (
            f"correct it, leave it empty for the newest that the driver runs, or name a toolkit of the host in "
            f"{PATH_VARIABLE}"
        )
        raise ProblemError(Problem(VERSION_VARIABLE, f"'{wanted.version}'", one_of(RELEASES), fix))
    releases = [RELEASES[wanted.version]] if wanted.version else list(RELEASES.values())
    return next((release for release in releases if not unfit_release(release, wanted)), releases[0])


def unfit_release(release: Release, wanted: Wanted) -> str:
    """Why one of ours cannot serve the driver and the GPUs; empty if it can."""
    unfit = unfit_for(release.version, release.architectures, wanted)
    if not unfit and wanted.ptx and wanted.driver and not 0 < release.oldest_ptx_driver <= wanted.driver:
        return f"CUDA {release.version}, whose PTX driver {wanted.driver_version} may be too old for"
    return unfit


def architecture_problems(wanted: Wanted) -> list[Problem]:
    return [
        Problem("cuda_toolkit_architectures", f"'{name}'", "numbers as CMake has them, such as 90-real")
        for name in wanted.architectures
        if not re.fullmatch(r"\d{2,3}[af]?(-real|-virtual)?", name)
    ]


def unfit_for(version: str, architectures: typing.Collection[str], wanted: Wanted) -> str:
    """Why a toolkit of this version cannot serve the driver and the GPUs; empty if it can."""
    major, oldest = int(version.partition(".")[0]), min(OLDEST_DRIVER)
    if major < oldest:
        return f"CUDA {version}, older than {oldest}"
    if wanted.driver and major not in OLDEST_DRIVER:
        return f"CUDA {version}, newer than {max(OLDEST_DRIVER)}, so that its driver is not known"
    if wanted.driver and wanted.driver < OLDEST_DRIVER[major]:
        return f"CUDA {version}, which driver {wanted.driver_version} is too old for"
    unknown = [number for number in wanted.numbers if architectures and number not in architectures]
    return f"CUDA {version}, which does not build for {', '.join(unknown)}" if unknown else ""


def examine(folder: pathlib.Path, wanted: Wanted, host: Host) -> Toolkit:
    """The toolkit in ``folder``; raises UnfitError with the reason where it cannot be used."""
    nvcc = folder / "bin/nvcc"
    if not os.access(nvcc, os.X_OK):
        raise UnfitError(f"{folder}, which has no bin/nvcc")
    match = re.search(
        r"^.*release [\d.]+, V(\d+\.\d+\.\d+).*$", host.run([str(nvcc), "--version"], timeout=60).stdout, re.MULTILINE
    )
    if match is None:
        raise UnfitError(f"{nvcc}, which does not tell its version")
    needed = {"cuda_runtime.h": (_header_folder(folder) / "cuda_runtime.h").is_file(), "cuBLAS": _has_cublas(folder)}
    missing = [name for name, there in needed.items() if not there]
    if missing:
        raise UnfitError(f"CUDA {match[1]} in {folder}, which lacks {' and '.join(missing)}")
    known = re.findall(r"compute_(\d+)", host.run([str(nvcc), "--list-gpu-arch"], timeout=60).stdout)
    unfit = unfit_for(match[1], known, wanted)
    if unfit:
        raise UnfitError(f"{unfit}, in {folder}")
    return Toolkit(folder, match[1], match[0].strip())


def search(wanted: Wanted, host: Host) -> tuple[Toolkit | None, list[str]]:
    """The newest toolkit on the host that can be used, and why the others cannot."""
    found: list[Toolkit] = []
    reasons: list[str] = []
    for folder in candidates(host):
        toolkit, reason = _examined(folder, wanted, host)
        if toolkit:
            found.append(toolkit)
        else:
            reasons.append(reason)
    newest = max(found, key=lambda toolkit: [int(part) for part in toolkit.version.split(".")], default=None)
    return newest, reasons


def _examined(folder: pathlib.Path, wanted: Wanted, host: Host) -> tuple[Toolkit | None, str]:
    try:
        return examine(folder, wanted, host), ""
    except UnfitError as reason:
        return None, str(reason)


def candidates(host: Host) -> list[pathlib.Path]:
    """Folders that may hold a toolkit, each once, by the name that does not change when another is installed."""
    local = host.root / "usr/local"
    places = [local / "cuda", *sorted(local.glob("cuda-*"), reverse=True)]
    for folder in host.folders:
        nvcc = host.root / folder.lstrip("/") / "nvcc"
        if nvcc.is_file():
            places += [nvcc.resolve().parents[1], nvcc.parent.parent]
    return list(dict.fromkeys(place.resolve() for place in places if (place / "bin/nvcc").exists()))


def install_problems(
    release: Release, target: pathlib.Path, wanted: Wanted, host: Host, reasons: typing.Sequence[str]
) -> list[Problem]:
    """Everything that would stop an installation."""
    problems = []
    seen = f"no fitting toolkit on the host ({'; '.join(reasons)})" if reasons else "no toolkit on the host"
    unfit = unfit_release(release, wanted)
    if wanted.driver and wanted.driver < min(OLDEST_DRIVER.values()):
        oldest = f"{min(OLDEST_DRIVER.values())} or newer"
        problems.append(
            Problem(
                "NVIDIA driver",
                f"version {wanted.driver_version}",
                oldest,
                "upgrade the driver; 580 or newer runs CUDA 13",
            )
        )
    elif unfit and not unfit_for(release.version, release.architectures, wanted):
        fix = "leave it empty, or name architectures that end in -real"
        problems.append(
            Problem(
                VERSION_VARIABLE,
                f"'{wanted.version}', and {seen}; wheels of {unfit}",
                "a version whose PTX the driver compiles",
                fix,
            )
        )
    elif unfit:
        fix = (
            f"install one of CUDA 12 from NVIDIA's packages (the wheels have no nvcc of it) and name its folder in "
            f"{PATH_VARIABLE}"
        )
        if wanted.driver and wanted.driver < release.oldest_driver:
            fix += f", or upgrade the driver to {release.oldest_driver} or newer"
        problems.append(
            Problem(
                PATH_VARIABLE, f"{seen}, and wheels only of {unfit}", "a toolkit that fits the driver and the GPUs", fix
            )
        )
    if host.machine not in release.wheels[0].sha256:
        machines = one_of(sorted(release.wheels[0].sha256))
        problems.append(
            Problem(
                "machine",
                f"{host.machine} and {seen}",
                machines,
                f"install a toolkit and name its folder in {PATH_VARIABLE}",
            )
        )
    space = files.space_problem(target, SPACE, "cuda_toolkit_root")
    return problems + ([space] if space else [])


def _given(wanted: Wanted, host: Host) -> Toolkit:
    try:
        return examine(pathlib.Path(wanted.path), wanted, host)
    except UnfitError as reason:
        fix = "correct it, or leave it empty to have one found or installed"
        raise ProblemError(Problem(PATH_VARIABLE, str(reason), f"{WHOLE} that the driver runs", fix)) from reason


def _header_folder(folder: pathlib.Path) -> pathlib.Path:
    places = (folder / "include", *sorted(folder.glob("targets/*/include")))
    return next((place for place in places if (place / "cuda_runtime.h").is_file()), folder / "include")


def _has_cublas(folder: pathlib.Path) -> bool:
    return (_header_folder(folder) / "cublas_v2.h").is_file() and (_library_folder(folder) / "libcublas.so").exists()


def _library_folder(folder: pathlib.Path) -> pathlib.Path:
    """Where the toolkit keeps its libraries: lib64 in NVIDIA's packages, a folder of the machine in Debian's."""
    places = [
        folder / "lib64",
        *sorted(folder.glob("targets/*/lib")),
        *sorted(folder.glob("lib/*-linux-gnu")),
        folder / "lib",
    ]
    return next((place for place in places if (place / "libcublas.so").exists()), folder / "lib64")
