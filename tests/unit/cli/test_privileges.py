# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Root: had already, had by sudo, or told how to be had."""

import subprocess

import pytest

from llama_fleet.cli import commands, privileges
from llama_fleet.errors import UsageError
from llama_fleet.run import runner


def test_root_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda _name: pytest.fail("looked for sudo"))
    assert not privileges.needs_become("up")
    assert not privileges.may_become()


def test_without_root_and_sudo_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda _name: None)
    monkeypatch.setattr(runner, "run", lambda *_arguments: pytest.fail("ran"))
    assert commands.main(["up"]) == 2
    error = capsys.readouterr().err
    assert "sudo ./llama-fleet up" in error
    assert "--prefix DIR" in error


@pytest.mark.parametrize(("status", "expected"), [(0, True), (1, False)])
def test_sudo_is_used_where_it_asks_for_nothing(monkeypatch: pytest.MonkeyPatch, status: int, expected: bool) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(
        "subprocess.run",
        lambda command, **_options: subprocess.CompletedProcess(command, status if "-n" in command else 9),
    )
    if expected:
        assert privileges.needs_become("up")
    else:
        with pytest.raises(UsageError, match="needs root"):
            privileges.needs_become("up")
