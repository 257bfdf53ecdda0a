# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The command status --watch: until it is interrupted."""

import io
import signal
import sys
import time

import pytest

from llama_fleet.cli import commands, invocation
from llama_fleet.errors import RunInterruptedError
from llama_fleet.run import runner
from llama_fleet.run.events import Failure, Outcome
from tests.unit.cli.fake_hosts import Hosts


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("terminal", [True, False])
def test_watching_goes_on_until_it_is_interrupted(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    output = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    for name, value in {"TERM": "xterm", "COLUMNS": "200", "LINES": "50", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    hosts.calls_until_interrupted = 3
    hosts.failures = [Failure("far", "no route", unreachable=True)]
    assert commands.main(["status", "--watch", "2"]) == 0
    text = output.getvalue()
    assert len(hosts.requests) == 3
    assert text.count("1,234,567") >= 2
    assert "Error: far: cannot be reached: no route" in text
    assert ", refreshed in 2 s; Ctrl-C to stop" in text
    # In place: the lines of the page before are taken back.
    assert ("\x1b[1A" in text) == terminal


def test_an_interruption_between_two_looks_ends_watching_as_well(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(seconds: float) -> None:
        assert seconds == invocation.WATCH_SECONDS
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    assert commands.main(["status", "--watch"]) == 0
    assert len(hosts.requests) == 1


def test_a_termination_of_watching_keeps_its_exit_status(monkeypatch: pytest.MonkeyPatch, hosts: Hosts) -> None:
    def terminate(*_arguments: object) -> Outcome:
        raise RunInterruptedError(signal.SIGTERM)

    monkeypatch.setattr(runner, "run", terminate)
    assert commands.main(["status", "--watch"]) == 143
    assert hosts.requests == []
