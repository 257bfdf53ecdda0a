# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Follow the log of a server that runs as a plain process, and stop it on Ctrl-C."""

import dataclasses
import os
import pathlib
import sys
import time
import typing
from collections.abc import Callable

from ansible_collections.llama_fleet.core.plugins.module_utils.server.state import store as server_store
from llama_fleet import printed
from llama_fleet.errors import ExitCode, FleetError
from llama_fleet.run import signals

POLL = 0.3
LAST_LINES = 20


@dataclasses.dataclass(frozen=True)
class Process:
    """A process, identified by its id and start time, because ids are reused."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "Process":
        """Identify the process that has the id ``pid`` now."""
        return cls(pid, _start_time(pid))

    def is_alive(self) -> bool:
        """Return whether the process still runs."""
        return bool(self.started) and _start_time(self.pid) == self.started


def _start_time(pid: int) -> str:
    """Return the start time in clock ticks since boot; empty if the process does not exist or is a zombie."""
    try:
        # The program name, in parentheses, may contain any character.
        fields = (
            pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return ""
    return "" if len(fields) < 20 or fields[0] in "ZX" else fields[19]


def follow(
    pid: int, log: pathlib.Path, instance: pathlib.Path, stop: Callable[[], int], output: typing.TextIO | None = None
) -> int:
    """Copy the server's log to ``output`` until a signal arrives, then call ``stop`` and return its exit status.

    ``instance`` is the folder of the instance's generations. Raises FleetError if the server ends by itself.
    """
    output = output or sys.stdout
    process = Process.of(pid)
    asked_to_stop: list[int] = []
    with signals.caught(asked_to_stop.append):
        output.write("\nThe server runs until Ctrl-C; its log follows.\n")
        tail = _Tail(log)
        while not asked_to_stop:
            is_alive = process.is_alive()
            output.write(printed.text(tail.read()))
            output.flush()
            if not is_alive and _was_stopped(instance):
                output.write("The server was stopped.\n")
                return ExitCode.OK
            if not is_alive:
                raise FleetError(
                    f"llama-server (process {pid}) ended by itself. The end of {log}:\n{tail.last_lines()}"
                )
            time.sleep(POLL)
        return stop()


def _was_stopped(instance: pathlib.Path) -> bool:
    """Return whether ``down`` or the removal of the instance ended the server."""
    return server_store.Store(instance).stopped or not os.path.exists(instance)


class _Tail:
    """A reader of what is appended to a file; reads nothing if the file belongs to another user."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        try:
            self._position = path.stat().st_size
        except OSError:
            self._position = 0

    def read(self) -> str:
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                data = file.read()
        except OSError:
            return ""
        self._position += len(data)
        return data.decode(errors="replace")

    def last_lines(self) -> str:
        try:
            return "\n".join(self._path.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:])
        except OSError as error:
            return f"(not readable: {error.strerror})"
