# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What the host itself has for the work that is to be done: Python, compiler, room on its disks, memory, processors."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import os
import re
import shutil
import sys
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import cpus, files
from ansible_collections.llama_fleet.core.plugins.module_utils.host.memory import GIB, job_count, memory_available
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.check import (
    ERROR,
    WARNING,
    Check,
    all_wrong,
    fine,
    wrong,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release.memory_plan import HOST
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import free as server_memory_free
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import CUDA
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import compiler as build_host
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv as tools_venv

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.wanted import Wanted

MIB = 1 << 20
# What fetches and unpacks, and what makes the environment for tools, which not every host needs.
_MODULES = ("ssl", "zlib")
_FOR_TOOLS = "venv"
# The first that have C++17's file system at all, and the first whose library has it without a flag of its own.
_HARDLY_A_COMPILER = 8
OLDEST_COMPILER = 9
# What nvcc's own headers refuse, by CUDA's major version: those of 13.0 end with GCC 15, the newest of 13 with 16.
NEWEST_GCC = {12: 14, 13: 16}
_FEW_FILES = 20_000  # more than a toolkit and a release have


@dataclasses.dataclass(frozen=True)
class Space:
    """A file system: bytes and files that it still takes, and whether it runs programs."""

    device: int
    free: int
    files: int
    executes: bool


@dataclasses.dataclass(frozen=True)
class Need:
    """Bytes that ``what`` will take below ``path``, which ``variable`` can move; None where nobody knows."""

    path: pathlib.Path
    size: int | None
    what: str
    variable: str


def space(path: pathlib.Path) -> Space:
    place = files.existing_parent(path)
    found = os.statvfs(place)
    # Some file systems count no files.
    return Space(
        os.stat(place).st_dev,
        shutil.disk_usage(place).free,
        found.f_favail if found.f_files else 1 << 62,
        not found.f_flag & os.ST_NOEXEC,
    )


def python(
    version: typing.Sequence[int] = tuple(sys.version_info[:3]),
    has: typing.Callable[[str], object] = importlib.util.find_spec,
) -> Check:
    """The Python that runs this, which makes the environment of the tools as well."""
    told = f"Python {'.'.join(map(str, version[:3]))}"
    missing = [name for name in _MODULES if not has(name)]
    if too_old := tools_venv.python_problem(version):
        return wrong("python", too_old)
    missing += [] if has(_FOR_TOOLS) else [_FOR_TOOLS]
    if missing:
        problem = Problem(
            "Python",
            f"{told} without {' and '.join(missing)}",
            "a whole one",
            "install what of it the distribution packs apart",
        )
        return wrong("python", problem, WARNING if missing == [_FOR_TOOLS] else ERROR)
    return fine("python", "Python", told)


def rights(places: typing.Iterable[tuple[pathlib.Path, str]]) -> list[Check]:
    """Whether this user can write where things are to be put."""
    return [check for path, variable in dict.fromkeys(places) for check in _unwritable(path, variable)]


def _unwritable(path: pathlib.Path, variable: str) -> list[Check]:
    try:
        files.require_writable(path, variable)
    except ProblemError as error:
        return all_wrong("rights", error)
    return []


def executable(place: pathlib.Path, variable: str, look: typing.Callable[[pathlib.Path], Space] = space) -> list[Check]:
    """Programs are put there and run."""
    if look(place).executes:
        return []
    return [
        wrong(
            "rights",
            Problem(
                variable,
                f"{place} on a file system without programs (noexec)",
                "one that runs them",
                "mount it otherwise, or move it",
            ),
        )
    ]


def disk(needs: typing.Iterable[Need], look: typing.Callable[[pathlib.Path], Space] = space) -> list[Check]:
    """Room for all of it, file system by file system: what each one by itself has room for may be too much together."""
    found = []
    groups: dict[int, list[Need]] = {}
    for need in dict.fromkeys(needs):
        groups.setdefault(look(need.path).device, []).append(need)
    for group in groups.values():
        there = look(group[0].path)
        total = sum(need.size or 0 for need in group)
        place = " and ".join(dict.fromkeys(str(need.path) for need in group))
        parts = ", ".join(f"{need.what} {gigabytes(need.size)}" for need in group if need.size != 0)
        told = f"{gigabytes(there.free)} free below {place}"
        fix = (
            f"make room there, or point {' or '.join(dict.fromkeys(need.variable for need in group))} at another "
            f"file system"
        )
        if there.free < total:
            found.append(wrong("disk", Problem("disk space", told, f"{gigabytes(total)} ({parts})", fix)))
        elif total and there.files < _FEW_FILES:
            found.append(
                wrong(
                    "disk",
                    Problem(
                        "disk space", f"room for {there.files} more files below {place}", f"at least {_FEW_FILES}", fix
                    ),
                )
            )
        else:
            found.append(fine("disk", "disk space", f"{told}; wanted: {parts or 'nothing'}"))
    return found


def gigabytes(size: int | None) -> str:
    return "not known yet" if size is None else f"{size / 1e9:.1f} GB"


def compiler(wanted: Wanted, needs_git: bool, run: Runner) -> list[Check]:
    """A compiler that is new enough, and not too new for CUDA's; what a plan tells of a missing one is not said
    again.
    """
    host = build_host.observe(needs_git)
    installs = bool(wanted.release and wanted.release.install_packages and build_host.can_install())
    found = []
    if host.compiler:
        found.append(_version(host.compiler, wanted, run))
    if host.required and installs:
        found.append(
            fine(
                "compiler",
                "compiler",
                f"none of {', '.join(build_host.packages(host.required))}; the packages will be installed",
            )
        )
    if "openssl" in host.missing and not installs and wanted.options.tls_certificate:
        fix = "install libssl-dev, or let llama_cpp_install_packages do it"
        found.append(
            wrong(
                "compiler",
                Problem("llama_server_tls_certificate", "no headers of OpenSSL", "a release that can speak TLS", fix),
            )
        )
    return found


def _version(path: str, wanted: Wanted, run: Runner) -> Check:
    try:
        told = build_host.compiler_version(path, run)
    except ProblemError as error:
        return wrong("compiler", error.problems[0])
    kind, number = re.findall(r"\b(gcc|clang) version (\d+)", told)[0]
    if int(number) < OLDEST_COMPILER:
        problem = Problem(
            "compiler",
            told,
            f"{kind} {OLDEST_COMPILER} or newer, for C++17",
            "install a newer one, or take a packed release",
        )
        return wrong("compiler", problem, ERROR if int(number) < _HARDLY_A_COMPILER else WARNING)
    toolkit = str((wanted.plans.get("cuda_toolkit") or {}).get("version") or "")
    newest = NEWEST_GCC.get(int(toolkit.partition(".")[0] or 13), 0)
    if wanted.backend == CUDA and kind == "gcc" and newest and int(number) > newest:
        fix = "install an older g++ and make it the one that c++ names"
        return wrong("compiler", Problem("compiler", told, f"gcc {newest} or older, for CUDA's compiler", fix), WARNING)
    return fine("compiler", "compiler", told)


def build_memory(wanted: Wanted, root: pathlib.Path) -> Check:
    """Memory for at least one compiler, and for as many as were asked for."""
    each = 2 * GIB if wanted.backend == CUDA else GIB
    free = memory_available(root)
    asked = wanted.release.jobs if wanted.release else 0
    jobs = job_count(asked, cpus.observe(root).jobs, free, each)
    told = f"{free // MIB} MiB that compilers can have"
    if free and free < each:
        problem = Problem(
            "memory",
            told,
            f"{each // MIB} MiB for one compiler",
            "make room, add swap, or take a release that was built elsewhere",
        )
        return wrong("build_memory", problem, WARNING)
    if free and free < jobs * each:
        problem = Problem(
            "llama_cpp_jobs",
            f"{jobs} compilers at once, and {told}",
            f"{jobs * each // MIB} MiB for them",
            "leave it 0 for as many as fit",
        )
        return wrong("build_memory", problem, WARNING)
    return fine("build_memory", "memory", f"{told}, {jobs} at once" if free else f"{jobs} compilers at once")


def model_memory(
    wanted: Wanted, size: int, apart: bool, root: pathlib.Path, pids: typing.Iterable[int] = ()
) -> list[Check]:
    """Whether a model of so many bytes can be held at all, before it is fetched; the release itself plans it to the
    byte once it is there.
    """
    options = wanted.options
    ram = server_memory_free.ram(apart, options.memory_max, pids, root).get(HOST)
    driver = wanted.plans.get("nvidia_driver") or {}
    # All of the GPUs', for what holds it now may be what makes room.
    gpus = (
        sum(int(gpu.get("memory_total_mib") or 0) for gpu in driver.get("gpus") or []) if wanted.backend == CUDA else 0
    )
    if ram is None:
        return []
    told = f"{ram} MiB of RAM free" + (f", and {gpus} MiB of the GPUs" if gpus else "")
    if size // MIB <= ram + gpus:
        return [fine("memory", "memory", told)]
    problem = Problem(
        "memory",
        told,
        f"{size // MIB} MiB for the model alone",
        "take a smaller model or quant, or a host with more memory",
    )
    # Another backend than ours, or another host by RPC, has memory that nobody knows of yet.
    certain = (
        options.memory_check and not options.extra_options and not (wanted.release and wanted.release.cmake_options)
    )
    return [wrong("memory", problem, ERROR if certain else WARNING)]


def processors(root: pathlib.Path, affinity: typing.Iterable[int] | None = None) -> Check:
    """What there is to compute with, within control groups."""
    found = cpus.observe(root, affinity)
    told = f"{found.logical} CPUs, {found.physical} cores"
    if math.isinf(found.quota):
        return fine("cpus", "CPUs", told)
    told += f", and a control group's quota of {found.quota:g}"
    if found.quota < 1:
        return wrong(
            "cpus",
            Problem("CPUs", told, "a quota of at least one", "raise the limit of the container, unit or slice"),
            WARNING,
        )
    return fine("cpus", "CPUs", told)
