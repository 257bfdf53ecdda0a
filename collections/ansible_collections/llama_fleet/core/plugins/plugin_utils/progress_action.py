# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a long module in the background of its host and show its progress.

The module is started once, as an asynchronous job with a ``progress_file``; then one cheap command per poll reads that
file and the job's result. Unlike ``async`` with ``poll`` this shows the progress, and unlike a plain call it survives a
broken connection.
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

# In seconds.
FIRST_POLL = 0.1
LAST_POLL = 1.0
TIME_LIMIT = 24 * 3600
# Additional seconds for Ansible to end a job that is past its limit.
MARGIN = 60
LINE_INTERVAL = 2.0
# Polls without the job's process until it counts as killed.
POLLS_GONE = 3
PROGRESS = "progress.json"
# Lines that separate the parts of a poll's output.
ALIVE = "--alive--"
RESULT = "--result--"

display = Display()


class ProgressAction(HostAction):
    """The action of every module with a ``progress_file``; it runs the module of its own name."""

    ROLE = ""
    _instance = ""

    def run(self, tmp: str | None = None, task_vars: dict[str, typing.Any] | None = None) -> dict[str, typing.Any]:
        self._begin(tmp, task_vars)
        self._instance = overrides.of_turn(task_vars, self._templar.template)
        arguments = self._arguments(task_vars or {})
        plan_only = arguments.get("plan_only") is True
        if self._play_context.check_mode or plan_only:
            result = self._look(arguments, task_vars or {})
        else:
            result = self._run_in_background(arguments, task_vars or {})
        return overrides.labelled(result, self._instance, plan_only)

    def _look(self, arguments: dict[str, typing.Any], task_vars: dict[str, typing.Any]) -> dict[str, typing.Any]:
        """Return the result of a plan or of check mode."""
        return self._execute_module(module_args=arguments, task_vars=task_vars)

    def _arguments(self, _task_vars: dict[str, typing.Any]) -> dict[str, typing.Any]:
        """Return a copy of the module's arguments."""
        return overrides.merged(self._task.args, self.ROLE)

    def _shown_host(self, task_vars: dict[str, typing.Any]) -> str:
        """Return the name to show with the progress: the host's, with its instance's if there are several."""
        host = host_of(task_vars)
        return f"{host}/{self._instance}" if self._instance else host

    def _run_in_background(
        self, arguments: dict[str, typing.Any], task_vars: dict[str, typing.Any]
    ) -> dict[str, typing.Any]:
        # Beside the job's results, in a folder of this run that the module makes, so that no other user can prepare it.
        name = f"llama-fleet-{uuid.uuid4().hex}"
        jobs = self.get_shell_option("async_dir", default="~/.ansible_async")
        progress_file = f"{jobs}/{name}/{PROGRESS}"
        self._task.async_val = TIME_LIMIT
        try:
            job = self._execute_module(
                module_args={**arguments, "progress_file": progress_file}, task_vars=task_vars, wrap_async=True
            )
        finally:
            self._task.async_val = 0  # otherwise the executor would poll the job again
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
                message = "The module's process was killed before it ended; run the play again to resume it."
                return {"failed": True, "msg": message}
            time.sleep(pause)
            pause = min(LAST_POLL, pause * 2)
        hours = TIME_LIMIT // 3600
        message = f"The module left no result within {hours} hours; check it on the host, and run the play again."
        return {"failed": True, "msg": message}


@contextlib.contextmanager
def interruptible() -> typing.Iterator[None]:
    """Raise KeyboardInterrupt for the signals that Ansible sends its workers on Ctrl-C, to stop the job too."""

    def interrupt(number: int, _frame: object) -> typing.NoReturn:
        for repeated in before:  # they come several times, and must not interrupt the stopping
            signal.signal(repeated, signal.SIG_IGN)
        raise KeyboardInterrupt(signal.strsignal(number))

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Watch:
    """The files of one background job, and its last polled state. ``folder`` holds only its progress file."""

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
        """Return the result and whether the job died without one; a running job's result has ``started`` in it."""
        progress, _mark, result = output.partition(RESULT)
        snapshot = parse(progress.replace(ALIVE, "").strip())
        # Once is not enough: the result is written a moment after the module's process ends.
        self._polls_gone = 0 if ALIVE in progress else self._polls_gone + 1
        if snapshot:
            self._pid = snapshot.pid
            self._reporter.show(snapshot)
        try:
            content = json.loads(result, cls=get_module_decoder("legacy", Direction.MODULE_TO_CONTROLLER))
        except (ValueError, RecursionError):  # not written yet
            content = {}
        if not isinstance(content, dict):
            content = {"failed": True, "msg": "The module's result is not an object."}
        return content, self._polls_gone > POLLS_GONE


class Reporter:
    """A reporter of one host's progress: each new stage at once, the same stage every two seconds."""

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
