# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import os
import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release.usage import Use, first_use, uses, uses_of


def write(root: pathlib.Path, instance: str, generation: str, manifest: typing.Any) -> pathlib.Path:
    path = root / "instances" / instance / "generations" / generation / "manifest.json"
    path.parent.mkdir(parents=True)
    path.write_text(manifest if isinstance(manifest, str) else json.dumps(manifest), encoding="utf-8")
    return path


def test_no_instances(tmp_path: pathlib.Path) -> None:
    assert uses(tmp_path / "none", "x") == []


def test_every_path_of_every_generation(tmp_path: pathlib.Path) -> None:
    write(
        tmp_path,
        "one",
        "1",
        {"model": "/m/a.gguf", "options": {"extra_options": {"mmproj": "/m/mmproj.gguf"}, "port": 1}},
    )
    write(
        tmp_path,
        "one",
        "2",
        {
            "command": ["/r/llama-server", "--lora=/m/lora.gguf", "relative"],
            "environment": {"LLAMA_ARG_MODEL": "/m/b.gguf"},
        },
    )
    write(tmp_path, "two", ".3.new", {"model": "/m/c.gguf"})
    found = {(use.path, str(use)) for use in uses(tmp_path, "x")}
    assert found == {
        ("/m/a.gguf", "generation 1 of instance 'one'"),
        ("/m/mmproj.gguf", "generation 1 of instance 'one'"),
        ("/r/llama-server", "generation 2 of instance 'one'"),
        ("/m/lora.gguf", "generation 2 of instance 'one'"),
        ("/m/b.gguf", "generation 2 of instance 'one'"),
        ("/m/c.gguf", "generation .3.new of instance 'two'"),
    }


def test_adapters_are_used_whatever_their_scale(tmp_path: pathlib.Path) -> None:
    write(
        tmp_path,
        "one",
        "1",
        {
            "options": {"lora": ["/m/a.gguf:0.5", "/m/b.gguf"]},
            "command": ["--lora-scaled", "/m/c.gguf:1,/m/d.gguf:-0.5"],
        },
    )
    assert {"/m/a.gguf", "/m/b.gguf", "/m/c.gguf", "/m/d.gguf"} <= {use.path for use in uses(tmp_path, "x")}


def test_the_first_shard_stands_for_all(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "one", "1", {"model": "/m/a-00001-of-00002.gguf"})
    assert [use.path for use in uses(tmp_path, "x")] == ["/m/a-00001-of-00002.gguf", "/m/a-00002-of-00002.gguf"]


def test_a_file_a_folder_and_their_neighbours() -> None:
    found = [Use(os.path.realpath("/m/a/b.gguf"), "one", "1")]
    assert first_use(pathlib.Path("/m/a/b.gguf"), found) == first_use(pathlib.Path("/m/a"), found) == found[0]
    assert first_use(pathlib.Path("/m/a/b"), found) is None
    assert first_use(pathlib.Path("/m/aa"), found) is None


def test_all_uses_of_a_folder() -> None:
    found = [
        Use("/r/b1/bin/llama-server", "one", "1"),
        Use("/r/b2/bin/llama-server", "one", "2"),
        Use("/r/b1", "two", "1"),
    ]
    assert uses_of(pathlib.Path("/r/b1"), found) == [found[0], found[2]]
    assert uses_of(pathlib.Path("/r/b"), found) == []


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_what_cannot_be_read_is_not_overlooked(tmp_path: pathlib.Path, text: str) -> None:
    path = write(tmp_path, "one", "1", text)
    with pytest.raises(ProblemError) as caught:
        uses(tmp_path, "x")
    assert str(caught.value).startswith(
        f"x: expected readable manifests of all generations, found {path}, which cannot be read"
    )


def test_a_generation_that_is_only_being_written(tmp_path: pathlib.Path) -> None:
    (tmp_path / "instances" / "one" / "generations" / ".1.new").mkdir(parents=True)
    assert uses(tmp_path, "x") == []
