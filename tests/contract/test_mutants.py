# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The mutants of ``./tests/run mutants`` fit the code as it is."""

from __future__ import annotations

import collections
import typing

import pytest

from tests.mutants.mutant import Mutant, load

if typing.TYPE_CHECKING:
    import pathlib

MUTANTS = load()
HERE = Mutant("tests/code.py", "old", "new", ("tests/test_code.py",), "a fault")


def test_there_are_enough_of_them() -> None:
    assert len(MUTANTS) >= 60


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.file}: {mutant.fault}")
def test_each_can_be_applied(mutant: Mutant) -> None:
    assert mutant.problem() == ""


def test_each_is_there_once() -> None:
    changes = collections.Counter((mutant.file, mutant.old, mutant.new) for mutant in MUTANTS)
    assert [change for change, count in changes.items() if count > 1] == []


@pytest.mark.parametrize(
    ("text", "tests", "problem"),
    [
        ("old", True, ""),
        ("older old", True, "tests/code.py has the text 2 times that it is to replace, wanted once: 'old'"),
        ("mended", True, "tests/code.py has the text 0 times that it is to replace, wanted once: 'old'"),
        ("old", False, "there is no test tests/test_code.py"),
        ("", True, "tests/code.py is not there"),
        ("old = 1 +", True, "tests/code.py would be no Python: invalid syntax (<unknown>, line 1)"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: pathlib.Path, text: str, tests: bool, problem: str) -> None:
    (tmp_path / "tests").mkdir()
    if text:
        (tmp_path / "tests" / "code.py").write_text(text, encoding="utf-8")
    if tests:
        (tmp_path / "tests" / "test_code.py").touch()
    assert HERE.problem(tmp_path) == problem


def test_only_the_text_is_replaced() -> None:
    assert HERE.applied("an old tale\n") == "an new tale\n"
