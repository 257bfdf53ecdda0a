# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a server once for all hosts of a run, also if it fails, and keep its answer for the next runs for a while."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import os
import pathlib
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import locked, write_atomic
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import line
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Flag, Record, Text, parse

# Seconds for which an answer holds in other runs. In its own run it holds to the end.
HOLDS = 600
_LONGEST = 16 << 20  # bytes of a kept answer
_RUN = Text(r"[0-9]{1,10}-[0-9]{1,20}")
_PROBLEM = Record(dict.fromkeys(("subject", "found", "wanted", "fix"), Text(most=100_000)))
_KEPT = Record({"run": _RUN}, {"answer": Text(most=_LONGEST), "problem": _PROBLEM, "patient": Flag()})


@dataclasses.dataclass(frozen=True)
class Question:
    """A question to a server; ``parts`` are all that its answer depends on. ``subject`` is that of its problems.

    ``reads`` raises ProblemError or ValueError for a kept answer that is not usable, which is then asked for again.
    """

    parts: tuple[str, ...]
    subject: str
    reads: typing.Callable[[str], object] = str

    def answer(self) -> str | None:
        """Return the kept answer, or None."""
        return self._recalled().get("answer")

    def ask(self, ask: typing.Callable[[], str], *, patient: bool = False) -> str:
        """Return the kept answer, else that of ``ask``. Raises its ProblemError, also for all later hosts of the run.

        A ``patient`` one asks again after the failure of one that was not.
        """
        try:
            with locked(self._path.with_suffix(".lock")):  # hosts of a play ask at the same time
                kept = self._recalled()
                if "answer" not in kept and not ("problem" in kept and (kept.get("patient") or not patient)):
                    kept = {**self._asked(ask), "patient": patient}
                    write_atomic(self._path, json.dumps({"run": this_run(), **kept}))
        except OSError as error:
            wanted = "a home folder that can be written, for the answers of servers"
            raise ProblemError(
                Problem(self.subject, f"{error.filename} ({error.strerror})", wanted, "set HOME")
            ) from error
        if "problem" in kept:
            raise ProblemError(Problem(**kept["problem"]))
        return str(kept["answer"])

    def _asked(self, ask: typing.Callable[[], str]) -> dict[str, typing.Any]:
        try:
            return {"answer": ask()}
        except ProblemError as error:
            problem = dataclasses.asdict(error.problems[0])
            return {"problem": {name: line(text, 4000) for name, text in problem.items()}}

    def _recalled(self) -> dict[str, typing.Any]:
        """Return what is kept and still holds; a failure holds in its own run only."""
        try:
            age = time.time() - self._path.stat().st_mtime
            with self._path.open(encoding="utf-8") as file:
                kept = parse(file.read(_LONGEST), _KEPT, "a kept answer", _LONGEST)
            if "answer" in kept:
                self.reads(kept["answer"])
        except (OSError, ValueError, ProblemError):
            return {}
        holds = kept["run"] == this_run() or ("answer" in kept and 0 <= age <= HOLDS)
        return kept if holds else {}

    @property
    def _path(self) -> pathlib.Path:
        place = pathlib.Path("~/.cache/llama-fleet/upstream").expanduser()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        return place / f"{hashlib.sha256(chr(0).join(self.parts).encode()).hexdigest()[:16]}.json"


def this_run() -> str:
    """Return a name for Ansible's main process, which starts a process for each task of each host."""
    parent = multiprocessing.parent_process()
    pid = (parent.pid if parent else None) or os.getpid()
    process = processes.find(pid)
    return f"{pid}-{process.started if process else 0}"
