# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Check what the host itself offers: Python, compiler, disk space, memory, processors."""

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
# Modules for downloading and unpacking, and the one that creates environments for tools, which not every host needs.
_MODULES = ("ssl", "zlib")
_FOR_TOOLS = "venv"
# The first compilers with C++17's filesystem library, and the first that need no extra flag for it.
_HARDLY_A_COMPILER = 8
OLDEST_COMPILER = 9
# The newest GCC that nvcc's headers accept, by CUDA's major version: 15 for CUDA 13.0, 16 for the newest 13.
NEWEST_GCC = {12: 14, 13: 16}
_FEW_FILES = 20_000  # more than a toolkit and a release contain


@dataclasses.dataclass(frozen=True)
class Space:
    """A file system: its device number, free bytes and inodes, and whether it runs programs."""

    device: int
    free: int
    files: int
    executes: bool


@dataclasses.dataclass(frozen=True)
class Need:
    """Bytes that ``what`` will occupy below ``path``, which ``variable`` can change; None if unknown."""

    path: pathlib.Path
    size: int | None
    what: str
    variable: str


def space(path: pathlib.Path) -> Space:
    """Return the file system of ``path`` or of its nearest existing parent."""
    place = files.existing_parent(path)
    status = os.statvfs(place)
    # Some file systems do not count inodes.
    return Space(
        os.stat(place).st_dev,
        shutil.disk_usage(place).free,
        status.f_favail if status.f_files else 1 << 62,
        not status.f_flag & os.ST_NOEXEC,
    )


def python(
    version: typing.Sequence[int] = tuple(sys.version_info[:3]),
    has: typing.Callable[[str], object] = importlib.util.find_spec,
) -> Check:
    """Check the Python that runs this module and creates the environment for tools."""
    name = f"Python {'.'.join(map(str, version[:3]))}"
    missing = [module for module in _MODULES if not has(module)]
    if too_old := tools_venv.python_problem(version):
        return wrong("python", too_old)
    missing += [] if has(_FOR_TOOLS) else [_FOR_TOOLS]
    if missing:
        fix = "install the distribution's packages of these modules"
        problem = Problem("Python", f"{name} without {' and '.join(missing)}", "a complete one", fix)
        return wrong("python", problem, WARNING if missing == [_FOR_TOOLS] else ERROR)
    return fine("python", "Python", name)


def rights(places: typing.Iterable[tuple[pathlib.Path, str]]) -> list[Check]:
    """Check that this user can write to the folders that will be used."""
    return [check for path, variable in dict.fromkeys(places) for check in _unwritable(path, variable)]


def _unwritable(path: pathlib.Path, variable: str) -> list[Check]:
    try:
        files.require_writable(path, variable)
    except ProblemError as error:
        return all_wrong("rights", error)
    return []


def executable(place: pathlib.Path, variable: str, look: typing.Callable[[pathlib.Path], Space] = space) -> list[Check]:
    """Check that the file system of ``place`` runs programs."""
    if look(place).executes:
        return []
    noexec, fix = f"{place} on a file system without programs (noexec)", "mount it without noexec, or move it"
    return [wrong("rights", Problem(variable, noexec, "one that runs them", fix))]


def disk(needs: typing.Iterable[Need], look: typing.Callable[[pathlib.Path], Space] = space) -> list[Check]:
    """Check the sum of all needs on each file system, because needs that fit one by one may not fit together."""
    groups: dict[int, list[Need]] = {}
    for need in dict.fromkeys(needs):
        groups.setdefault(look(need.path).device, []).append(need)
    return [_room(group, look(group[0].path)) for group in groups.values()]


def _room(needs: typing.Sequence[Need], there: Space) -> Check:
    """Check the sum of ``needs`` on one file system."""
    total = sum(need.size or 0 for need in needs)
    place = " and ".join(dict.fromkeys(str(need.path) for need in needs))
    parts = ", ".join(f"{need.what} {gigabytes(need.size)}" for need in needs if need.size != 0)
    free = f"{gigabytes(there.free)} free below {place}"
    variables = " or ".join(dict.fromkeys(need.variable for need in needs))
    fix = f"make room there, or point {variables} at another file system"
    if there.free < total:
        return wrong("disk", Problem("disk space", free, f"{gigabytes(total)} ({parts})", fix))
    if total and there.files < _FEW_FILES:
        files_left = f"room for {there.files} more files below {place}"
        return wrong("disk", Problem("disk space", files_left, f"at least {_FEW_FILES}", fix))
    return fine("disk", "disk space", f"{free}; wanted: {parts or 'nothing'}")


def gigabytes(size: int | None) -> str:
    """Format a size in bytes, or None for an unknown one."""
    return "not known yet" if size is None else f"{size / 1e9:.1f} GB"


