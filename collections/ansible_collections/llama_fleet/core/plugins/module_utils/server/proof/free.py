# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Measure the memory available to an instance, including what its present process frees when it is stopped."""

from __future__ import annotations

import pathlib
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import control_groups
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import processes as nvidia_processes
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import whole
from ansible_collections.llama_fleet.core.plugins.module_utils.release.memory_plan import HOST
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import limits as server_limits

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner

ROOT = pathlib.Path("/")
_MIB = 1 << 20
# Such as ``  CUDA0: NVIDIA H200 (143771 MiB, 143000 MiB free)``.
_DEVICE = re.compile(r"^\s*(\w+\d+): .*\(([0-9]{1,18}) MiB, ([0-9]{1,18}) MiB free\)", re.MULTILINE)


def ram(apart: bool, memory_max: str, pids: typing.Iterable[int] = (), root: pathlib.Path = ROOT) -> dict[str, int]:
    """Return the MiB of RAM for a server once the processes ``pids`` are gone, under the key HOST; empty if unknown.

    ``apart`` says that the server has a control group of its own below the topmost one, rather than ours.
    """
    meminfo = _fields(root / "proc/meminfo")
    if "MemAvailable" not in meminfo:
        return {}
    own = sum(own_bytes(pid, root) for pid in pids)
    bounds = [
        min(meminfo["MemAvailable"] + own, meminfo.get("MemTotal", 1 << 62)),
        *_cgroups(apart, own, root),
    ]
    limit = server_limits.memory_bytes(memory_max, meminfo.get("MemTotal", 0)) if apart else None
    return {HOST: min([*bounds, *([limit] if limit is not None else [])]) // _MIB}


def own_bytes(pid: int, root: pathlib.Path = ROOT) -> int:
    """Return the bytes that a process frees at its end and that do not count as available yet.

    Mapped files count as available already, unless they are locked.
    """
    status = _fields(root / "proc" / str(pid) / "status")
    return status.get("RssAnon", 0) + status.get("RssShmem", 0) + min(status.get("VmLck", 0), status.get("RssFile", 0))


def locked_bytes(pid: int, root: pathlib.Path = ROOT) -> int | None:
    """Return the bytes that a process has locked in RAM, or None if that is not visible."""
    return _fields(root / "proc" / str(pid) / "status").get("VmLck")


def lock_warning(locked: int | None, wanted_mib: int, fix: str) -> str:
    """Return a warning if less of the model is locked than was asked for, with the ``fix``; empty if all is well."""
    if locked is None or locked // _MIB >= wanted_mib * 9 // 10:
        return ""
    return (
        f"llama_server_load_mode asks for the model in locked memory, {wanted_mib} MiB, and the kernel locked "
        f"{locked // _MIB} MiB of it: {fix}"
    )


def gpus(listing: str) -> dict[str, int]:
    """Parse the output of ``llama-server --list-devices`` into free MiB by device."""
    return {name: int(free) for name, _total, free in _DEVICE.findall(listing)}


def own_gpus(
    run: Runner, pids: typing.Collection[int], recorded: typing.Mapping[str, int], devices: typing.Sequence[str]
) -> dict[str, int]:
    """Return the MiB of each device that the processes ``pids`` hold.

    With a single device nvidia-smi is asked; otherwise, and in a container, where it cannot tell processes apart, the
    amounts ``recorded`` at their start are returned, because nvidia-smi and llama.cpp name devices differently.
    """
    if not pids:
        return {}
    used = nvidia_processes.used_mib(run, pids)
    if used and len(devices) == 1:
        return {devices[0]: used}
    return {name: mib for name, mib in recorded.items() if name != HOST}


def _cgroups(topmost_only: bool, own: int, root: pathlib.Path) -> typing.Iterator[int]:
    """Yield the bytes that each limit of our control groups leaves. Cached files count as free."""
    for memory in control_groups.memory(root):
        for folder in control_groups.folders(memory.mount, "" if topmost_only else memory.group):
            limit, used = _text(folder / memory.limit), _text(folder / memory.used)
            if whole(limit) is not None and whole(used) is not None:
                stat = dict(re.findall(r"^(\w+) ([0-9]{1,18})$", _text(folder / "memory.stat"), re.MULTILINE))
                cached = sum(int(stat.get(memory.prefix + name, 0)) for name in ("inactive_file", "active_file"))
                yield min(int(limit), max(0, int(limit) - int(used) + cached + own))


def _fields(path: pathlib.Path) -> dict[str, int]:
    """Parse ``Name: number kB`` lines into bytes."""
    return {
        name: int(number) * 1024
        for name, number in re.findall(r"^(\w+):\s+([0-9]{1,18}) kB$", _text(path), re.MULTILINE)
    }


def _text(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except (OSError, ValueError):
        return ""
