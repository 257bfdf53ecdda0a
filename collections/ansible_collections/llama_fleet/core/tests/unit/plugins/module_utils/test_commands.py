# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import os

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.commands import run


def test_output_code_and_environment() -> None:
    result = run(["sh", "-c", "echo $A $LC_ALL; echo oops >&2; exit 3"], env={"A": "b"})
    assert (result.code, result.stdout, result.stderr, result.ok) == (3, "b C\n", "oops\n", False)


def test_a_command_that_is_not_there() -> None:
    assert run(["no-such-command-here"]).code == 127


def test_a_command_that_hangs_is_killed() -> None:
    assert run(["sleep", "60"], timeout=0.2).code == 124


def test_a_signal_is_a_negative_code() -> None:
    assert run(["sh", "-c", "kill -ILL $$"]).code == -4


def test_lines_come_as_they_are_written() -> None:
    lines: list[str] = []
    result = run(["sh", "-c", "echo one; echo two >&2"], on_line=lines.append)
    assert lines == ["one", "two"]
    assert result.stdout == "one\ntwo\n"


def test_a_reader_that_stops_stops_the_command() -> None:
    pids: list[int] = []

    def stop(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(["sh", "-c", "echo $$; exec sleep 60"], on_line=stop)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