def compiler(wanted: Wanted, needs_git: bool, run: Runner) -> list[Check]:
    """Check that the compiler is new enough, and not too new for CUDA. A missing one is reported by the plan."""
    host = build_host.observe(needs_git)
    installs = bool(wanted.release and wanted.release.install_packages and build_host.can_install())
    checks = []
    if host.compiler:
        checks.append(_version(host.compiler, wanted, run))
    if host.required and installs:
        packages = f"none of {', '.join(build_host.packages(host.required))}; the packages will be installed"
        checks.append(fine("compiler", "compiler", packages))
    if "openssl" in host.missing and not installs and wanted.options.tls_certificate:
        fix = "install libssl-dev, or let llama_cpp_install_packages do it"
        problem = Problem("llama_server_tls_certificate", "no headers of OpenSSL", "a release that can speak TLS", fix)
        checks.append(wrong("compiler", problem))
    return checks


def _version(path: str, wanted: Wanted, run: Runner) -> Check:
    """Check the version of the compiler at ``path``."""
    try:
        version = build_host.compiler_version(path, run)
    except ProblemError as error:
        return wrong("compiler", error.problems[0])
    kind, number = re.findall(r"\b(gcc|clang) version (\d+)", version)[0]
    if int(number) < OLDEST_COMPILER:
        fix = "install a newer one, or take a packed release"
        problem = Problem("compiler", version, f"{kind} {OLDEST_COMPILER} or newer, for C++17", fix)
        return wrong("compiler", problem, ERROR if int(number) < _HARDLY_A_COMPILER else WARNING)
    toolkit = str((wanted.plans.get("cuda_toolkit") or {}).get("version") or "")
    newest = NEWEST_GCC.get(int(toolkit.partition(".")[0] or 13), 0)
    if wanted.backend == CUDA and kind == "gcc" and newest and int(number) > newest:
        fix = "install an older g++ and make c++ point to it"
        problem = Problem("compiler", version, f"gcc {newest} or older, for CUDA's compiler", fix)
        return wrong("compiler", problem, WARNING)
    return fine("compiler", "compiler", version)


def build_memory(wanted: Wanted, root: pathlib.Path) -> Check:
    """Check that memory suffices for one compiler, and for as many as requested."""
    each = 2 * GIB if wanted.backend == CUDA else GIB
    free = memory_available(root)
    requested = wanted.release.jobs if wanted.release else 0
    jobs = job_count(requested, cpus.observe(root).jobs, free, each)
    available = f"{free // MIB} MiB available to compilers"
    if free and free < each:
        fix = "make room, add swap, or take a release that was built elsewhere"
        problem = Problem("memory", available, f"{each // MIB} MiB for one compiler", fix)
        return wrong("build_memory", problem, WARNING)
    if free and free < jobs * each:
        jobs_and_memory, fix = f"{jobs} compilers at once, and {available}", "leave it 0 for as many as fit"
        problem = Problem("llama_cpp_jobs", jobs_and_memory, f"{jobs * each // MIB} MiB for them", fix)
        return wrong("build_memory", problem, WARNING)
    return fine("build_memory", "memory", f"{available}, {jobs} at once" if free else f"{jobs} compilers at once")


def model_memory(
    wanted: Wanted, size: int, apart: bool, root: pathlib.Path, pids: typing.Iterable[int] = ()
) -> list[Check]:
    """Check before the download whether a model of ``size`` bytes can fit; the release later plans it exactly."""
    options = wanted.options
    ram = server_memory_free.ram(apart, options.memory_max, pids, root).get(HOST)
    if ram is None:
        return []
    gpus, shared = 0, False
    if wanted.backend == CUDA:
        # The total memory of the GPUs, because what occupies it now may be replaced by this model.
        listed = (wanted.plans.get("nvidia_driver") or {}).get("gpus") or []
        gpus = sum(int(gpu.get("memory_total_mib") or 0) for gpu in listed)
        shared = bool(listed) and not gpus
    available = f"{ram} MiB of RAM free" + (f", and {gpus} MiB of the GPUs" if gpus else "")
    available += ", which the GPU shares" if shared else ""
    if size // MIB <= ram + gpus:
        return [fine("memory", "memory", available)]
    fix = "take a smaller model or quant, or a host with more memory"
    problem = Problem("memory", available, f"{size // MIB} MiB for the model alone", fix)
    # Another backend, or another host by RPC, may have memory that is not visible here.
    certain = (
        options.memory_check and not options.extra_options and not (wanted.release and wanted.release.cmake_options)
    )
    return [wrong("memory", problem, ERROR if certain else WARNING)]


def processors(root: pathlib.Path, affinity: typing.Iterable[int] | None = None) -> Check:
    """Check the CPUs available to this process, within its control groups."""
    observed = cpus.observe(root, affinity)
    available = f"{observed.logical} CPUs, {observed.physical} cores"
    if observed.performance:
        available += f" ({observed.performance} of them fit for computing)"
    if math.isinf(observed.quota):
        return fine("cpus", "CPUs", available)
    available += f", and a control group's quota of {observed.quota:g}"
    if observed.quota < 1:
        fix = "raise the limit of the container, unit or slice"
        return wrong("cpus", Problem("CPUs", available, "a quota of at least one", fix), WARNING)
    return fine("cpus", "CPUs", available)
