# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a long module in the background of its host and shows its progress while it works.

The module is started once, as an asynchronous job with a ``progress_file``; from then on one cheap
command a poll reads that file and the job's result. Unlike ``async`` with ``poll`` this shows how
far the work is, and unlike a plain call it outlives a connection that breaks.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import time
import typing
import uuid

from ansible.module_utils.common.json import Direction, get_module_decoder
from ansible.utils.display import Display

from ansible_collections.llama_fleet.core.plugins.module_utils.progress import VARIABLE, Snapshot, parse, to_line
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import line
from ansible_collections.llama_fleet.core.plugins.plugin_utils import overrides
from ansible_collections.llama_fleet.core.plugins.plugin_utils.host_action import HostAction, host_of

# All in seconds.
FIRST_POLL = 0.1
LAST_POLL = 1.0
TIME_LIMIT = 24 * 3600
# What Ansible has to end a job that is past its limit.
MARGIN = 60
LINE_INTERVAL = 2.0
# Polls without the job's process before it counts as killed.
POLLS_GONE = 3
PROGRESS = "progress.json"
# Lines that part what one poll reads.
ALIVE = "--alive--"
RESULT = "--result--"

display = Display()


class ProgressAction(HostAction):
    """The action of every module that takes ``progress_file``; the module's name is the action's."""

    ROLE = ""
    _instance = ""

    def run(self, tmp: str | None = None, task_vars: dict[str, typing.Any] | None = None) -> dict[str, typing.Any]:
        self._begin(tmp, task_vars)
        self._instance = overrides.of_turn(task_vars, self._templar.template)
        arguments = self._arguments(task_vars or {})
        plan_only = arguments.get("plan_only") is True
        if self._play_context.check_mode or plan_only:
            result = self._execute_module(module_args=arguments, task_vars=task_vars)
        else:
            result = self._run_in_background(arguments, task_vars or {})
        return overrides.told(result, self._instance, plan_only)

    def _arguments(self, _task_vars: dict[str, typing.Any]) -> dict[str, typing.Any]:
        """What the module is given; a copy."""
        return overrides.merged(self._task.args, self.ROLE)

    def _shown_host(self, task_vars: dict[str, typing.Any]) -> str:
        """Whose progress it is: the host's, or one of its instances'."""
        host = host_of(task_vars)
        return f"{host}/{self._instance}" if self._instance else host

    def _run_in_background(
        self, arguments: dict[str, typing.Any], task_vars: dict[str, typing.Any]
    ) -> dict[str, typing.Any]:
        # Beside the job's results, in a folder of this run: the module makes it, and no other user of the host can.
        name = f"llama-fleet-{uuid.uuid4().hex}"
        jobs = self.get_shell_option("async_dir", default="~/.ansible_async")
        progress_file = f"{jobs}/{name}/{PROGRESS}"
        self._task.async_val = TIME_LIMIT
        try:
            job = self._execute_module(
                module_args={**arguments, "progress_file": progress_file}, task_vars=task_vars, wrap_async=True
            )
        finally:
            self._task.async_val = 0  # else the executor would poll the job a second time
        results_file = job.get("results_file")
        if job.get("failed") or not results_file:
            return job
        watch = Watch(f"{os.path.dirname(results_file)}/{name}", results_file, Reporter(self._shown_host(task_vars)))
        try:
            with interruptible():
                return self._admitted(self._wait(watch), task_vars)
        except BaseException:
            self._low_level_execute_command(watch.stop_command())
            raise
        finally:
            self._low_level_execute_command(watch.clean_command())

    def _wait(self, watch: Watch) -> dict[str, typing.Any]:
        pause = FIRST_POLL
        end = time.monotonic() + TIME_LIMIT + MARGIN
        while time.monotonic() < end:
            output = self._low_level_execute_command(watch.poll_command())
            result, gone = watch.read(output["stdout"])
            if result and "started" not in result:
                return result
            if gone:
                return {
                    "failed": True,
                    "msg": (
                        "The module's process was killed before it ended; run the play again, it goes on where it was."
                    ),
                }
            time.sleep(pause)
            pause = min(LAST_POLL, pause * 2)
        return {
            "failed": True,
            "msg": (
                f"The module left no result within {TIME_LIMIT // 3600} hours; look at what it does on the host, "
                f"and run the play again."
            ),
        }


@contextlib.contextmanager
def interruptible() -> typing.Iterator[None]:
    """Make the signals that Ansible hands to its workers on Ctrl-C an exception, so that the job can be stopped too."""

    def interrupt(number: int, _frame: object) -> typing.NoReturn:
        for repeated in before:  # they come more than once, and must not break off the stopping
            signal.signal(repeated, signal.SIG_IGN)
        raise KeyboardInterrupt(signal.strsignal(number))

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Watch:
    """The files of one background job, and what its last poll told. ``folder`` holds its progress, and nothing else."""

    def __init__(self, folder: str, results_file: str, reporter: Reporter) -> None:
        self._folder = shlex.quote(folder)
        self._progress_file = shlex.quote(f"{folder}/{PROGRESS}")
        self._results_file = shlex.quote(results_file)
        self._reporter = reporter
        self._pid = 0
        self._polls_gone = 0

    def poll_command(self) -> str:
        alive = f"test -d /proc/{self._pid} && echo {ALIVE}" if self._pid else f"echo {ALIVE}"
        return (
            f"{alive}; cat {self._progress_file} 2>/dev/null; echo; echo {RESULT}; cat {self._results_file} 2>/dev/null"
        )

    def stop_command(self) -> str:
        return f"kill {self._pid}" if self._pid else "true"

    def clean_command(self) -> str:
        return f"rm -rf {self._folder}; rm -f {self._results_file}"

    def read(self, output: str) -> tuple[dict[str, typing.Any], bool]:
        """The result, with ``started`` in it as long as the job runs, and whether the job died without leaving one."""
        progress, _mark, result = output.partition(RESULT)
        snapshot = parse(progress.replace(ALIVE, "").strip())
        # Once is not enough: the result is written a moment after the module's process ends.
        self._polls_gone = 0 if ALIVE in progress else self._polls_gone + 1
        if snapshot:
            self._pid = snapshot.pid
            self._reporter.show(snapshot)
        try:
            told = json.loads(result, cls=get_module_decoder("legacy", Direction.MODULE_TO_CONTROLLER))
        except (ValueError, RecursionError):  # not there yet
            told = {}
        return told if isinstance(told, dict) else {
            "failed": True,
            "msg": "The module's result is no object.",
        }, self._polls_gone > POLLS_GONE


class Reporter:
    """Shows one host's progress: each new stage at once, the same stage every two seconds."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._stage = ""
        self._shown = float("-inf")
        self._text = ""

    def show(self, snapshot: Snapshot) -> None:
        """Display the snapshot as a line of JSON or text, unless the stage's last line is too recent or the same."""
        text = snapshot.text()
        now = time.monotonic()
        if text == self._text or (snapshot.stage == self._stage and now - self._shown < LINE_INTERVAL):
            return
        self._stage, self._shown, self._text = snapshot.stage, now, text
        as_json = os.environ.get(VARIABLE) == "json"
        display.display(to_line(self._host, snapshot) if as_json else line(f"[{self._host}] {text}"))
