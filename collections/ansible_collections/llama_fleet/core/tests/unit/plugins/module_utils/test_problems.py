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
)


def test_a_problem_is_one_sentence_with_its_way_out() -> None:
    problem = Problem("llama_server_port", "8080, in use by nginx", "a free port", "choose another")
    assert str(problem) == "llama_server_port: found 8080, in use by nginx, wanted a free port; choose another."


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ProblemError) as caught:
        raise_if_any([Problem("a", "1", "2"), Problem("b", "3", "4")])
    assert str(caught.value) == "a: found 1, wanted 2.\nb: found 3, wanted 4."


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
        == "a\\x1b[2J: found b\\x07\nc, wanted d\\x9b31m; e\\u202e."
    )
