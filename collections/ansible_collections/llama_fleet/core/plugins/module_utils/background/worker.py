# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Build a native release at the lowest priority, and let it challenge the one with which the instance runs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import sys
import time
import traceback
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands, files, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.planning.plan import STEPS, Planned, parameters
from ansible_collections.llama_fleet.core.plugins.module_utils.planning.wiring import wired
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.release import background
from ansible_collections.llama_fleet.core.plugins.module_utils.server.challenge import Challenge, Verdict
from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import this_host
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.arguments import options_of

# The arguments of each stage of the instance by role, and under "plan" the plans of the stages before the release.
Arguments = typing.Mapping[str, typing.Mapping[str, typing.Any]]
FOLDER, JOB, LOG, _BUILT = "background", "job.json", "log", "built.json"
# Makes the kernel kill the build first if memory runs out.
_OOM_SCORE = "1000"
_PLAN = "plan"
_NO_REASON = "its process told no reason; read its log"


class NotBuiltError(Exception):
    """The native release could not be built; the text is the reason."""


def main(path: pathlib.Path) -> int:
    """Do the job in the file ``path``, and record its outcome. Return the exit status."""
    job = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    os.environ.update(job["environment"])
    os.umask(0o022)
    arguments = job["arguments"]
    own = processes.find(os.getpid())
    record = background.Background(
        job["target"], job["build"], background.BUILDING, pid=os.getpid(), started=own.started if own else 0
    )
    instance = instance_of(arguments)
    folder = instance.options.folder
    background.write(folder, record)
    try:
        verdict = _verdict(arguments, job["known"], path.parent, instance, record)
    except (ProblemError, NotBuiltError, OSError) as error:
        verdict = Verdict(background.FAILED, f"{record.build} native could not be built: {error}")
    except Exception as error:  # noqa: BLE001 - without an outcome every run would start it again
        traceback.print_exc()
        reason = f"{record.build} native could not be built: {type(error).__name__}: {error}"
        verdict = Verdict(background.FAILED, reason)
    done = dataclasses.replace(
        record, outcome=verdict.outcome, reason=verdict.reason, retry_after=time.time() + background.RETRY
    )
    _say(verdict.reason)
    if folder.is_dir():  # else the instance was removed meanwhile
        background.write(folder, done)
    return int(verdict.outcome == background.FAILED)


def _say(text: str) -> None:
    """Write a line to the journal or the log."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def instance_of(arguments: Arguments) -> Instance:
    """Return the instance with the options of the play. Raises ProblemError."""
    given = {**arguments["llama_server"], "backend": arguments[_PLAN]["nvidia_driver"].get("backend", "cpu")}
    return Instance(options_of(parameters("llama_server", STEPS["llama_server"], given)), this_host(), Progress(""))


def _verdict(
    arguments: Arguments, known: str, place: pathlib.Path, instance: Instance, record: background.Background
) -> Verdict:
    release = _built(arguments, known, place / _BUILT)

    def phase(name: str) -> None:
        _say(name)
        background.write(instance.options.folder, dataclasses.replace(record, phase=name))

    phase(background.COMPARING)
    _take_weight(instance)
    # One comparison at a time on a host, because two would measure each other.
    with files.locked(instance.options.folder.parent / ".comparing.lock"):
        return Challenge(instance, release, phase).run()


def _built(arguments: Arguments, known: str, result: pathlib.Path) -> pathlib.Path:
    """Build in a child, because only the build has the lowest priority; return the release. Raises ProblemError."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _give_way()
            files.write_json(result, _provide(arguments, known))
            status = 0
        except ProblemError as error:
            files.write_json(result, {"reason": str(error)})
        finally:
            if status and sys.exc_info()[0]:  # the exit below would leave it untold
                traceback.print_exc()
            sys.stdout.flush()
            os._exit(status)
    _pid, ended = os.waitpid(child, 0)
    try:
        answer = json.loads(result.read_text(encoding="utf-8"))
    except OSError:
        code = os.waitstatus_to_exitcode(ended)
        raise NotBuiltError(f"its process ended by {signal.Signals(-code).name}" if code < 0 else _NO_REASON) from None
    if "path" not in answer:
        raise NotBuiltError(answer["reason"])
    return pathlib.Path(answer["path"])


def _give_way() -> None:
    os.nice(19)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    commands.run(["ionice", "-c", "3", "-p", str(os.getpid())])
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")


def _take_weight(instance: Instance) -> None:
    """Give the unit of this process, if it has one, the weights of a server: what it runs next is one."""
    unit = f"llama-fleet-{instance.options.instance}-{FOLDER}.service"
    if processes.in_unit(os.getpid(), unit):
        weights = ("CPUWeight=100", "IOWeight=100")
        instance.host.run(["systemctl", "set-property", "--runtime", unit, *weights])


def _provide(arguments: Arguments, known: str) -> dict[str, typing.Any]:
    """Run the toolkit's and the release's stage as their modules do; return the release's result."""
    results = {**arguments[_PLAN]}
    for role in ("cuda_toolkit", "llama_cpp"):
        if role == "cuda_toolkit" and results["nvidia_driver"].get("backend") != "cuda":
            continue
        more = (
            {"native": True, "known": known, "offered": "", "published": "", "asks_first": False}
            if role == "llama_cpp"
            else {}
        )
        step, given = STEPS[role], {**arguments[role], **wired(role, arguments, results), **more}
        results[role] = {**step.run(Planned(parameters(role, step, given), False))}
    return {"path": results["llama_cpp"]["path"]}


def _stop(number: int, _frame: object) -> typing.NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    raise SystemExit(main(pathlib.Path(sys.argv[1])))
