# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a long module in the background of its host and show its progress.

The module is started once, as an asynchronous job with a ``progress_file``; then one cheap command per poll reads that
file and the job's result. Unlike ``async`` with ``poll`` this shows the progress, and unlike a plain call it survives a
broken connection.

A play may only begin a stage, run other stages beside it, and then wait for it. The polls of the other stages look at
it as well. A stage that fails ends the one beside it, and reports that one's failure if it has already failed.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import time
import typing
import uuid

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import FILE, FILE_BESIDE
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import told
from ansible_collections.llama_fleet.core.plugins.plugin_utils import overrides
from ansible_collections.llama_fleet.core.plugins.plugin_utils.host_action import HostAction, host_of
from ansible_collections.llama_fleet.core.plugins.plugin_utils.watch import (
    KILLED,
    Beside,
    Job,
    Reporter,
    Watch,
    together,
)

# In seconds.
FIRST_POLL = 0.1
LAST_POLL = 1.0
TIME_LIMIT = 24 * 3600
# Additional seconds for Ansible to end a job that is past its limit.
MARGIN = 60
# The play's variables: whether a stage only begins, and the stage that has begun and runs beside the current one.
BEGINS, BESIDE = "llama_fleet_begins", "llama_fleet_beside"


Values = dict[str, typing.Any]


class ProgressAction(HostAction):
    """The action of every module with a ``progress_file``; it runs the module of its own name."""

    ROLE = ""
    _instance = ""
    _beside: Beside | None = None

    def run(self, tmp: str | None = None, task_vars: Values | None = None) -> Values:
        self._begin(tmp, task_vars)
        variables = task_vars or {}
        self._instance = overrides.of_turn(task_vars, self._templar.template)
        arguments = self._arguments(variables)
        plan_only = arguments.get("plan_only") is True
        if self._play_context.check_mode or plan_only:
            result = self._look(arguments, variables)
        elif self._templar.template(variables.get(BEGINS, False)):
            result = self._only_begin(arguments, variables)
        else:
            result = self._run_beside(arguments, variables)
        return overrides.labelled(result, self._instance, plan_only)

    def _look(self, arguments: Values, task_vars: Values) -> Values:
        """Return the result of a plan or of check mode."""
        return self._execute_module(module_args=arguments, task_vars=task_vars)

    def _arguments(self, _task_vars: Values) -> Values:
        """Return a copy of the module's arguments."""
        return overrides.merged(self._task.args, self.ROLE)

    def _shown_host(self, task_vars: Values) -> str:
        """Return the name to show with the progress: the host's, with its instance's if there are several."""
        host = host_of(task_vars)
        return f"{host}/{self._instance}" if self._instance else host

    def _only_begin(self, arguments: Values, task_vars: Values) -> Values:
        """Start the module, and return what the play hands to the stages beside it."""
        started = self._start(arguments, task_vars, FILE_BESIDE)
        if not isinstance(started, Job):
            return started
        return {"changed": False, "would_change": True, "begun": started._asdict()}

    def _run_beside(self, arguments: Values, task_vars: Values) -> Values:
        """Run the module beside the stage that has begun, if there is one, or wait for the module's own."""
        begun: Values = self._templar.template(task_vars.get(BESIDE, {})) or {}
        if not begun:
            return self._run_in_background(arguments, task_vars)
        job = Job(**begun)
        if job.role == self.ROLE:
            return self._wait_for_begun(job, arguments, task_vars)
        reporter = Reporter(self._shown_host(task_vars), job.role)
        self._beside = Beside(job, reporter, self._low_level_execute_command)
        try:
            with interruptible():
                result = self._attempt(arguments, task_vars)
        except BaseException:
            self._beside.end()
            raise
        return together(result, self._beside.end()) if result.get("failed") else result

    def _wait_for_begun(self, job: Job, arguments: Values, task_vars: Values) -> Values:
        """Return the result of the begun job; run the module again, which resumes, if it has ended itself unwatched.

        A host that waits for another host's long build has no task that looks at its job meanwhile. The job's folder
        is the first thing that goes when it ends itself.
        """
        look = self._low_level_execute_command(f"test -d {shlex.quote(os.path.dirname(job.progress_file))}")
        result = self._wait_for(job, task_vars)
        if look.get("rc") and result.get("failed"):
            return self._run_in_background(arguments, task_vars)
        return result

    @property
    def meanwhile(self) -> typing.Callable[[], None] | None:
        """Return what to call again and again while this action waits by itself; None without a stage beside it."""
        beside = self._beside
        if beside is None:
            return None

        def look() -> None:
            beside.look()
            time.sleep(LAST_POLL)

        return look

    def _attempt(self, arguments: Values, task_vars: Values) -> Values:
        try:
            return self._run_in_background(arguments, task_vars)
        except ProblemError as error:
            return {"failed": True, "msg": str(error), "problems": told(error)}

    def _run_in_background(self, arguments: Values, task_vars: Values) -> Values:
        started = self._start(arguments, task_vars, FILE)
        return self._wait_for(started, task_vars) if isinstance(started, Job) else started

    def _start(self, arguments: Values, task_vars: Values, progress: str) -> Job | Values:
        """Start the module with a progress file of the name ``progress``; return a failure if that fails."""
        # Beside the job's results, in a folder of this run that the module makes, so that no other user can prepare it.
        name = f"llama-fleet-{uuid.uuid4().hex}"
        jobs = self.get_shell_option("async_dir", default="~/.ansible_async")
        progress_file = f"{jobs}/{name}/{progress}"
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
        return Job(self.ROLE, f"{os.path.dirname(results_file)}/{name}/{progress}", results_file)

    def _wait_for(self, job: Job, task_vars: Values) -> Values:
        """Return the result of a job; end the job if this action is interrupted."""
        watch = Watch(job, Reporter(self._shown_host(task_vars), self.ROLE))
        try:
            with interruptible():
                return self._admitted(self._wait(watch), task_vars)
        except BaseException:
            self._low_level_execute_command(watch.stop_command())
            raise
        finally:
            self._low_level_execute_command(watch.clean_command())

    def _wait(self, watch: Watch) -> Values:
        pause = FIRST_POLL
        end = time.monotonic() + TIME_LIMIT + MARGIN
        while time.monotonic() < end:
            output = self._low_level_execute_command(watch.poll_command())
            result, gone = watch.read(output["stdout"])
            if result and "started" not in result:
                return result
            if gone:
                return dict(KILLED)
            if self._beside:
                self._beside.look()
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
