# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Start the container: reuse the last start if nothing has changed, else run the play; then exec llama-server."""

import json
import os
import signal
import sys
import time
import types
import typing
from collections.abc import Mapping, Sequence

from llama_fleet.container import init, record, startlog
from llama_fleet.container.startlog import Log

# Arguments of llama-server that only print something.
PRINTED = (["--list-devices"], ["--version"], ["--help"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the container. Return an exit status only if it cannot start."""
    if os.getpid() == 1:
        init.take_over()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    form, flags = startlog.split(
        sys.argv[1:] if arguments is None else arguments, os.environ.get(record.LOG_VARIABLE, "")
    )
    out = Log(form == "json")
    if form not in startlog.FORMATS:
        out.error(f"--log and {record.LOG_VARIABLE}: expected one of {', '.join(startlog.FORMATS)}, found '{form}'.")
        return 2
    printed = flags if flags in PRINTED else []
    os.environ.pop(record.ARGUMENTS, None)
    if flags and not printed:
        os.environ[record.ARGUMENTS] = json.dumps(flags)
    startlog.phase(startlog.PREPARING, "starting")
    last = unchanged(os.environ, out)
    if not last:
        # Imports everything that a restart does not need.
        from llama_fleet.container import start  # noqa: PLC0415 - because importing it takes longer than a restart

        last, status = start.converge(os.environ, out)
        if status:
            return status
    return execute(last, printed, out)


def unchanged(environment: Mapping[str, str], out: Log) -> record.Record:
    """Return the record of the last start if the container still matches it, else an empty one."""
    last = record.read()
    reason = record.difference(last, environment, time.time()) or _newer(last.get("remote"), out)
    if reason:
        out.info(f"{reason[0].upper()}{reason[1:]}.")
        return {}
    if last["warning"]:
        out.warning(last["warning"])
    out.info(f"Nothing has changed since the last start: {last['summary']}")
    return last


def _newer(remote: Mapping[str, str] | None, out: Log) -> str:
    """Return a sentence if the followed repository has a newer build; empty if not, or if it does not answer."""
    if not remote:
        return ""
    from llama_fleet.container import newest  # noqa: PLC0415 - because most restarts do not need it

    try:
        commit = newest.commit(remote["url"], remote["version"])
    except newest.UnknownError as error:
        out.warning(f"Could not check for a newer build. {error}")
        return ""
    return "" if commit == remote["commit"] else f"there is a newer build in {remote['url']}"


def execute(last: record.Record, flags: Sequence[str], out: Log) -> int:
    """Replace this process with llama-server. Return an exit status only if that fails."""
    command, environment = record.server(last, os.environ, flags)
    address = startlog.address(command, environment)
    startlog.phase(startlog.SERVING, "serving", **address)
    if startlog.is_open(command, address["host"]):
        out.warning(
            f"Every client that reaches port {address['port']} may use this server, because it requires no API key. "
            "Fix: Set LLAMA_API_KEY, or LLAMA_API_KEY_FILE to a file that contains the key."
        )
    if last["update"] == "background":
        from llama_fleet.container import background  # noqa: PLC0415 - because only this mode needs it

        background.spawn(out)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        if last.get("user") and os.geteuid() == 0:
            from llama_fleet.container import unprivileged  # noqa: PLC0415 - because only root drops rights

            unprivileged.execute(command, environment, last["user"])
        return os.execve(command[0], command, environment)
    except OSError as error:
        out.error(f"{command[0]} cannot be executed: {error.strerror}.")
        return 126


def _end(number: int, _frame: types.FrameType | None) -> typing.NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
