# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Measure what a server has really taken of its GPUs, and list their device nodes."""

from __future__ import annotations

import fnmatch
import os
import pathlib
import re
import stat
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import processes as nvidia_processes
from ansible_collections.llama_fleet.core.plugins.module_utils.release.memory_plan import HOST
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import free as server_memory_free
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import unit_file as server_unit
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import arguments as server_arguments

BY_PROCESS = "the processes that nvidia-smi lists"
BY_DIFFERENCE = "the GPU's use before and after"
BY_KERNEL = "the process's resident memory"
_TIME_LIMIT = 60.0
_MIB = 1 << 20


class Memory(typing.NamedTuple):
    """MiB of all GPUs together, as nvidia-smi reports them."""

    free: int
    used: int


def memory() -> Memory | None:
    """Return what is free and used of all GPUs; None if nvidia-smi does not say."""
    try:
        listed = commands.run(
            ["nvidia-smi", "--query-gpu=memory.free,memory.used", "--format=csv,noheader,nounits"], timeout=_TIME_LIMIT
        )
    except OSError:
        return None
    rows = re.findall(r"^(\d{1,9}), *(\d{1,9})$", listed.stdout if listed.ok else "", re.MULTILINE)
    return Memory(*(sum(int(row[column]) for row in rows) for column in (0, 1))) if rows else None


def of_process(pid: int) -> int:
    """Return the MiB of GPU memory of a process by nvidia-smi; 0 if it is not listed, as in a container."""
    listed = nvidia_processes.compute_processes(commands.run)
    return sum(int(mib) for found, _gpu, mib in listed if int(found) == pid and mib.isdigit())


def resident(pid: int) -> int:
    """Return the resident MiB of a process's RAM; 0 if that cannot be seen."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    match = re.search(r"^VmRSS:\s+(\d+) kB$", text, re.MULTILINE)
    return int(match[1]) // 1024 if match else 0


def listed_free(server: pathlib.Path) -> int:
    """Return the free MiB of all GPUs by ``llama-server --list-devices``, which the memory check uses."""
    listing = commands.run([str(server), "--list-devices"], cwd="/", timeout=_TIME_LIMIT)
    return sum(server_memory_free.gpus(listing.stdout + listing.stderr).values())


def fixed(before: Memory | None, listed: int) -> int:
    """Return the MiB that any program takes of a GPU for its CUDA context.

    A listing has a context of its own, so less is free in it than for nvidia-smi. The memory plan omits the context,
    because the free memory that it is compared with already lacks it.
    """
    return max(0, before.free - listed) if before and listed else 0


def compare(
    planned: typing.Sequence[typing.Mapping[str, typing.Any]], pid: int, before: Memory | None, context_mib: int
) -> dict[str, typing.Any]:
    """Return the plan beside what was taken, of the GPUs if the plan has any, otherwise of the RAM.

    The error is in percent of what was taken. ``planned`` is the module's ``memory``; ``context_mib`` is the part of
    the taken memory that no plan has.
    """
    gpus = [row for row in planned if row["device"] != HOST]
    wanted = sum(row["model_mib"] + row["context_mib"] + row["compute_mib"] for row in gpus or planned)
    taken, how = (resident(pid), BY_KERNEL) if not gpus else _of_gpus(pid, before)
    net = taken - (context_mib if gpus else 0)
    return {
        "devices": [row["device"] for row in gpus or planned],
        "planned_mib": wanted,
        "taken_mib": taken,
        "cuda_context_mib": context_mib if gpus else 0,
        "error_percent": round(100 * (wanted - net) / net, 1) if net > 0 else None,
        "measured_by": how,
    }


def _of_gpus(pid: int, before: Memory | None) -> tuple[int, str]:
    told = of_process(pid)
    if told:
        return told, BY_PROCESS
    now = memory()
    return (max(0, now.used - before.used), BY_DIFFERENCE) if now and before else (0, BY_DIFFERENCE)


def nodes(
    dev: pathlib.Path = pathlib.Path("/dev"), table: pathlib.Path = pathlib.Path("/proc/devices")
) -> dict[str, str]:
    """Return the NVIDIA character devices below ``dev``, each with the name of its major number in ``table``."""
    try:
        names = dict(
            re.findall(
                r"^ *(\d+) (\S+)$", table.read_text(encoding="utf-8").partition("Block devices")[0], re.MULTILINE
            )
        )
    except OSError:
        names = {}
    found = {}
    for path in sorted(
        path for path in [*dev.glob("nvidia*"), *dev.glob("nvidia*/*")] if stat.S_ISCHR(path.stat().st_mode)
    ):
        found[f"/dev/{path.relative_to(dev)}"] = names.get(str(os.major(path.stat().st_rdev)), "")
    return found


def opened(pid: int) -> list[str]:
    """Return the NVIDIA device nodes that a process has open."""
    return sorted({name for name in processes.open_files(pid) if name.startswith("/dev/nvidia")})


def allowed(release: str, model: str) -> list[str]:
    """Return what the unit of a GPU instance may open: its DeviceAllow lines without their rights."""
    given = {name: spec.get("default", "") for name, spec in server_arguments.ARGUMENTS.items()}
    options = server_arguments.options_of({**given, "backend": "cuda", "release": release, "model": model})
    return re.findall(r"^DeviceAllow=(\S+) rw$", server_unit.render(options, [str(options.server)]), re.MULTILINE)


def is_allowed(node: str, driver: str, allowed: typing.Sequence[str]) -> bool:
    """Return whether a unit's list has a device node: by path, or by ``char-`` and a pattern of its ``driver``."""
    return any(
        entry == node or (entry.startswith("char-") and fnmatch.fnmatchcase(driver, entry[5:])) for entry in allowed
    )


def unknown(found: typing.Mapping[str, str], opened_nodes: typing.Sequence[str]) -> list[str]:
    """Return the nodes whose driver the kernel does not name, so that ``char-`` patterns cannot be checked."""
    return sorted(node for node in {*found, *opened_nodes} if not found.get(node))
