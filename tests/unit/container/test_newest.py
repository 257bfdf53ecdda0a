# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from llama_fleet.container import newest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def answer(monkeypatch: pytest.MonkeyPatch, result: commands.Result) -> list[typing.Any]:
    """Have git answer with ``result``; return the limits in seconds that it is given."""
    limits: list[typing.Any] = []

    def run(_command: object, timeout: float, **_more: object) -> commands.Result:
        limits.append(timeout)
        return result

    monkeypatch.setattr(commands, "run", run)
    return limits


def test_the_commit_of_the_newest_build(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = f"{'1' * 40}\trefs/tags/b9\n{COMMIT}\trefs/tags/b10\n"
    limits = answer(monkeypatch, commands.Result(0, tags, ""))
    assert newest.commit("https://host/x", "latest") == COMMIT
    assert limits == [newest.PATIENCE]


def test_a_repository_that_does_not_answer_is_no_failure_of_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, commands.Result(128, "", "fatal: no route to host"))
    with pytest.raises(newest.UnknownError, match="found 'fatal: no route to host' from git"):
        newest.commit("https://host/x", "latest")
