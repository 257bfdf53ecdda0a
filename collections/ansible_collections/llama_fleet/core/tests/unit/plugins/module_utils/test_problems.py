# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import (
    Problem,
    ProblemError,
    nearest,
    one_of,
    raise_if_any,
    sentence,
)


def test_a_problem_says_what_was_expected_what_was_found_and_the_fix() -> None:
    problem = Problem("llama_server_port", "8080, in use by nginx", "a free port", "choose another")
    assert str(problem) == (
        "llama_server_port: expected a free port, found 8080, in use by nginx. Fix: Choose another."
    )


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ProblemError) as caught:
        raise_if_any([Problem("a", "1", "2"), Problem("b", "3", "4")])
    assert str(caught.value) == "a: expected 2, found 1.\nb: expected 4, found 3."


@pytest.mark.parametrize(
    ("wanted", "found", "fix", "text"),
    [
        ("b", "", "", "a: expected b."),
        ("b", "", "change it", "a: expected b. Fix: Change it."),
        ("b.", "'c.'", "change it.", "a: expected b, found 'c.'. Fix: Change it."),
        ("b ", "what g++ says: no such file!", "", "a: expected b, found what g++ says: no such file!"),
        (
            "b",
            "the answer 'it failed' and more…",
            "wait ",
            "a: expected b, found the answer 'it failed' and more… Fix: Wait.",
        ),
        ("b", "c", "llama-fleet up", "a: expected b, found c. Fix: llama-fleet up."),
        ("b", "c", "set_it there", "a: expected b, found c. Fix: set_it there."),
        ("b", "c", "'x' shows it", "a: expected b, found c. Fix: 'x' shows it."),
        ("b", "c", "wait: it comes", "a: expected b, found c. Fix: Wait: it comes."),
        ("b", "c", "read its log:\none\ntwo\n", "a: expected b, found c. Fix: Read its log:\none\ntwo"),
    ],
)
def test_a_sentence_ends_as_one_whatever_its_parts_hold(wanted: str, found: str, fix: str, text: str) -> None:
    assert sentence("a", wanted, found, fix) == text


def test_no_problem_raises_nothing() -> None:
    raise_if_any([])


def test_the_nearest_name_comes_first() -> None:
    assert nearest("llama_server_prot", ["llama_server_port", "llama_server_host", "other"])[0] == "llama_server_port"


@pytest.mark.parametrize(
    ("names", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a or b"), (["a", "b", "c"], "a, b or c")]
)
def test_lists_of_names_read_as_prose(names: list[str], text: str) -> None:
    assert one_of(names) == text


def test_a_problem_writes_nothing_but_text_to_a_terminal() -> None:
    assert (
        str(Problem("a\x1b[2J", "b\x07\nc", "d\x9b31m", "e\u202e"))
        == "a\\x1b[2J: expected d\\x9b31m, found b\\x07\nc. Fix: e\\u202e."
    )
