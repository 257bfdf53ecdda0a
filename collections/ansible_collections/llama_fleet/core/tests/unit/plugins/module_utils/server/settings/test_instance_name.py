# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.instance_name import is_instance_name


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("default", True),
        ("a", True),
        ("7-b", True),
        ("a" * 40, True),
        ("a" * 41, False),
        ("", False),
        ("-a", False),
        ("a-", False),
        ("Chat", False),
        ("a/b", False),
        ("..", False),
        ("a\n", False),
    ],
)
def test_names_of_instances(text: str, is_one: bool) -> None:
    assert is_instance_name(text) == is_one
