# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import pathlib

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import state_folder
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import values as server_values
from ansible_collections.llama_fleet.core.tests.unit.fakes.options import CPU

OWN = "/var/lib/llama-fleet/instances/default"


@pytest.mark.parametrize(
    ("given", "path", "wrong"),
    [
        ("slots", f"{OWN}/slots", False),
        (f"{OWN}/slots", f"{OWN}/slots", False),
        ("..", "..", True),
        (".hidden", ".hidden", True),
        ("a/b", "a/b", True),
        ("", "", False),
        ("/", "/", True),
        ("/tmp/slots", "/tmp/slots", True),
        (f"{OWN}/../other/slots", f"{OWN}/../other/slots", True),
        (f"{OWN}/a/b", f"{OWN}/a/b", True),
        (OWN, OWN, True),
        (True, "True", True),
        ("a" * 65, "a" * 65, True),
    ],
)
@pytest.mark.parametrize("name", ["slot-save-path", "slot_save_path", "--slot-save-path"])
def test_slots_are_saved_below_the_instances_folder_only(name: str, given: object, path: str, wrong: bool) -> None:
    extra = state_folder.placed({name: given, "top-k": 3}, pathlib.Path(OWN))
    assert extra == {name: given if given is True else path, "top-k": 3}
    options = dataclasses.replace(CPU, extra_options=extra)
    assert state_folder.used(options) == path
    problems = [str(problem) for problem in server_values.value_problems(options)]
    assert len(problems) == wrong
    assert all(f"a plain name such as slots, which becomes {OWN}/slots" in problem for problem in problems)


def test_a_server_that_saves_nothing_has_no_folder() -> None:
    assert state_folder.used(CPU) == ""
    assert state_folder.folder(CPU) == pathlib.Path(OWN)
