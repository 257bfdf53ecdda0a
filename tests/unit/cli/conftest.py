# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Stand-ins for the runs of plays."""

import io
import sys
import time
from collections.abc import Iterator

import pytest

from llama_fleet.cli import foreground, privileges
from llama_fleet.run import runner
from tests.unit.chat import llama
from tests.unit.cli.fake_hosts import Hosts
from tests.unit.cli.fake_runs import RESULT, Runs


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    runs = Runs(dict(RESULT))
    monkeypatch.setattr(runner, "run", runs)
    monkeypatch.setattr(foreground, "follow", lambda *_arguments: pytest.fail("followed"))
    monkeypatch.setattr(privileges, "needs_become", lambda _command: False)
    for name in ("HF_TOKEN", "LLAMA_API_KEY", "GGUF_MODEL_TOKEN", "LLAMA_SERVER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return runs


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Hosts:
    hosts = Hosts()
    monkeypatch.setattr(runner, "run", hosts)
    monkeypatch.setattr(privileges, "may_become", lambda: False)
    monkeypatch.setattr(privileges, "needs_become", lambda _command: False)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    return hosts


@pytest.fixture
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the commands no input, display or key of the machine that runs the tests."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    for name in ("LLAMA_API_KEY", "DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def behaviour() -> llama.Behaviour:
    return llama.Behaviour()


@pytest.fixture
def url(behaviour: llama.Behaviour) -> Iterator[str]:
    with llama.serving(behaviour) as server:
        yield llama.url(server)
