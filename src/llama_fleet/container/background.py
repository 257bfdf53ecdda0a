# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Builds the newest llama.cpp beside a server that runs, for the container's next start.

It gives way to the server in everything.
"""

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

# Seconds that a server has to load its model before the build begins anyway, and between two looks.
LOADING = 1800.0
PAUSE = 5.0
# The first to be killed where memory ends.
_OOM_SCORE = "1000"


def log_path() -> str:
    return os.path.join(record.STATE, "background.log")


def outcome_path() -> str:
    return os.path.join(record.STATE, "background.json")


def last() -> record.Record:
    """What came of the last build in the background; empty where there was none or where it was well."""
    return record.read_object(outcome_path())


def spawn(out: Log) -> None:
    """Start the build as nobody's child of ours: whoever is first in the container takes it, and llama-server has
    none to wait for.
    """
    failed = last()
    if failed.get("reason"):
        out.warning(f"The newest build could not be made in the background: {failed['reason']}")
    out.info(f"The newest build is looked for in the background, see {log_path()}.")
    try:
        child = os.fork()
    except OSError as error:  # a limit of processes, which must not keep the server from starting
        out.warning(f"Nothing can be built in the background: {error.strerror}.")
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
    told = os.open(log_path(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    for number, descriptor in ((0, nothing), (1, told), (2, told)):
        os.dup2(descriptor, number)
    os.execv(sys.executable, [sys.executable, "-m", "llama_fleet.container.background"])


def _give_way() -> None:
    os.nice(19)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")


def main() -> int:
    """In a process of its own.

    What it does is what every run does: it takes a new folder for a new release, and touches nothing else.
    """
    out = Log()
    with open(os.path.join(record.STATE, "background.lock"), "a", encoding="utf-8") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            out.info("Another build is at work.")
            return 0
        _wait_for_server(time.monotonic() + LOADING)
        return _build(out)


def _wait_for_server(deadline: float) -> None:
    """Reading a model and reading source at once makes both slow."""
    from llama_fleet.container import health  # noqa: PLC0415 - because a start does without

    with contextlib.redirect_stdout(io.StringIO()):  # what the check says is of no interest here
        while health.main() and time.monotonic() < deadline:
            time.sleep(PAUSE)


def _build(out: Log) -> int:
    from llama_fleet import settings  # noqa: PLC0415 - because a start does without
    from llama_fleet.container import newest, start, variables  # noqa: PLC0415 - as above
    from llama_fleet.container.narrator import Narrator  # noqa: PLC0415 - as above
    from llama_fleet.errors import FleetError  # noqa: PLC0415 - as above
    from llama_fleet.run import runner  # noqa: PLC0415 - because a start does without

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
        out.info(f"{wanted} failed before: {failed['reason']}")
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
