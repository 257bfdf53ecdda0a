# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Identify, inspect and stop processes through /proc."""

from __future__ import annotations

import dataclasses
import errno
import os
import pathlib
import signal
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import whole

PROC = pathlib.Path("/proc")
# Maximum bytes read of an environment or a list of open files.
_LONGEST = 1 << 20


@dataclasses.dataclass(frozen=True)
class Process:
    """A process that cannot be confused with a later one that reuses its pid.

    ``started`` is in clock ticks since boot.
    """

    pid: int
    started: int


def find(pid: int, proc: pathlib.Path = PROC) -> Process | None:
    """Return the living process ``pid``, or None if it has ended or is a zombie."""
    try:
        text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name may contain spaces and brackets; the fields after its last bracket are regular.
    fields = text.rpartition(")")[2].split()
    started = whole(fields[19]) if len(fields) > 19 and fields[0] not in ("Z", "X") else None
    return None if started is None else Process(pid, started)


def alive(process: Process, proc: pathlib.Path = PROC) -> bool:
    return find(process.pid, proc) == process


def name(pid: int, proc: pathlib.Path = PROC) -> str:
    """Return the command name of a process, or "another process" if it is not visible."""
    try:
        return (proc / str(pid) / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "another process"


def environment(pid: int, proc: pathlib.Path = PROC) -> dict[str, str]:
    """Return the environment that a process was started with; empty if not readable."""
    path = proc / str(pid) / "environ"
    try:
        data = path.read_bytes()
    except OSError:
        data = _as_its_user(pid, proc, path.read_bytes)
    text = data.decode("utf-8", "surrogateescape")
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)


def started_with(variable: str, value: str, proc: pathlib.Path = PROC) -> list[Process]:
    """List the living processes that have ``variable`` set to ``value``, without their own children.

    Processes inside containers are left out, because there the value names a folder of the container.
    """
    pids = sorted(int(entry.name) for entry in proc.iterdir() if whole(entry.name) is not None)
    here = _target(proc / "self" / "ns" / "pid")
    marked = [pid for pid in pids if pid != os.getpid() and environment(pid, proc).get(variable) == value]
    candidates = [find(pid, proc) for pid in marked if _target(proc / str(pid) / "ns" / "pid") == here]
    return [process for process in candidates if process is not None and _parent(process.pid, proc) not in marked]


def _parent(pid: int, proc: pathlib.Path) -> int:
    """Return the pid of the parent, or 0 if the process has ended."""
    try:
        text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    fields = text.rpartition(")")[2].split()
    return whole(fields[1], 0) or 0 if len(fields) > 1 else 0


def descends(pid: int, ancestor: int, proc: pathlib.Path = PROC) -> bool:
    """Return whether ``pid`` is ``ancestor`` or a descendant of it through living processes."""
    seen: set[int] = set()
    while pid and pid not in seen:
        if pid == ancestor:
            return True
        seen.add(pid)
        pid = _parent(pid, proc)
    return False


def user(pid: int, proc: pathlib.Path = PROC) -> int:
    """Return the user ID that a process runs as, or -2 (no valid user) if it has ended."""
    try:
        return (proc / str(pid)).stat().st_uid
    except OSError:
        return -2


def in_unit(pid: int, unit: str, proc: pathlib.Path = PROC) -> bool:
    """Return whether this host's systemd started the process, directly or indirectly, for ``unit``.

    For example podman's monitor of a container.
    """
    first, own = _cgroups(1, proc), _cgroups(pid, proc)
    # Inside a container every path begins with the container's own group, whose name may be that very unit. So cut off
    # the path of the first process.
    starts = {hierarchy: first.get(hierarchy, "").removesuffix("/init.scope") for hierarchy in own}
    return any(
        f"/{unit}/" in f"{path[len(starts[hierarchy]) :]}/"
        for hierarchy, path in own.items()
        if path.startswith(starts[hierarchy])
    )


def _cgroups(pid: int, proc: pathlib.Path) -> dict[str, str]:
    """Return the control group path of a process by hierarchy."""
    try:
        text = (proc / str(pid) / "cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return dict(line.rpartition(":")[::2] for line in text.splitlines())


def open_files(pid: int, proc: pathlib.Path = PROC) -> list[str]:
    """List the targets of a process's open files, as far as they are visible."""
    try:
        entries = os.listdir(proc / str(pid) / "fd")
    except OSError:
        return []
    links = [proc / str(pid) / "fd" / entry for entry in entries]
    targets = [target for target in map(_target, links) if target]
    if links and not targets:
        seen = _as_its_user(pid, proc, lambda: "\0".join(map(_target, links)).encode("utf-8", "surrogateescape"))
        targets = [target for target in seen.decode("utf-8", "surrogateescape").split("\0") if target]
    return targets


def _as_its_user(pid: int, proc: pathlib.Path, look: typing.Callable[[], bytes]) -> bytes:
    """Return the result of ``look``, run as the owner of process ``pid``; empty if that is impossible.

    Root in a container may start processes of other users but may not inspect them: that takes CAP_SYS_PTRACE, which
    containers lack.
    """
    try:
        status = (proc / str(pid)).stat()
    except OSError:
        return b""
    if os.geteuid() != 0 or status.st_uid == 0:
        return b""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        _look_and_end(writing, status, look)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        seen = file.read(_LONGEST)
    os.waitpid(child, 0)
    return seen


def _look_and_end(writing: int, status: os.stat_result, look: typing.Callable[[], bytes]) -> typing.NoReturn:
    try:
        os.setgroups([])
        os.setgid(status.st_gid)
        os.setuid(status.st_uid)
        with os.fdopen(writing, "wb") as file:
            file.write(look()[:_LONGEST])
    finally:
        os._exit(0)


def _target(link: pathlib.Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def stop(process: Process, patience: float, pause: typing.Callable[[float], None] = time.sleep) -> None:
    """Send TERM, then KILL after ``patience`` seconds; return when the process is gone."""
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 10.0)):
        try:
            os.kill(process.pid, number)
        except OSError as error:
            if error.errno == errno.ESRCH:
                return
            raise
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            _reap(process.pid)
            if not alive(process):
                return
            pause(0.05)


def _reap(pid: int) -> None:
    """Reap a child of this process if it has ended; ignore processes that are not our children."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def ending(code: int) -> str:
    """Describe how llama-server ended; a negative ``code`` is a signal."""
    if code >= 0:
        return f"llama-server ended with exit status {code}"
    try:
        signal_name = signal.Signals(-code).name
    except ValueError:
        signal_name = f"signal {-code}"
    hint = ": this release uses instructions that this CPU does not have" if signal_name == "SIGILL" else ""
    return f"llama-server was ended by {signal_name}{hint}"


def ending_of_container(code: int) -> str:
    """Describe the exit status of a container, which is 128 plus the signal number for a signal."""
    return ending(128 - code if 128 < code < 128 + 65 else code)
