# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Check a user's requirements for the GPUs and the driver of a host."""

from __future__ import annotations

import dataclasses
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import runtimes
from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import (
    integer,
    range_problems,
    text,
    texts,
    values,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda.architectures import ARCHITECTURES
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.findings import ERROR, WARNING, Finding
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.smi import numbers
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, raise_if_any

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.observe import Observation
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.smi import Gpu

# The toolkit that the collection installs if the host has none.
_INSTALLED = next(iter(ARCHITECTURES))
# The oldest driver of each CUDA major version.
OLDEST_DRIVER = {13: 580, 12: 525, 11: 450}
# The GPUs that each CUDA 12 supports; those of CUDA 13 are in cuda/architectures.py.
_CUDA_12 = (50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89, 90)
_SINCE_12 = {8: (100, 101, 120), 9: (103, 121)}
_OURS = "llama-server"


@dataclasses.dataclass(frozen=True)
class Requirements:
    """The options of the module nvidia_driver_info; each is declared here only. Empty and 0 require nothing.

    ``gpus`` are UUIDs of GPUs or MIG devices. If a number is given instead, ``count`` is that minimum.
    """

    min_driver: str = text()
    toolkit_version: str = text()
    # MiB.
    min_free_memory: int = integer(0, 0, wanted="MiB, 0 or more")
    gpus: tuple[str, ...] = texts()
    count: int = 0
    compute_capability: str = text()
    runtime: str = text("", ("", *runtimes.choices()))
    user: str = text()
    gpu: str = text("auto", ("auto", "required", "none"))

    @property
    def access(self) -> str:
        """Return how the server comes by the GPUs."""
        return runtimes.gpu_access(self.runtime)


def parse(params: typing.Mapping[str, typing.Any]) -> Requirements:
    """Parse the module's arguments. Raises ProblemError with every invalid one."""
    given = Requirements(**values(Requirements, params))
    versions = {name: params[name] for name in ("min_driver", "toolkit_version", "compute_capability") if params[name]}
    strange = [
        name for name, version in versions.items() if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}", version)
    ]
    problems = [Problem(f"nvidia_driver_{name}", versions[name], "a version, such as 13.0") for name in strange]
    problems += range_problems(Requirements, "nvidia_driver", vars(given))
    gpus = given.gpus
    count = int(gpus[0]) if len(gpus) == 1 and re.fullmatch(r"[0-9]{1,3}", gpus[0]) else 0
    unknown = [gpu for gpu in gpus if not re.fullmatch(r"(GPU|MIG)-[0-9a-fA-F-]+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}", gpu)]
    if unknown and not count:
        fix = "run 'nvidia-smi -L' to list the UUIDs"
        problems.append(
            Problem(
                "nvidia_driver_gpus", ", ".join(unknown), "UUIDs of GPUs or MIG devices, or one number of GPUs", fix
            )
        )
    raise_if_any(problems)
    return dataclasses.replace(given, gpus=() if count else gpus, count=count)


def unmet(wanted: Requirements, seen: Observation, host_free_mib: int = 0) -> list[Finding]:
    """List every requirement that is not met.

    A requirement that cannot be checked because the driver does not answer is left out; that is a finding of its own.
    """
    chosen = [
        gpu
        for gpu in seen.gpus
        if not wanted.gpus or gpu.uuid in wanted.gpus or any(part.uuid in wanted.gpus for part in gpu.mig_devices)
    ]
    return [
        *_driver(wanted, seen),
        *_count(wanted, seen),
        *_too_low(wanted, chosen),
        *_too_little(wanted, chosen, host_free_mib),
        *(finding for gpu in chosen for finding in _architecture(wanted.toolkit_version, gpu)),
    ]


def _too_low(wanted: Requirements, chosen: typing.Sequence[Gpu]) -> list[Finding]:
    """Check the compute capability of the ``chosen`` GPUs."""
    least = wanted.compute_capability
    failing = [gpu for gpu in chosen if least and numbers(gpu.compute_capability) < numbers(least)]
    if _enough(wanted, chosen, failing):
        return []
    gpus = "; ".join(f"{gpu} with compute capability {gpu.compute_capability}" for gpu in failing)
    fix = "use newer GPUs, or name suitable ones in nvidia_driver_gpus"
    return [Finding("capability_too_low", ERROR, gpus, f"compute capability {least} or higher", fix)]


def _too_little(wanted: Requirements, chosen: typing.Sequence[Gpu], host_free_mib: int) -> list[Finding]:
    """Check the free memory of the ``chosen`` GPUs."""
    least = wanted.min_free_memory
    failing = [gpu for gpu in chosen if least and free(gpu, wanted.gpus, host_free_mib) < least]
    if _enough(wanted, chosen, failing):
        return []
    fix = "stop the processes that hold the memory, or name other GPUs in nvidia_driver_gpus"
    states = "; ".join(_memory(gpu, wanted.gpus, host_free_mib) for gpu in failing)
    return [Finding("memory_too_little", ERROR, states, f"{least} MiB free on each GPU", fix)]


def free(gpu: Gpu, named: typing.Collection[str], host_free_mib: int) -> int:
    """Return the MiB free on a GPU.

    With MIG devices it is the least of those ``named``, or the most of all; a GPU that shares the host's memory has
    the host's. Memory held by a llama-server counts as free, so that a second run does not fail on its own server.
    """
    if gpu.shares_memory:
        return host_free_mib
    ours = sum(process.memory_mib for process in gpu.processes if process.name.rpartition("/")[2] == _OURS)
    if not gpu.mig_devices:
        return gpu.memory_free_mib + ours
    of_named = [part.memory_free_mib for part in gpu.mig_devices if part.uuid in named]
    return ours + (min(of_named) if of_named else max(part.memory_free_mib for part in gpu.mig_devices))


