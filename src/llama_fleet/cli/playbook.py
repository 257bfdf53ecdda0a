# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Show a run of ``ansible-playbook`` as the command shows its own runs.

The callback plugin in ``plugins/callback`` hands in what Ansible tells it.
"""

import re
import sys
import threading
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import progress
from llama_fleet import settings
from llama_fleet.cli import doctor, status, views
from llama_fleet.run import console, events

_WARNING = re.compile(r"\[WARNING\]:? ")
# By playbook: these plays change nothing, and a table shows their results.
_VIEWS: dict[str, views.View] = {"doctor": doctor.VIEW, "status": status.STATUS}


class Playbook:
    """The output of one run. Its methods may be called from several threads."""

    def __init__(self, stream: typing.TextIO, *, check: bool = False, is_quiet: bool = False) -> None:
        """``is_quiet`` shows the end of the run only, because Ansible itself shows the rest."""
        self._catalogue = settings.load()
        self._console = console.Console((), stream)
        self._translator = events.Translator(0, self._show)
        self._check = check
        self._is_quiet = is_quiet
        self._playbooks: set[str] = set()
        self._playbook = ""
        self._began = time.monotonic()
        self._lock = threading.RLock()

    def begin_play(self, name: str) -> None:
        """Show the stages of the play ``name`` from now on."""
        self._playbook = self._catalogue.playbooks.get(name, "")
        self._playbooks.add(self._playbook)
        self._console.stages = self._catalogue.stages.get(self._playbook, ())

    def happened(self, kind: str, **data: typing.Any) -> None:
        """Show an event, named and described as ansible_runner does."""
        with self._lock:
            self._translator.handle({"event": kind, "event_data": data})

    def said(self, text: str, kind: str = "verbose") -> bool:
        """Show a line of Ansible's own; return False if it is to be printed as it is."""
        if self._is_quiet:
            return False
        with self._lock:
            if label := _WARNING.match(text):
                kind, text = "warning", text[label.end() :]
            elif kind == "verbose" and not progress.from_line(text.strip()):
                self._console.clear()
                return False
            self._translator.handle({"event": kind, "stdout": text})
            return True

    def has_no_host(self) -> None:
        """Warn that a play has no host, because Ansible does not treat that as a failure."""
        self.said(events.NO_HOST, "warning")

    def end(self) -> None:
        """Show the results of the run."""
        self._console.clear()
        self._translator.conclude(0)
        outcome = self._translator.outcome
        outcome.seconds = time.monotonic() - self._began
        looked = [view for name, view in _VIEWS.items() if name in self._playbooks]
        for view in looked:
            views.show(view, lambda: outcome)
        if not looked:
            parts = (console.changes(outcome, check=self._check), console.ending(outcome, check=self._check))
            sys.stdout.write("\n".join(filter(None, parts)) + "\n")

    def _show(self, event: events.Event) -> None:
        if self._is_quiet:
            return
        if self._playbook not in _VIEWS:
            self._console(event)
        elif text := console.remark(event):
            sys.stderr.write(f"{text}\n")
