# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Stand-ins for the runs of plays."""

import time

import pytest

from llama_fleet.cli import foreground, privileges
from llama_fleet.run import runner
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
