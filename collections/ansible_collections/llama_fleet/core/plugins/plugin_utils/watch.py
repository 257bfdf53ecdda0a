# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a module that runs in the background of its host, and show its progress."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import time
import typing

from ansible.errors import AnsibleError
from ansible.module_utils.common.json import Direction, get_module_decoder
from ansible.utils.display import Display

from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import line
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import (
    FILE_BESIDE,
    VARIABLE,
    Snapshot,
    parse,
    to_line,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.unwatched import LOOKED
from ansible_collections.llama_fleet.core.plugins.plugin_utils import host_results

LINE_INTERVAL = 2.0
# Polls without the job's process until it counts as killed.
POLLS_GONE = 3
KILLED = {
    "failed": True,
    "msg": "The module's process was killed before it ended; run the play again to resume it.",
}
# Lines that separate the parts of a poll's output.
ALIVE = "--alive--"
RESULT = "--result--"

display = Display()
Values = dict[str, typing.Any]


class Job(typing.NamedTuple):
    """A module in the background of its host, with its progress file and the file with its result."""

    role: str
    progress_file: str
    results_file: str


class Watch:
    """The files of one background job, and its last polled state. The progress file has a folder of its own."""

    def __init__(self, job: Job, reporter: Reporter) -> None:
        folder, name = os.path.split(job.progress_file)
        self._folder = shlex.quote(folder)
        self._progress_file = shlex.quote(job.progress_file)
        self._results_file = shlex.quote(job.results_file)
        looked = shlex.quote(f"{folder}/{LOOKED}")
        self._look = f"touch {looked} 2>/dev/null; " if name == FILE_BESIDE else ""
        self._reporter = reporter
        self._pid = 0
        self._polls_gone = 0

    def poll_command(self) -> str:
        alive = f"test -d /proc/{self._pid} && echo {ALIVE}" if self._pid else f"echo {ALIVE}"
        return (
            f"{self._look}{alive}; cat {self._progress_file} 2>/dev/null; echo; echo {RESULT}; "
            f"cat {self._results_file} 2>/dev/null"
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

    def __init__(self, host: str, role: str = "") -> None:
        self.host, self._role = host, role
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
        display.display(to_line(self.host, snapshot, self._role) if as_json else line(f"[{self.host}] {text}"))


class Beside:
    """A stage that the play has begun, while the current one runs. ``execute`` runs a command on their host."""

    def __init__(self, job: Job, reporter: Reporter, execute: typing.Callable[[str], Values]) -> None:
        self._job, self._reporter, self._execute = job, reporter, execute
        self._watch = Watch(job, reporter)
        self._result: Values = {}

    def look(self) -> None:
        """Show the progress once; when the stage has ended, show that, and keep the result."""
        if self._result:
            return
        result, gone = self._watch.read(self._execute(self._watch.poll_command())["stdout"])
        if gone:
            result = KILLED
        if not result or "started" in result:
            return
        self._result = host_results.admit(host_results.STAGES[self._job.role], result, self._reporter.host)
        if self._result.get("failed"):
            text = f"{self._job.role} has failed. The run ends with this failure after the current stage."
            display.warning(line(f"{self._reporter.host}: {text} {self._result.get('msg', '')}", 4000))
        else:
            self._reporter.show(Snapshot(f"{self._job.role} has finished"))

    def end(self) -> Values:
        """End the stage and remove its files; return its result if it has ended by itself, else nothing."""
        with contextlib.suppress(AnsibleError):  # the host is not reachable any more
            self.look()
            stop = "" if self._result else f"{self._watch.stop_command()}; "
            self._execute(f"{stop}{self._watch.clean_command()}")
        return self._result


def together(failure: Values, other: Values) -> Values:
    """Return a failure with that of the stage beside it, if that has failed too."""
    if not other.get("failed"):
        return failure
    problems = [*failure.get("problems", []), *other.get("problems", [])]
    return {**failure, "msg": f"{failure.get('msg', '')}\n{other.get('msg', '')}", "problems": problems}
