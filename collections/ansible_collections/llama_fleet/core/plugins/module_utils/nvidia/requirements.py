# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What somebody asks of a host's GPUs and driver, and what of it is not so."""

from __future__ import annotations

import dataclasses
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import (
    integer,
    range_problems,
    text,
    texts,
    values,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda.releases import RELEASES
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import access as nvidia_access
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.findings import ERROR, WARNING, Finding
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.smi import numbers
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, raise_if_any

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.observe import Observation
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.smi import Gpu

# The toolkit that is installed where none is there.
_INSTALLED = next(iter(RELEASES))
# The oldest driver of each CUDA major version.
OLDEST_DRIVER = {13: 580, 12: 525, 11: 450}
# The GPUs that each CUDA 12 knows; those of CUDA 13 stand in cuda_releases.
_CUDA_12 = (50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89, 90)
_SINCE_12 = {8: (100, 101, 120), 9: (103, 121)}
_OURS = "llama-server"


@dataclasses.dataclass(frozen=True)
class Requirements:
    """The options of the module nvidia_driver_info; each is declared here only. Empty and 0 require nothing.

    ``gpus`` are UUIDs; if a number is given instead, ``count`` is that number and ``gpus`` is empty.
    """

    min_driver: str = text()
    toolkit_version: str = text()
    # MiB.
    min_free_memory: int = integer(0, 0, wanted="MiB, 0 or more")
    gpus: tuple[str, ...] = texts()
    count: int = 0
    compute_capability: str = text()
    runtime: str = text("", ("", "auto", "systemd", "quadlet", "docker", "process", "exec"))
    user: str = text()
    gpu: str = text("auto", ("auto", "required", "none"))

    @property
    def access(self) -> str:
        """Return how the server comes by the GPUs."""
        return nvidia_access.of(self.runtime)


def parse(params: typing.Mapping[str, typing.Any]) -> Requirements:
    """Return the requirements in the module's parameters; raises ProblemError with all that make no sense."""
    given = Requirements(**values(Requirements, params))
    versions = {name: params[name] for name in ("min_driver", "toolkit_version", "compute_capability") if params[name]}
    strange = [
        name for name, version in versions.items() if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}", version)
    ]
    problems = [Problem(f"nvidia_driver_{name}", versions[name], "a version, such as 13.0") for name in strange]
    problems += range_problems(Requirements, "nvidia_driver", vars(given))
    gpus = given.gpus
    count = int(gpus[0]) if len(gpus) == 1 and re.fullmatch(r"[0-9]{1,3}", gpus[0]) else 0
    unknown = [gpu for gpu in gpus if not re.fullmatch(r"(GPU|MIG)-[0-9a-fA-F-]+", gpu)]
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
    """All at once. What cannot be known while the driver does not answer is left out: that is a finding of its own."""
    found = [*_driver(wanted, seen), *_count(wanted, seen)]
    chosen = [
        gpu
        for gpu in seen.gpus
        if not wanted.gpus or gpu.uuid in wanted.gpus or any(part.uuid in wanted.gpus for part in gpu.mig_devices)
    ]
    if wanted.compute_capability:
        found += _enough(
            [gpu for gpu in chosen if numbers(gpu.compute_capability) < numbers(wanted.compute_capability)],
            [f"{gpu} with compute capability {gpu.compute_capability}" for gpu in chosen],
            wanted,
            chosen,
            "capability_too_low",
            f"compute capability {wanted.compute_capability} or higher",
            "use newer GPUs, or name those that will do in nvidia_driver_gpus",
        )
    if wanted.min_free_memory:
        found += _enough(
            [gpu for gpu in chosen if free(gpu, wanted.gpus, host_free_mib) < wanted.min_free_memory],
            [_memory(gpu) for gpu in chosen],
            wanted,
            chosen,
            "memory_too_little",
            f"{wanted.min_free_memory} MiB free on each GPU",
            "stop what holds the memory, or name other GPUs in nvidia_driver_gpus",
        )
    return [*found, *(finding for gpu in chosen for finding in _architecture(wanted.toolkit_version, gpu))]


def free(gpu: Gpu, named: typing.Collection[str], host_free_mib: int) -> int:
    """MiB free on a GPU, of its MIG devices on the best or those ``named``; of one that shares the host's memory the
    host's.

    What a llama-server of this host holds counts as free: a run again must not fail on its own server.
    """
    if not gpu.memory_total_mib:
        return host_free_mib
    ours = sum(process.memory_mib for process in gpu.processes if process.name.rpartition("/")[2] == _OURS)
    if not gpu.mig_devices:
        return gpu.memory_free_mib + ours
    of_named = [part.memory_free_mib for part in gpu.mig_devices if part.uuid in named]
    return ours + (min(of_named) if of_named else max(part.memory_free_mib for part in gpu.mig_devices))


