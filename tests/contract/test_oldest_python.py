# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The oldest Python of the hosts is the same one wherever it is told."""

import pathlib

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.tools.venv import OLDEST_PYTHON
from tests.harness import steps

ROOT = pathlib.Path(__file__).resolve().parents[2]
OLDEST = ".".join(map(str, OLDEST_PYTHON))


def test_the_types_are_checked_for_it() -> None:
    assert steps.OLDEST_PYTHON == OLDEST


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("README.md", "{} or later on the hosts"),
        ("docs/doctor.md", "| `python` | {} or newer"),
        ("collections/ansible_collections/llama_fleet/core/README.md", "Python {} or newer"),
    ],
)
def test_the_documents_tell_it(place: str, words: str) -> None:
    assert words.format(OLDEST) in (ROOT / place).read_text(encoding="utf-8")
