# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The protocol that every runtime implements: what the rest of the server stage may ask of one.

A runtime answers for itself. Nothing outside of this folder compares the name or the type of a runtime.
"""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import Place, RuntimeHost
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

Report = typing.Callable[[str], None]


class Runtime(typing.Protocol):
    """One way to keep an instance running, bound to one instance.

    The class variables and the static methods need no instance: they say what this way of running is like.
    """

    name: typing.ClassVar[str]
    # Whether llama_server_runtime: auto may choose it.
    automatic: typing.ClassVar[bool]
    # Whether only a host with systemd as PID 1 can have anything of it.
    needs_systemd: typing.ClassVar[bool]
    # Whether the caller executes the server afterwards: then its gate is passed on a port of its own, and nothing runs
    # when we end.
    needs_gate_port: typing.ClassVar[bool]
    # Whether the server has a control group of its own below the topmost one, rather than ours.
    own_control_group: typing.ClassVar[bool]
    # The program that keeps its containers and images; empty without containers.
    engine: typing.ClassVar[str]
    # Whether a question to it goes to a daemon that may hang.
    asks_daemon: typing.ClassVar[bool]
    # What it installs on the host beside the instance's folder, in a word; empty if nothing survives a boot.
    installs: typing.ClassVar[str]
    # What to do where the kernel locks less memory than was asked for.
    memory_lock_fix: typing.ClassVar[str]

    @classmethod
    def at(cls, place: Place, options: Options | None = None) -> Runtime:
        """Return the runtime of the instance in ``place``; without ``options`` only to look at, not to start."""

    @staticmethod
    def render(options: Options, command: typing.Sequence[str], variables: typing.Mapping[str, str]) -> dict[str, str]:
        """Return the text of each file that a generation needs for this runtime, by name."""

    @staticmethod
    def requirements(options: Options, host: RuntimeHost, report: Report | None) -> list[Problem]:
        """Return everything that keeps this runtime from running the instance on ``host``.

        A missing image is fetched, while the old server still serves, and ``report`` gets a line about it. Without
        ``report``, in check mode, nothing is fetched, and a missing image is no problem.
        """

    @staticmethod
    def remarks(options: Options) -> list[str]:
        """Return warnings about the way in which this runtime will run the server."""

    @staticmethod
    def runner(options: Options, run: Runner, inside: bool) -> Runner:
        """Return a runner of the release's programs as the server's user; ``inside`` what the server will run in."""

    @property
    def log(self) -> str:
        """The server's log: a file, or the command that shows it; empty where the caller has it."""

    def own(self) -> list[processes.Process]:
        """Return the instance's living processes, whatever started them."""

    def is_up(self) -> bool:
        """Return whether the instance runs, or will run without another start."""

    def present(self) -> bool:
        """Return whether this runtime has anything of the instance: a file, a container, a process."""

    def recorded(self) -> bool:
        """Return whether something remembers that the instance should run."""

    def recorded_process(self, proc: pathlib.Path) -> processes.Process | None:
        """Return the process that this runtime has on record, for a user who may not read its environment."""

    def settled(self, generation: Generation) -> bool:
        """Return whether what surrounds the process is as ``generation`` wants it."""

    def starts_at_boot(self) -> bool:
        """Return whether the instance comes back after a boot, as far as this runtime can make it."""

    def start_at_boot(self) -> None:
        """Make the instance come back after a boot."""

    def start(self, generation: Generation) -> processes.Process:
        """Replace what runs by ``generation``. Raise GateError where it does not even start."""

    def files(self) -> list[pathlib.Path]:
        """Return the files that this runtime writes outside of the instance's folder."""

    def writes(self, generation: Generation) -> list[tuple[pathlib.Path, int]]:
        """Return what a start writes outside of the generation's folder: files, and their size in bytes at most."""

    def death(self, process: processes.Process) -> str:
        """Return why ``process`` ended; empty while it lives."""

    def stop(self) -> None:
        """Stop the instance, now and at boot."""

    def remove(self) -> None:
        """Remove what was put outside of the instance's folder."""

    def log_lines(self, count: int) -> list[str]:
        """Return the last lines that the server logged."""
