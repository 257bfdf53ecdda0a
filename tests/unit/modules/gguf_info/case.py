# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Whole and split models, and calls of the module gguf_info in this process."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.tiny_model import write_tiny_model
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.types import TEXT
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.modules import gguf_info
from ansible_collections.llama_fleet.core.tests.unit.at_the_door import admitted
from ansible_collections.llama_fleet.core.tests.unit.fakes.gguf import LLAMA, array, gguf, number, pair, tensor, text

if typing.TYPE_CHECKING:
    import pathlib

Result = dict[str, typing.Any]
TOKEN = "hf_alice"  # of the test hub
WHOLE = "tiny-Q8_0.gguf"
SHARDS = [f"tiny-Q4_K_M-0000{number}-of-00003.gguf" for number in (1, 2, 3)]


@dataclasses.dataclass
class Module:
    """The part of AnsibleModule that the module uses."""

    params: dict[str, typing.Any]
    tmpdir: str


def shard(place: int, count: int, vocabulary: int = 0) -> bytes:
    """One file of a split model with a tensor of 64 values; the first one also says what the model is, after its
    vocabulary.
    """
    pairs = [number("split.no", place - 1), number("split.count", count)]
    if place == 1:
        words = b"".join(text(f"{index:09}") for index in range(vocabulary))
        pairs += [array("tokenizer.ggml.tokens", TEXT, vocabulary, words), LLAMA, number("llama.context_length", 2048)]
        pairs += [number("general.file_type", 15), pair("tokenizer.chat_template", TEXT, text("{{ messages }}"))]
    return gguf(*pairs, tensors=[tensor(f"blk.{place}.weight", (64,))], data=256)


def write_models(folder: pathlib.Path) -> None:
    """Write a whole and a split model."""
    folder.mkdir(parents=True)
    write_tiny_model(folder / WHOLE)
    for place, name in enumerate(SHARDS, 1):
        (folder / name).write_bytes(shard(place, 3))


def call(folder: pathlib.Path, **given: typing.Any) -> Result:
    parameters = {"path": None, "url": None, "token": "", "release": None, "ctx_size": 0, "parallel": 1, **given}
    return admitted("gguf_info", gguf_info.stage(typing.cast("typing.Any", Module(parameters, str(folder)))))


def problem(folder: pathlib.Path, **given: typing.Any) -> str:
    with pytest.raises(ProblemError) as caught:
        call(folder, **given)
    return str(caught.value)
