# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Processes as /proc shows them: who they are, what they were started with, how they are stopped."""

from __future__ import annotations

import dataclasses
import errno
import os
import pathlib
import signal
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import whole

PROC = pathlib.Path("/proc")
# Bytes of an environment, or of the names of open files, that are looked at.
_LONGEST = 1 << 20


@dataclasses.dataclass(frozen=True)
class Process:
    """A process that cannot be mistaken for another that got its pid later:

    ``started`` is in clock ticks since boot.
    """

    pid: int
    started: int


def find(pid: int, proc: pathlib.Path = PROC) -> Process | None:
    """The living process ``pid``; None for one that is gone or only waits to be reaped."""
    try:
        text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name may hold spaces and brackets: what follows its last bracket is regular.
    fields = text.rpartition(")")[2].split()
    started = whole(fields[19]) if len(fields) > 19 and fields[0] not in ("Z", "X") else None
    return None if started is None else Process(pid, started)


def alive(process: Process, proc: pathlib.Path = PROC) -> bool:
    return find(process.pid, proc) == process


def name(pid: int, proc: pathlib.Path = PROC) -> str:
    """The command's name, or "another process" where it cannot be seen."""
    try:
        return (proc / str(pid) / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "another process"


def environment(pid: int, proc: pathlib.Path = PROC) -> dict[str, str]:
    """The environment a process was started with; empty where it may not be read."""
    path = proc / str(pid) / "environ"
    try:
        data = path.read_bytes()
    except OSError:
        data = _as_its_user(pid, proc, path.read_bytes)
    text = data.decode("utf-8", "surrogateescape")
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)


def started_with(variable: str, value: str, proc: pathlib.Path = PROC) -> list[Process]:
    """Every living process whose environment has ``variable`` as ``value``, without what such a process has started
    itself.

    Those inside of containers are left out: there the value means another's folder.
    """
    pids = sorted(int(entry.name) for entry in proc.iterdir() if whole(entry.name) is not None)
    here = _target(proc / "self" / "ns" / "pid")
    marked = [pid for pid in pids if pid != os.getpid() and environment(pid, proc).get(variable) == value]
    found = [find(pid, proc) for pid in marked if _target(proc / str(pid) / "ns" / "pid") == here]
    return [process for process in found if process is not None and _parent(process.pid, proc) not in marked]


def _parent(pid: int, proc: pathlib.Path) -> int:
    """The pid of its parent; 0 where it is gone."""
    try:
        text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    fields = text.rpartition(")")[2].split()
    return whole(fields[1], 0) or 0 if len(fields) > 1 else 0


def descends(pid: int, ancestor: int, proc: pathlib.Path = PROC) -> bool:
    """Whether ``pid`` is ``ancestor`` or was started by it, or by one that it started, of those that still live."""
    seen: set[int] = set()
    while pid and pid not in seen:
        if pid == ancestor:
            return True
        seen.add(pid)
        pid = _parent(pid, proc)
    return False


def user(pid: int, proc: pathlib.Path = PROC) -> int:
    """Return the user id that a process runs as; -2, which is nobody's, where it is gone."""
    try:
        return (proc / str(pid)).stat().st_uid
    except OSError:
        return -2


def in_unit(pid: int, unit: str, proc: pathlib.Path = PROC) -> bool:
    """Whether this host's systemd started the process for ``unit``, or something that it did start, such as
    podman's monitor of a container.
    """
    first, found = _cgroups(1, proc), _cgroups(pid, proc)
    # In a container its own name, which may be just that unit's, comes before everything, also before that of its first
    # process.
    starts = {hierarchy: first.get(hierarchy, "").removesuffix("/init.scope") for hierarchy in found}
    return any(
        f"/{unit}/" in f"{path[len(starts[hierarchy]) :]}/"
        for hierarchy, path in found.items()
        if path.startswith(starts[hierarchy])
    )


def _cgroups(pid: int, proc: pathlib.Path) -> dict[str, str]:
    """The control group of a process in each hierarchy there is."""
    try:
        text = (proc / str(pid) / "cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return dict(line.rpartition(":")[::2] for line in text.splitlines())


def open_files(pid: int, proc: pathlib.Path = PROC) -> list[str]:
    """What a process has open, as far as it may be seen."""
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
    """Return what ``look`` returns to the user whose process it is; nothing where this process cannot become that one.

    Root in a container may start another user's process, and may not see it: that takes CAP_SYS_PTRACE, which
    containers do not have.
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
    """TERM, then KILL after ``patience`` seconds; returns when the process is gone."""
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
    """Forget a child of ours that has ended; another's child is none of our business."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def ending(code: int) -> str:
    """How llama-server ended, in words; a negative ``code`` is a signal."""
    if code >= 0:
        return f"llama-server ended with exit status {code}"
    try:
        found = signal.Signals(-code).name
    except ValueError:
        found = f"signal {-code}"
    hint = ": this release uses instructions that this CPU does not have" if found == "SIGILL" else ""
    return f"llama-server was ended by {found}{hint}"


def ending_of_container(code: int) -> str:
    """The same of the exit status of a container, which is 128 and more for a signal."""
    return ending(128 - code if 128 < code < 128 + 65 else code)
