# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the record of a native build beside an instance."""

from __future__ import annotations

import os
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.release import background
from ansible_collections.llama_fleet.core.plugins.module_utils.release.background import Background

if typing.TYPE_CHECKING:
    import pathlib

RUNNING = Background("t", "b1", background.BUILDING)


def here(**more: typing.Any) -> Background:
    """Return the record of a build by this process."""
    own = processes.find(os.getpid())
    assert own is not None
    return Background(**{**vars(RUNNING), "pid": own.pid, "started": own.started, **more})


def test_a_record_is_read_as_it_was_written(tmp_path: pathlib.Path) -> None:
    assert background.read(tmp_path) == Background()
    record = here(outcome=background.KEPT, reason="it is slower", retry_after=5.5)
    background.write(tmp_path, record)
    assert background.read(tmp_path) == record


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": -1}', '{"pid": "1"}', '{"reason": 5}'])
def test_a_damaged_record_is_none(tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / "background.json").write_text(text, encoding="utf-8")
    assert background.read(tmp_path) == Background()


@pytest.mark.parametrize(
    ("phase", "told"),
    [
        (background.BUILDING, "building b1 native beside it"),
        (background.COMPARING, "comparing b1 native with it"),
        (background.SWITCHING, "switching to b1 native"),
    ],
)
def test_a_build_that_runs_is_told_by_its_phase(phase: str, told: str) -> None:
    assert str(here(phase=phase)) == told
    assert str(here(phase=phase, outcome=background.KEPT, reason="it is slower")) == "it is slower"
    killed = here(phase=phase, started=1)
    assert str(killed) == "the build of b1 native beside it was killed; the next run starts it again"


def test_without_a_build_nothing_is_told() -> None:
    assert str(Background()) == ""


@pytest.mark.parametrize(
    ("record", "is_due"),
    [
        (Background(), True),
        (here(), False),
        (here(started=1), True),
        (here(target="other"), True),
        (here(outcome=background.SWITCHED), False),
        (here(outcome=background.KEPT), False),
        (here(outcome=background.KEPT, target="other"), True),
        (here(outcome=background.OVERTAKEN), True),
        (here(outcome=background.FAILED, retry_after=101.0), False),
        (here(outcome=background.FAILED, retry_after=100.0), True),
    ],
)
def test_a_build_is_due_if_it_neither_runs_nor_was_judged(record: Background, is_due: bool) -> None:
    assert record.is_due("t", 100.0) is is_due
