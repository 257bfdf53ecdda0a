# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import arguments as server_arguments
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options


def parameters(**changes: typing.Any) -> dict[str, typing.Any]:
    return {**{name: argument["default"] for name, argument in server_arguments.ARGUMENTS.items()}, **changes}


def test_parameters_become_options_of_the_same_names() -> None:
    assert {field.name for field in dataclasses.fields(Options)} == set(server_arguments.ARGUMENTS)
    options = server_arguments.options_of(parameters(lora=["/a"], root="/r"))
    assert (options.lora, options.root) == (("/a",), pathlib.Path("/r"))
    assert server_arguments.options_of(parameters()) == Options()


def test_flags_of_old_releases_are_the_load_mode_and_say_so() -> None:
    given = parameters(extra_options={"mlock": True, "top-k": 1})
    options = server_arguments.options_of(given)
    assert (options.load_mode, options.extra_options) == ("mmap+mlock", {"top-k": 1})
    assert server_arguments.notes(given) == [
        (
            "llama_server_extra_options: what it says of memory is taken as llama_server_load_mode: mmap+mlock; "
            "set that "
            "instead."
        )
    ]
    assert server_arguments.notes(parameters(extra_options={"top-k": 1})) == []


def test_flags_of_old_releases_do_not_overrule_the_load_mode() -> None:
    given = parameters(extra_options={"mlock": True}, load_mode="direct")
    options = server_arguments.options_of(given)
    assert (options.load_mode, options.extra_options) == ("direct", {"mlock": True}), (
        "and the extra option is refused as managed"
    )
    assert server_arguments.notes(given) == []
