# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import extra as server_flags
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import flag_kinds as server_flag_kinds
from ansible_collections.llama_fleet.core.tests.unit.fakes.server_options import WANTED

HELP = pathlib.Path(__file__).parents[2] / "fixtures" / "llama_server"


# All that a release prints, and not only what the tests are about.
WHOLE = server_flags.parse_help((HELP / "help_b11434.txt").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["help_b11434.txt", "help.txt", "help_middle.txt", "help_old.txt"])
def test_every_flag_of_a_release_has_its_kind(name: str) -> None:
    """Check the classes of all flags. For a new flag, decide what it reads, writes, serves or runs (flag_kinds.py)."""
    known = server_flags.parse_help((HELP / name).read_text(encoding="utf-8"))
    assert len(known.long_names) > 70
    names = {
        flag.names: [spelling[2:].removeprefix("no-") for spelling in flag.names]
        for flag in known.by_name.values()
        if not flag.removed
    }
    assert [flag for flag, plain in names.items() if not any(map(server_flag_kinds.is_classified, plain))] == []


def test_every_flag_that_names_a_place_is_owned_named_refused_or_only_read() -> None:
    places = {
        spelling[2:]
        for flag in WHOLE.by_name.values()
        for spelling in flag.names
        if spelling.startswith("--") and server_flag_kinds.reason_against("of-the-future", flag.value)
    }
    assert len(places) > 20
    assert {name for name in places if server_flags.extra_problems({name: "/x"}, WHOLE) == []} == {
        "control-vector",
        "control-vector-scaled",
        "grammar-file",
        "json-schema-file",
        "lookup-cache-static",
        "model-draft",
        "spec-draft-model",
        "ui-config-file",
        "webui-config-file",
    }


@pytest.mark.parametrize(
    ("extra", "paths"),
    [
        ({"model-draft": "/a.gguf", "top-k": "/b"}, ["/a.gguf"]),
        ({"--spec_draft_model": "/a.gguf"}, ["/a.gguf"]),
        ({"LLAMA_ARG_SPEC_DRAFT_MODEL": "/a.gguf"}, ["/a.gguf"]),
        ({"control-vector-scaled": "/a.gguf:0.5,/b.gguf:-1"}, ["/a.gguf", "/b.gguf"]),
        ({"control-vector": ["/a.gguf", "/b.gguf"]}, ["/a.gguf", "/b.gguf"]),
        ({"grammar-file": "/x,y.gbnf"}, ["/x,y.gbnf"]),
        ({"grammar-file": "relative.gbnf", "model-draft": None, "lookup-cache-static": True}, []),
    ],
)
def test_files_that_extra_options_name(extra: dict[str, typing.Any], paths: list[str]) -> None:
    options = dataclasses.replace(WANTED, extra_options=extra)
    assert [str(path) for path in server_flag_kinds.files_read(options)] == paths
