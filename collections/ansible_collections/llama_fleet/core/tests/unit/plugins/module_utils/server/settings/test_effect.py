# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import effect
from ansible_collections.llama_fleet.core.tests.unit.fakes.options import CPU, CUDA
from ansible_collections.llama_fleet.core.tests.unit.fakes.server_options import flags

NEW = flags("help_b11434")
DRAFT = {"model-draft": "/d.gguf"}


@pytest.mark.parametrize(
    ("extra", "changes", "without"),
    [
        (DRAFT, {}, ["model-draft, which has no effect without a spec-type for draft models"]),
        ({"-md": "/d.gguf"}, {}, ["model-draft, which has no effect without a spec-type"]),
        ({"LLAMA_ARG_SPEC_DRAFT_MODEL": "/d"}, {}, ["model-draft, which has no effect without a spec-type"]),
        ({**DRAFT, "spec-type": "none"}, {}, ["model-draft, which has no effect"]),
        ({**DRAFT, "spec-type": "ngram-mod"}, {}, ["model-draft, which has no effect"]),
        ({**DRAFT, "spec-type": "ngram-mod,draft-simple"}, {}, []),
        ({}, {"draft": "/d.gguf", "draft_type": "draft-simple"}, []),
        ({"spec-type": "draft-simple"}, {}, ["spec-type: draft-simple, which has no effect without a draft model"]),
        ({"spec-type": "draft-mtp"}, {}, []),
        ({"spec-type": "draft-mtp", "spec-draft-n-max": 4}, {}, []),
        ({"spec-draft-n-max": 4}, {}, ["spec-draft-n-max, which has no effect without the spec-type that it is for"]),
        ({"threads-draft": 4}, {}, ["which has no effect without the spec-type that it is for"]),
        ({"spec-type": "ngram-simple", "spec-ngram-simple-size-n": 4}, {}, []),
        ({"spec-type": "ngram-mod", "spec-ngram-simple-size-n": 4}, {}, ["spec-ngram-simple-size-n, which has no"]),
        ({"spec-type": "ngram-map-k", "spec-ngram-map-k4v-size-n": 4}, {}, ["spec-ngram-map-k4v-size-n, which"]),
        ({"spec-default": True, "spec-ngram-mod-n-max": 9}, {}, []),
        ({"lookup-cache-static": "/l"}, {}, ["lookup-cache-static, which has no effect"]),
        ({"lookup-cache-static": "/l", "spec-type": "ngram-cache"}, {}, []),
        ({"image-max-tokens": 9}, {}, ["image-max-tokens, which has no effect without a projector"]),
        ({"image-max-tokens": 9, "no-mmproj-offload": True}, {"mmproj": "/p.gguf"}, []),
        ({"pooling": "mean"}, {}, ["pooling, which has no effect without a server for embeddings"]),
        ({"pooling": "mean"}, {"embeddings": True}, []),
        (
            {"cache-idle-slots": True},
            {"cache_ram": 0},
            ["cache-idle-slots, which has no effect without a prompt cache"],
        ),
        ({"cache-idle-slots": False}, {"cache_ram": 0}, []),
        ({"cache-reuse": 256, "top-k": 3, "warmup": False}, {}, []),
        ({**DRAFT, "models-dir": "/m"}, {"model": "", "allow": ("router",)}, []),
    ],
)
def test_options_that_need_another_are_refused(
    extra: dict[str, typing.Any], changes: dict[str, typing.Any], without: list[str]
) -> None:
    options = dataclasses.replace(CPU, **{"extra_options": extra, **changes})
    problems = list(map(str, effect.effect_problems(options, NEW)))
    assert len(problems) == len(without), problems
    for problem, part in zip(problems, without):
        assert part in problem


def test_an_older_release_needs_no_type_for_a_draft_model() -> None:
    options = dataclasses.replace(CPU, extra_options=DRAFT)
    assert effect.effect_problems(options, flags("help_old")) == []
    assert effect.effect_problems(options, None) == []


def test_options_for_a_gpu_are_named_where_there_is_none() -> None:
    changes = {"n_gpu_layers": "all", "tensor_split": (1.0, 2.0), "extra_options": {"n-cpu-moe": 4, "top-k": 3}}
    warnings = [
        f"{name} has no effect, because llama_server_backend is cpu"
        for name in (
            "llama_server_n_gpu_layers",
            "llama_server_tensor_split",
            "n-cpu-moe in llama_server_extra_options",
        )
    ]
    assert effect.remarks(dataclasses.replace(CPU, **changes), NEW) == warnings
    assert effect.remarks(dataclasses.replace(CUDA, **changes), NEW) == []
    assert effect.remarks(CPU, NEW) == effect.remarks(CPU, None) == []
    workers = {"devices": ("RPC0",), "extra_options": {"rpc": "a:1"}, "n_gpu_layers": "all"}
    assert effect.remarks(dataclasses.replace(CPU, **workers), NEW) == []