def known_to(toolkit: str) -> tuple[int, ...]:
    """Return the compute capabilities that a toolkit builds for, as nvcc writes them (``90``).

    A toolkit newer than all known ones is taken to support those of the newest.
    """
    major, minor = (*numbers(toolkit), 0)[:2]
    if major < 13:
        return (
            *_CUDA_12,
            *(each for since, several in _SINCE_12.items() if (major, minor) >= (12, since) for each in several),
        )
    fitting = [known for name, known in ARCHITECTURES.items() if numbers(name) <= (major, minor)]
    return tuple(int(name) for name in (fitting[0] if fitting else ARCHITECTURES[_INSTALLED]))


def _enough(wanted: Requirements, chosen: typing.Sequence[Gpu], failing: typing.Sequence[Gpu]) -> bool:
    """Return whether no GPU is ``failing``, or ``wanted.count`` GPUs are left without those."""
    return not failing or bool(wanted.count and len(chosen) - len(failing) >= wanted.count)


def _driver(wanted: Requirements, seen: Observation) -> typing.Iterator[Finding]:
    """Check the driver's version against the minimum and against the toolkit."""
    version = (seen.driver.version or seen.driver.kernel_module_version) if seen.driver else ""
    if not version:
        return
    if wanted.min_driver and numbers(version) < numbers(wanted.min_driver):
        want = f"driver {wanted.min_driver} or newer"
        yield Finding("driver_below_minimum", ERROR, f"NVIDIA driver {version}", want, "upgrade the driver and reboot")
    oldest = OLDEST_DRIVER.get(numbers(wanted.toolkit_version)[0], 0)
    if numbers(version) < (oldest,):
        want = f"driver {oldest} or newer, which runs CUDA {wanted.toolkit_version}"
        fix = "upgrade the driver and reboot, or use an older toolkit"
        yield Finding("driver_too_old_for_toolkit", ERROR, f"NVIDIA driver {version}", want, fix)
        return
    cuda = seen.driver.cuda_version if seen.driver else ""
    if cuda and wanted.toolkit_version and numbers(cuda)[:2] < numbers(wanted.toolkit_version)[:2]:
        driver = f"NVIDIA driver {version}, which compiles at most the PTX of CUDA {cuda}"
        fix = "build for the GPUs that are there (names ending in -real hold no PTX), or upgrade the driver"
        yield Finding("ptx_too_new", WARNING, driver, f"a build without PTX of CUDA {wanted.toolkit_version}", fix)


def _count(wanted: Requirements, seen: Observation) -> list[Finding]:
    there = {gpu.uuid for gpu in seen.gpus} | {part.uuid for gpu in seen.gpus for part in gpu.mig_devices}
    missing = [uuid for uuid in wanted.gpus if uuid not in there]
    has = ", ".join(gpu.uuid for gpu in seen.gpus) or "no GPU that can be used"
    fix = "compare with 'nvidia-smi -L', and fix the other problems listed here"
    if missing:
        return [Finding("gpus_missing", ERROR, has, ", ".join(missing), fix)]
    if len(seen.gpus) < wanted.count:
        return [Finding("gpus_missing", ERROR, f"{len(seen.gpus)} usable GPUs", f"{wanted.count} of them", fix)]
    return []


def _memory(gpu: Gpu, named: typing.Collection[str], host_free_mib: int) -> str:
    """Describe a GPU's free memory and the five processes that hold most of the rest."""
    if gpu.shares_memory:
        return f"{gpu} with {host_free_mib} MiB free of the host's memory, which the GPU shares"
    if gpu.mig_devices:
        return f"{gpu} with {free(gpu, named, host_free_mib)} MiB free on one of its MIG devices"
    holders = sorted(gpu.processes, key=lambda process: -process.memory_mib)
    held = ", ".join(
        f"{process.name or 'a program'} (pid {process.pid}, {process.memory_mib} MiB)" for process in holders[:5]
    )
    return (
        f"{gpu} with {gpu.memory_free_mib} of {gpu.memory_total_mib} MiB free, held by "
        f"{held or 'no process that the driver reports'}"
    )


def _architecture(toolkit: str, gpu: Gpu) -> typing.Iterator[Finding]:
    """Check that a toolkit supports the GPU: an error for a required one, a warning for the one to be installed."""
    severity = ERROR if toolkit else WARNING
    name = toolkit or _INSTALLED
    number = int(gpu.compute_capability.replace(".", ""))
    known = known_to(name)
    capability = f"{gpu} with compute capability {gpu.compute_capability}"
    if number < min(known):
        fix = (
            "install CUDA 12, with a driver up to 580, and name it in cuda_toolkit_path"
            if number >= min(_CUDA_12)
            else "use a newer GPU, or the CPU"
        )
        wanted = f"a GPU that CUDA {name} still supports ({_dotted(min(known))} or higher)"
        yield Finding("gpu_dropped_by_toolkit", severity, capability, wanted, fix)
    elif number not in known:
        newer = [release for release, known in ARCHITECTURES.items() if str(number) in known]
        fix = (
            f"use CUDA {newer[-1]} or newer"
            if newer
            else "use a toolkit newer than this collection, with cuda_toolkit_path"
        )
        yield Finding("gpu_unknown_to_toolkit", severity, capability, f"a GPU that CUDA {name} supports", fix)


def _dotted(number: int) -> str:
    return f"{number // 10}.{number % 10}"
