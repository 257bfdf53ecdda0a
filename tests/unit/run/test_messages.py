# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The message of a failed task."""

import typing

import pytest

from llama_fleet.run import messages


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({}, "the task failed without a message"),
        ({"msg": "x\n"}, "x"),
        ({"censored": "hidden", "changed": False}, "hidden"),
        ({"msg": "x", "module_stderr": "sh: no python\nmore\n"}, "x (sh: no python)"),
        ({"msg": "x", "module_stderr": "Traceback:\n  y\nOSError: z\n"}, "x (OSError: z)"),
        ({"msg": "non-zero return code", "stdout": "a\n", "stderr": "b\n"}, "non-zero return code\na\nb"),
        ({"msg": "Assertion failed", "assertion": "1 == 2"}, "Assertion failed\n1 == 2"),
        (
            {
                "msg": "One or more items failed",
                "results": [{"item": "a"}, {"item": "b", "failed": True, "msg": "x"}, {"failed": True, "stderr": "y"}],
            },
            "b: x\nthe task failed without a message\ny",
        ),
        ({"msg": "sudo: a password is required", "problems": [{"subject": "sudo"}]}, "sudo: a password is required"),
    ],
)
def test_it_has_all_that_was_said(result: dict[str, typing.Any], message: str) -> None:
    assert messages.of_failure(result) == message


def test_the_fix_of_a_known_failure_follows() -> None:
    assert "NOPASSWD" in messages.of_failure({"msg": "sudo: a password is required"})