def known_to(toolkit: str) -> tuple[int, ...]:
    """The compute capabilities that a toolkit builds for, as nvcc writes them; of one newer than all known ones
    those of the newest.
    """
    major, minor = (*numbers(toolkit), 0)[:2]
    if major < 13:
        return (
            *_CUDA_12,
            *(each for since, several in _SINCE_12.items() if (major, minor) >= (12, since) for each in several),
        )
    fitting = [release for name, release in RELEASES.items() if numbers(name) <= (major, minor)]
    return tuple(int(name) for name in (fitting[0] if fitting else next(iter(RELEASES.values()))).architectures)


def _enough(
    failing: typing.Sequence[Gpu],
    told: typing.Sequence[str],
    wanted: Requirements,
    chosen: typing.Sequence[Gpu],
    code: str,
    want: str,
    fix: str,
) -> list[Finding]:
    """Where a number of GPUs is asked for, only so many have to do."""
    if not failing or (wanted.count and len(chosen) - len(failing) >= wanted.count):
        return []
    return [
        Finding(code, ERROR, "; ".join(sentence for gpu, sentence in zip(chosen, told) if gpu in failing), want, fix)
    ]


def _driver(wanted: Requirements, seen: Observation) -> typing.Iterator[Finding]:
    version = (seen.driver.version or seen.driver.kernel_module_version) if seen.driver else ""
    if not version:
        return
    if wanted.min_driver and numbers(version) < numbers(wanted.min_driver):
        yield Finding(
            "driver_below_minimum",
            ERROR,
            f"NVIDIA driver {version}",
            f"driver {wanted.min_driver} or newer",
            "upgrade the driver and reboot",
        )
    oldest = OLDEST_DRIVER.get(numbers(wanted.toolkit_version)[0], 0)
    if numbers(version) < (oldest,):
        want = f"driver {oldest} or newer, which runs CUDA {wanted.toolkit_version}"
        yield Finding(
            "driver_too_old_for_toolkit",
            ERROR,
            f"NVIDIA driver {version}",
            want,
            "upgrade the driver and reboot, or use an older toolkit",
        )
        return
    cuda = seen.driver.cuda_version if seen.driver else ""
    if cuda and wanted.toolkit_version and numbers(cuda)[:2] < numbers(wanted.toolkit_version)[:2]:
        found = f"NVIDIA driver {version}, which compiles PTX of CUDA {cuda} at most"
        fix = "build for the GPUs that are there (names ending in -real hold no PTX), or upgrade the driver"
        yield Finding("ptx_too_new", WARNING, found, f"PTX of CUDA {wanted.toolkit_version} not to be needed", fix)


def _count(wanted: Requirements, seen: Observation) -> list[Finding]:
    there = {gpu.uuid for gpu in seen.gpus} | {part.uuid for gpu in seen.gpus for part in gpu.mig_devices}
    missing = [uuid for uuid in wanted.gpus if uuid not in there]
    has = ", ".join(gpu.uuid for gpu in seen.gpus) or "no GPU that can be used"
    fix = "look at what 'nvidia-smi -L' lists, and at the other problems told here"
    if missing:
        return [Finding("gpus_missing", ERROR, has, ", ".join(missing), fix)]
    if len(seen.gpus) < wanted.count:
        return [Finding("gpus_missing", ERROR, f"{len(seen.gpus)} usable GPUs", f"{wanted.count} of them", fix)]
    return []


def _memory(gpu: Gpu) -> str:
    """Free memory, and who holds the rest, the largest first."""
    holders = sorted(gpu.processes, key=lambda process: -process.memory_mib)
    held = ", ".join(
        f"{process.name or 'a program'} (pid {process.pid}, {process.memory_mib} MiB)" for process in holders[:5]
    )
    return (
        f"{gpu} with {gpu.memory_free_mib} of {gpu.memory_total_mib} MiB free, held by "
        f"{held or 'no process that the driver shows'}"
    )


def _architecture(toolkit: str, gpu: Gpu) -> typing.Iterator[Finding]:
    """A toolkit that is asked for has to know the GPU; else one that is installed by us should."""
    severity = ERROR if toolkit else WARNING
    name = toolkit or _INSTALLED
    number = int(gpu.compute_capability.replace(".", ""))
    known = known_to(name)
    found = f"{gpu} with compute capability {gpu.compute_capability}"
    if number < min(known):
        fix = (
            "install CUDA 12, with a driver up to 580, and name it in cuda_toolkit_path"
            if number >= min(_CUDA_12)
            else "use a newer GPU, or the CPU"
        )
        yield Finding(
            "gpu_dropped_by_toolkit",
            severity,
            found,
            f"a GPU that CUDA {name} still knows ({_dotted(min(known))} or higher)",
            fix,
        )
    elif number not in known:
        newer = [release for release, each in RELEASES.items() if str(number) in each.architectures]
        fix = (
            f"use CUDA {newer[-1]} or newer"
            if newer
            else "use a toolkit that is newer than this collection, by cuda_toolkit_path"
        )
        yield Finding("gpu_unknown_to_toolkit", severity, found, f"a GPU that CUDA {name} knows", fix)


def _dotted(number: int) -> str:
    return f"{number // 10}.{number % 10}"
