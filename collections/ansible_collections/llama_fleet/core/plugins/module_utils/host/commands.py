# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run commands on the host behind a small protocol that tests can replace."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import unprivileged

# Secrets of the CLI, a container and the Hub client. Commands that need one get it explicitly.
_OUR_SECRETS = (
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "GGUF_MODEL_TOKEN",
    "LLAMA_API_KEY",
    "LLAMA_SERVER_API_KEY",
    "LLAMA_SERVER_API_KEYS",
)
# Exit code of a command killed at its time limit, as in timeout(1).
TIMED_OUT = 124


@dataclasses.dataclass(frozen=True)
class Result:
    """The result of a command. ``code`` is negative for a signal and 127 if the command could not be started."""

    code: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.code == 0


class Runner(typing.Protocol):
    """Runs a command to its end."""

    def __call__(
        self,
        command: typing.Sequence[str],
        env: typing.Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        on_line: typing.Callable[[str], None] | None = None,
    ) -> Result:
        """Run ``command``.

        ``env`` is added to the environment; LC_ALL is always C. After ``timeout`` seconds the command is killed and the
        code is 124. With ``on_line``, stderr joins stdout, each line is passed on as it arrives, and there is no time
        limit.
        """


@dataclasses.dataclass(frozen=True)
class Call:
    """A command with the other arguments of a Runner."""

    command: typing.Sequence[str]
    env: typing.Mapping[str, str] | None
    cwd: str | None
    timeout: float | None
    on_line: typing.Callable[[str], None] | None

    def by(self, run_it: Runner) -> Result:
        """Run the command with ``run_it``."""
        return run_it(self.command, self.env, self.cwd, self.timeout, self.on_line)


def through(execute: typing.Callable[[Call], Result]) -> Runner:
    """Return a Runner that hands each call to ``execute``."""

    def run_through(
        command: typing.Sequence[str],
        env: typing.Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        on_line: typing.Callable[[str], None] | None = None,
    ) -> Result:
        return execute(Call(command, env, cwd, timeout, on_line))

    return run_through


def run(
    command: typing.Sequence[str],
    env: typing.Mapping[str, str] | None = None,
    cwd: str | None = None,
    timeout: float | None = None,
    on_line: typing.Callable[[str], None] | None = None,
) -> Result:
    """Run a command as this user, without our own secrets in its environment."""
    ours = {name: value for name, value in os.environ.items() if name not in _OUR_SECRETS}
    return _run(Call(command, {**ours, **(env or {})}, cwd, timeout, on_line), {})


def as_user(user: int, more: typing.Mapping[str, str]) -> Runner:
    """Return a Runner that runs commands as the user with the ID ``user``.

    The commands get ``more`` in their environment and no secrets.
    """

    def execute(call: Call) -> Result:
        ours = {**unprivileged.without_secrets(os.environ), **more, **(call.env or {})}
        return _run(dataclasses.replace(call, env=ours, cwd=call.cwd or "/"), unprivileged.identity(user))

    return through(execute)


def _run(call: Call, identity: typing.Mapping[str, typing.Any]) -> Result:
    """Run a call, whose ``env`` is the whole environment."""
    environment = {**(call.env or {}), "LC_ALL": "C"}
    try:
        if call.on_line is not None:
            return _run_by_line(call.command, environment, call.cwd, call.on_line, identity)
        return _run_to_end(call.command, environment, call.cwd, call.timeout, identity)
    except OSError as error:
        return Result(127, "", f"{call.command[0]}: {error.strerror}")


def _run_to_end(
    command: typing.Sequence[str],
    environment: typing.Mapping[str, str],
    cwd: str | None,
    timeout: float | None,
    identity: typing.Mapping[str, typing.Any],
) -> Result:
    # Neither the with statement nor subprocess.run: both wait for the child after its time limit, but a child stuck in
    # the kernel (a driver that hangs) cannot be killed.
    process = subprocess.Popen(  # pylint: disable=ansible-bad-function  # because run_command shows no progress
        list(command),
        env=dict(environment),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=timeout is not None,
        **identity,
    )
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _abandon(process)
        return Result(TIMED_OUT, "", f"{command[0]} did not end within {timeout:g} s")
    except BaseException:  # this module is being stopped
        _abandon(process)
        raise
    return Result(process.returncode, stdout, stderr)


def _abandon(process: subprocess.Popen[str]) -> None:
    """Kill a command (and its process group if it has its own), and wait at most one second for it."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _run_by_line(
    command: typing.Sequence[str],
    environment: typing.Mapping[str, str],
    cwd: str | None,
    on_line: typing.Callable[[str], None],
    identity: typing.Mapping[str, typing.Any],
) -> Result:
    lines: list[str] = []
    with subprocess.Popen(  # pylint: disable=ansible-bad-function  # because run_command shows no progress
        list(command),
        env=dict(environment),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        **identity,
    ) as process:
        try:
            for line in typing.cast("typing.Iterable[str]", process.stdout):
                lines.append(line)
                on_line(line.rstrip("\n"))
        except BaseException:  # this module is being stopped: do not leave the child behind
            process.terminate()
            raise
    return Result(process.returncode, "".join(lines), "")
