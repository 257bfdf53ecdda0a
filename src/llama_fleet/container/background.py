# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Build the newest llama.cpp at the lowest priority beside the running server, for the container's next start."""

import contextlib
import fcntl
import io
import os
import pathlib
import sys
import time
import typing

from llama_fleet.container import record
from llama_fleet.container.startlog import Log

# Seconds to wait for the server to load its model before the build starts anyway, and between two checks.
LOADING = 1800.0
PAUSE = 5.0
# Makes the kernel kill the build first if memory runs out.
_OOM_SCORE = "1000"


def log_path() -> str:
    """Return the path of the build's log."""
    return os.path.join(record.STATE, "background.log")


def outcome_path() -> str:
    """Return the path of the file with the last build's outcome."""
    return os.path.join(record.STATE, "background.json")


def last() -> record.Record:
    """Return the outcome of the last build in the background; empty if there was none."""
    return record.read_object(outcome_path())


def spawn(out: Log) -> None:
    """Double-fork so that PID 1 reaps the build and llama-server has no child to wait for."""
    failed = last()
    if failed.get("reason"):
        out.warning(f"The last build in the background failed: {failed['reason']}")
    out.info(f"Building the newest llama.cpp in the background; log: {log_path()}.")
    try:
        child = os.fork()
    except OSError as error:  # a process limit must not keep the server from starting
        out.warning(f"Cannot build in the background: {error.strerror}.")
        return
    if child:
        os.waitpid(child, 0)
        return
    status = 1
    try:
        os.setsid()
        if os.fork() == 0:
            _become()
        status = 0
    finally:
        os._exit(status)


def _become() -> typing.NoReturn:
    _give_way()
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(log_path(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    for number, descriptor in ((0, nothing), (1, log), (2, log)):
        os.dup2(descriptor, number)
    os.execv(sys.executable, [sys.executable, "-m", "llama_fleet.container.background"])


def _give_way() -> None:
    os.nice(19)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")


def main() -> int:
    """Build in a process of its own. Like every run, it writes a new release folder and changes nothing else.

    Return the exit status.
    """
    out = Log()
    with open(os.path.join(record.STATE, "background.lock"), "a", encoding="utf-8") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            out.info("Another build is running.")
            return 0
        _wait_for_server(time.monotonic() + LOADING)
        return _build(out)


def _wait_for_server(deadline: float) -> None:
    """Wait until the server is ready, because reading the model and the source at once slows both down."""
    from llama_fleet.container import health  # noqa: PLC0415 - because a start does not need it

    with contextlib.redirect_stdout(io.StringIO()):  # discard the output of the check
        while health.main() and time.monotonic() < deadline:
            time.sleep(PAUSE)


def _build(out: Log) -> int:
    from llama_fleet import settings  # noqa: PLC0415 - because a start does not need it
    from llama_fleet.container import newest, start, variables  # noqa: PLC0415 - as above
    from llama_fleet.container.narrator import Narrator  # noqa: PLC0415 - as above
    from llama_fleet.errors import FleetError  # noqa: PLC0415 - as above
    from llama_fleet.run import runner  # noqa: PLC0415 - because a start does not need it

    catalogue = settings.load()
    values = variables.of(os.environ, catalogue)
    url = variables.moving(values)
    try:
        wanted = newest.commit(url, str(values.get(variables.VERSION, ""))) if url else ""
    except newest.UnknownError as error:
        out.warning(str(error))
        return 1
    failed = last()
    if wanted and failed.get("commit") == wanted and failed.get("retry_after", 0.0) > time.time():
        out.info(f"The build of {wanted} failed before: {failed['reason']}")
        return 0
    more = {variables.UPDATE: "always", "llama_fleet_release_only": True}
    try:
        outcome = runner.run(
            runner.Request(start.PLAYBOOK, {**values, **more}), Narrator(out, catalogue.stages[start.PLAYBOOK])
        )
    except FleetError as error:
        out.warning(str(error))
        return error.exit_code
    reason = " ".join(failure.text for failure in outcome.failures)
    if reason:
        out.error(reason)
    record.write({"commit": wanted, "reason": reason, "retry_after": time.time() + start.RETRY}, outcome_path())
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(main())
