# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Which CUDA toolkit a host is to use: one that is there and works, else one from wheels."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import shutil
import tempfile
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import cuda_wheels, files
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, one_of, raise_if_any

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.commands import Runner

PATH_VARIABLE = "cuda_toolkit_path"
SPACE = 4_000_000_000  # bytes: the wheels, what they unpack to, and some air
# The oldest driver of each CUDA major version that it runs, newest first.
OLDEST_DRIVER = {13: 580, 12: 525}
_WHOLE = "a CUDA toolkit with nvcc, its headers and cuBLAS"
_PROOF_LIMIT = 300.0  # seconds
_PROOF = """\
#include <cublas_v2.h>
__global__ void add(float * to, const float * from) { to[threadIdx.x] += from[threadIdx.x]; }
int main() {
    cublasHandle_t handle;
    add<<<1, 1>>>(nullptr, nullptr);
    return cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS ? 0 : 1;
}
"""


@dataclasses.dataclass(frozen=True)
class Host:
    """Where to look: every path below ``root``, every command through ``run``; ``folders`` are those of PATH."""

    run: Runner
    machine: str
    folders: tuple[str, ...]
    root: pathlib.Path = pathlib.Path("/")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What the user asked for; an empty ``driver_version`` is no limit."""

    root: pathlib.Path
    path: str = ""
    version: str = "13.0"
    driver_version: str = ""
    architectures: tuple[str, ...] = ()

    @property
    def driver(self) -> int:
        match = re.match(r"\d+", self.driver_version)
        return int(match[0]) if match else 0

    @property
    def numbers(self) -> list[str]:
        """``90-real`` -> ``90``, as nvcc counts."""
        return [re.split(r"[^0-9]", name)[0] for name in self.architectures]


@dataclasses.dataclass(frozen=True)
class Toolkit:
    """A folder with bin/nvcc, and the version nvcc calls itself."""

    path: pathlib.Path
    version: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """The toolkit to use; ``release`` says what to install there first, if anything."""

    toolkit: Toolkit
    origin: str
    release: cuda_wheels.Release | None = None


class UnfitError(Exception):
    """Why a toolkit cannot be used, as a noun phrase."""


def make_plan(wanted: Wanted, host: Host) -> Plan:
    """Choose; raises where no toolkit can be had. The given one counts, then our own, then the newest on the host."""
    problems = architecture_problems(wanted)
    if shutil.which("g++", path=":".join(host.folders)) is None:
        problems.append(Problem("compiler", "no g++ on the host", "a C++ compiler, which nvcc needs", "install one (Debian and Ubuntu: apt-get install g++)"))
    raise_if_any(problems)
    if wanted.path:
        return Plan(_given(wanted, host), "found")
    release = cuda_wheels.RELEASES.get(wanted.version)
    target = wanted.root / "toolkits" / f"cuda-{release.version}" if release else None
    if release and target and cuda_wheels.installed(release, target) and not unfit_for(release.version, release.architectures, wanted):
        return Plan(Toolkit(target, release.version), "installed")
    found, reasons = search(wanted, host)
    if found:
        return Plan(found, "found")
    if release is None or target is None:
        versions = one_of(sorted(cuda_wheels.RELEASES))
        raise ProblemError(Problem("cuda_toolkit_version", f"'{wanted.version}'", versions, f"correct it, or name a toolkit of the host in {PATH_VARIABLE}"))
    raise_if_any(install_problems(release, target, wanted, host, reasons))
    return Plan(Toolkit(target, release.version), "installed", release)


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
    match = re.search(r"release [\d.]+, V(\d+\.\d+\.\d+)", host.run([str(nvcc), "--version"], timeout=60).stdout)
    if match is None:
        raise UnfitError(f"{nvcc}, which does not tell its version")
    missing = [name for name, there in (("cuda_runtime.h", _has_header(folder, "cuda_runtime.h")), ("cuBLAS", _has_cublas(folder))) if not there]
    if missing:
        raise UnfitError(f"CUDA {match[1]} in {folder}, which lacks {' and '.join(missing)}")
    known = re.findall(r"compute_(\d+)", host.run([str(nvcc), "--list-gpu-arch"], timeout=60).stdout)
    unfit = unfit_for(match[1], known, wanted)
    if unfit:
        raise UnfitError(f"{unfit}, in {folder}")
    return Toolkit(folder, match[1])


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


def install_problems(release: cuda_wheels.Release, target: pathlib.Path, wanted: Wanted, host: Host, reasons: typing.Sequence[str]) -> list[Problem]:
    """Everything that would stop an installation."""
    problems = []
    seen = f"no fitting toolkit on the host ({'; '.join(reasons)})" if reasons else "no toolkit on the host"
    unfit = unfit_for(release.version, release.architectures, wanted)
    if wanted.driver and wanted.driver < min(OLDEST_DRIVER.values()):
        oldest = f"{min(OLDEST_DRIVER.values())} or newer"
        problems.append(Problem("NVIDIA driver", f"version {wanted.driver_version}", oldest, "upgrade the driver; 580 or newer runs CUDA 13"))
    elif unfit:
        fix = f"install one of CUDA 12 from NVIDIA's packages (the wheels have no nvcc of it) and name its folder in {PATH_VARIABLE}"
        if wanted.driver and wanted.driver < release.oldest_driver:
            fix += f", or upgrade the driver to {release.oldest_driver} or newer"
        problems.append(Problem(PATH_VARIABLE, f"{seen}, and wheels only of {unfit}", "a toolkit that fits the driver and the GPUs", fix))
    if host.machine not in release.wheels[0].sha256:
        machines = one_of(sorted(release.wheels[0].sha256))
        problems.append(Problem("machine", f"{host.machine} and {seen}", machines, f"install a toolkit and name its folder in {PATH_VARIABLE}"))
    space = files.space_problem(target, SPACE, "cuda_toolkit_root")
    return problems + ([space] if space else [])


def prove(toolkit: Toolkit, wanted: Wanted, host: Host) -> None:
    """Compile and link a small program; raises with what the compiler said first."""
    nvcc, library = toolkit.path / "bin/nvcc", _library_folder(toolkit.path)
    number = wanted.numbers[0] if wanted.numbers else ""
    with tempfile.TemporaryDirectory(prefix="llama-fleet-") as folder:
        source = pathlib.Path(folder, "proof.cu")
        source.write_text(_PROOF, encoding="utf-8")
        command = [str(nvcc), *([f"-arch=sm_{number}"] if number else []), "-o", f"{folder}/proof", str(source), f"-L{library}", "-lcublas"]
        result = host.run([*command, "-Xlinker", f"-rpath-link={library}"], cwd=folder, timeout=_PROOF_LIMIT)
    if not result.ok:
        lines = (result.stderr + result.stdout).splitlines()
        said = next((line for line in lines if "error" in line.lower()), lines[0] if lines else f"exit code {result.code}")
        raise ProblemError(
            Problem(
                "CUDA toolkit",
                f"{nvcc} (CUDA {toolkit.version}), which cannot build a small program: {said.strip()[:300]}",
                "a toolkit and a C++ compiler that work together",
                f"install a compiler that CUDA {toolkit.version} supports, or name another toolkit in {PATH_VARIABLE}",
            )
        )


def proof_key(toolkit: Toolkit, wanted: Wanted, host: Host) -> str:
    """Changes whenever a proof has to be repeated: another nvcc, another compiler, another GPU."""
    compiler = shutil.which("g++", path=":".join(host.folders)) or "g++"
    places = (toolkit.path / "bin/nvcc", pathlib.Path(compiler).resolve())
    return " ".join([*(f"{place}:{place.stat().st_size}:{place.stat().st_mtime_ns}" for place in places), *wanted.numbers[:1]])


def _given(wanted: Wanted, host: Host) -> Toolkit:
    try:
        return examine(pathlib.Path(wanted.path), wanted, host)
    except UnfitError as reason:
        fix = "correct it, or leave it empty to have one found or installed"
        raise ProblemError(Problem(PATH_VARIABLE, str(reason), f"{_WHOLE} that the driver runs", fix)) from reason


def _has_header(folder: pathlib.Path, name: str) -> bool:
    return any((place / name).is_file() for place in (folder / "include", *folder.glob("targets/*/include")))


def _has_cublas(folder: pathlib.Path) -> bool:
    return _has_header(folder, "cublas_v2.h") and (_library_folder(folder) / "libcublas.so").exists()


def _library_folder(folder: pathlib.Path) -> pathlib.Path:
    """Where the toolkit keeps its libraries: lib64 in NVIDIA's packages, a folder of the machine in Debian's."""
    places = [folder / "lib64", *sorted(folder.glob("targets/*/lib")), *sorted(folder.glob("lib/*-linux-gnu")), folder / "lib"]
    return next((place for place in places if (place / "libcublas.so").exists()), folder / "lib64")
