# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import signal
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils import stage
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError


class Module:
    """A fake of Ansible's module that keeps its final result."""

    def __init__(self) -> None:
        self.left: dict[str, typing.Any] = {}
        self.params: dict[str, typing.Any] = {}
        self.add_path_info: typing.Any = None

    def fail_json(self, **result: typing.Any) -> None:
        self.left = {"failed": True, **result}

    def exit_json(self, **result: typing.Any) -> None:
        self.left = result


@pytest.fixture
def module() -> typing.Iterator[Module]:
    """Yield a module; then restore what a stage sets for the whole process."""
    handler, mask = signal.getsignal(signal.SIGTERM), os.umask(0o077)
    yield Module()
    signal.signal(signal.SIGTERM, handler)
    os.umask(mask)


def run(module: Module, body: typing.Callable[[typing.Any], dict[str, typing.Any]]) -> dict[str, typing.Any]:
    stage.conclude(typing.cast("typing.Any", module), body)
    return module.left


def test_a_result_is_handed_on_and_a_path_in_it_is_no_file_of_ansibles(module: Module) -> None:
    assert run(module, lambda _module: {"changed": True, "path": "/x"}) == {"changed": True, "path": "/x"}
    assert module.add_path_info({"path": "/x"}) == {"path": "/x"}


def test_all_problems_are_one_failure(module: Module) -> None:
    def body(_module: object) -> typing.NoReturn:
        raise ProblemError(Problem("a", "1", "2"), Problem("b", "3", "4", "go"))

    assert run(module, body) == {
        "failed": True,
        "msg": "a: expected 2, found 1.\nb: expected 4, found 3. Fix: Go.",
        "problems": [
            {"subject": "a", "found": "1", "wanted": "2", "fix": ""},
            {"subject": "b", "found": "3", "wanted": "4", "fix": "go"},
        ],
    }


def test_what_a_stage_writes_others_may_read(module: Module) -> None:
    masks: list[int] = []

    def body(_module: object) -> dict[str, typing.Any]:
        masks.append(os.umask(0o022))
        return {}

    run(module, body)
    assert masks == [0o022]


def test_a_sigterm_ends_it_as_an_exception_does(module: Module) -> None:
    def body(_module: object) -> typing.NoReturn:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("it went on")

    with pytest.raises(SystemExit) as caught:
        run(module, body)
    assert caught.value.code == 128 + signal.SIGTERM
