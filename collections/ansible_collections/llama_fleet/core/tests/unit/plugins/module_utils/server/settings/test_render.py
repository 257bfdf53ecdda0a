# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT

from __future__ import annotations

import dataclasses
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import render as server_writing
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import table as server_settings
from ansible_collections.llama_fleet.core.tests.unit.fakes.server_options import WANTED, flags

NEW, MIDDLE, OLD = "help", "help_middle", "help_old"


# Of the rest of the environment, nothing depends on the option under test.
RELATED = {
    "load_mode": ("LOAD_MODE", "MLOCK", "MMAP", "DIO"),
    "flash_attn": ("FLASH_ATTN",),
    "kv_unified": ("KV_",),
    "reasoning": ("REASONING", "THINK"),
    "embeddings": ("EMBEDDINGS",),
    "rerank": ("RERANKING",),
    "cache_ram": ("CACHE_RAM",),
    "jinja": ("JINJA",),
    "metrics": ("METRICS",),
    "slots": ("SLOTS",),
    "cors_origins": ("CORS",),
    "log_level": ("VERBOSITY",),
    "chat_template": ("CHAT_TEMPLATE",),
    "n_gpu_layers": ("GPU_LAYERS",),
    "split_mode": ("SPLIT_MODE",),
    "cache_type_k": ("CACHE_TYPE_K",),
}


def written(release: str, **changes: typing.Any) -> tuple[dict[str, str], list[str]]:
    """Return the variables of the first of ``changes``, without their prefix, and the command line."""
    options = dataclasses.replace(WANTED, **changes)
    variables, words = server_writing.split(server_settings.settings(options, 4, options.devices), flags(release))
    parts = RELATED[next(iter(changes))]
    return {
        name.replace("LLAMA_ARG_", ""): value
        for name, value in variables.items()
        if any(part in name for part in parts)
    }, words


@pytest.mark.parametrize(
    ("changes", "new", "middle", "old"),
    [
        ({"load_mode": "auto"}, {"LOAD_MODE": "auto"}, {}, {}),
        ({"load_mode": "mmap"}, {"LOAD_MODE": "mmap"}, {"MMAP": "1", "MLOCK": "0", "DIO": "0"}, {"MLOCK": "0"}),
        (
            {"load_mode": "mlock"},
            {"LOAD_MODE": "mlock"},
            {"MMAP": "0", "MLOCK": "1", "DIO": "0"},
            {"NO_MMAP": "1", "MLOCK": "1"},
        ),
        (
            {"load_mode": "mmap+mlock"},
            {"LOAD_MODE": "mmap+mlock"},
            {"MMAP": "1", "MLOCK": "1", "DIO": "0"},
            {"MLOCK": "1"},
        ),
        (
            {"load_mode": "none"},
            {"LOAD_MODE": "none"},
            {"MMAP": "0", "MLOCK": "0", "DIO": "0"},
            {"NO_MMAP": "1", "MLOCK": "0"},
        ),
        ({"load_mode": "direct"}, {"LOAD_MODE": "dio"}, {"MMAP": "0", "MLOCK": "0", "DIO": "1"}, None),
        ({"flash_attn": "auto"}, {"FLASH_ATTN": "auto"}, {"FLASH_ATTN": "auto"}, {}),
        ({"flash_attn": "on"}, {"FLASH_ATTN": "on"}, {"FLASH_ATTN": "on"}, {"FLASH_ATTN": "1"}),
        ({"flash_attn": "off"}, {"FLASH_ATTN": "off"}, {"FLASH_ATTN": "off"}, {"FLASH_ATTN": "0"}),
        ({"kv_unified": True}, {"KV_UNIFIED": "1"}, {"KV_UNIFIED": "1"}, {"KV_SPLIT": "1"}),
        ({"kv_unified": False}, {"KV_UNIFIED": "0"}, {"KV_UNIFIED": "0"}, {"KV_SPLIT": "0"}),
        ({"reasoning": "auto"}, {"REASONING": "auto"}, {"REASONING": "auto"}, {"THINK_BUDGET": "-1"}),
        ({"reasoning": "on"}, {"REASONING": "on"}, {"REASONING": "on"}, {"THINK_BUDGET": "-1"}),
        ({"reasoning": "off"}, {"REASONING": "off"}, {"REASONING": "off"}, {"THINK_BUDGET": "0"}),
        ({"embeddings": True}, {"EMBEDDINGS": "1"}, {"EMBEDDINGS": "1"}, {"EMBEDDINGS": "1"}),
        ({"rerank": True}, {"RERANKING": "1"}, {"RERANKING": "1"}, {"RERANKING": "1"}),
        ({"cache_ram": 0}, {"CACHE_RAM": "0"}, {"CACHE_RAM": "0"}, {}),
        ({"cache_ram": 100}, {"CACHE_RAM": "100"}, {"CACHE_RAM": "100"}, {}),
        ({"jinja": True}, {"JINJA": "1"}, {"JINJA": "1"}, {"JINJA": "1"}),
        ({"jinja": False}, {"JINJA": "0"}, {"JINJA": "0"}, {"JINJA": "0"}),
        ({"metrics": True}, {"ENDPOINT_METRICS": "1"}, {"ENDPOINT_METRICS": "1"}, {"ENDPOINT_METRICS": "1"}),
        ({"metrics": False}, {"ENDPOINT_METRICS": "0"}, {"ENDPOINT_METRICS": "0"}, {"ENDPOINT_METRICS": "0"}),
        ({"slots": True}, {"ENDPOINT_SLOTS": "1"}, {"ENDPOINT_SLOTS": "1"}, {"ENDPOINT_SLOTS": "1"}),
        ({"slots": False}, {"ENDPOINT_SLOTS": "0"}, {"ENDPOINT_SLOTS": "0"}, {"NO_ENDPOINT_SLOTS": "1"}),
        ({"cors_origins": ()}, {"CORS_ORIGINS": "localhost"}, {}, {}),
        ({"cors_origins": (), "api_keys": ("k",)}, {"CORS_ORIGINS": "*"}, {}, {}),
        ({"cors_origins": (), "api_keys": ("k",), "allow": ("tools",)}, {"CORS_ORIGINS": "localhost"}, {}, {}),
        ({"cors_origins": ("*",)}, {"CORS_ORIGINS": "*"}, {}, {}),
        ({"cors_origins": ("https://a.example",)}, {"CORS_ORIGINS": "https://a.example"}, None, None),
        ({"log_level": "error"}, {"LOG_VERBOSITY": "1"}, {"LLAMA_LOG_VERBOSITY": "1"}, None),
        ({"log_level": "warning"}, {"LOG_VERBOSITY": "2"}, {"LLAMA_LOG_VERBOSITY": "2"}, None),
        ({"log_level": "info"}, {"LOG_VERBOSITY": "3"}, {"LLAMA_LOG_VERBOSITY": "3"}, {"LLAMA_LOG_VERBOSITY": "0"}),
        ({"log_level": "debug"}, {"LOG_VERBOSITY": "4"}, {"LLAMA_LOG_VERBOSITY": "3"}, {"LLAMA_LOG_VERBOSITY": "0"}),
        ({"chat_template": ""}, {}, {}, {}),
        (
            {"chat_template": "chatml"},
            {"CHAT_TEMPLATE": "chatml"},
            {"CHAT_TEMPLATE": "chatml"},
            {"CHAT_TEMPLATE": "chatml"},
        ),
        (
            {"chat_template": "/t"},
            {"CHAT_TEMPLATE_FILE": "/t"},
            {"CHAT_TEMPLATE_FILE": "/t"},
            {"CHAT_TEMPLATE_FILE": "/t"},
        ),
        ({"n_gpu_layers": "auto", "backend": "cpu"}, {}, {}, {}),
        (
            {"n_gpu_layers": "auto", "backend": "cuda"},
            {"N_GPU_LAYERS": "auto"},
            {"N_GPU_LAYERS": "auto"},
            {"N_GPU_LAYERS": "999"},
        ),
        (
            {"n_gpu_layers": "all", "backend": "cuda"},
            {"N_GPU_LAYERS": "all"},
            {"N_GPU_LAYERS": "all"},
            {"N_GPU_LAYERS": "999"},
        ),
        ({"n_gpu_layers": "7", "backend": "cuda"}, {"N_GPU_LAYERS": "7"}, {"N_GPU_LAYERS": "7"}, {"N_GPU_LAYERS": "7"}),
        ({"split_mode": "", "backend": "cuda"}, {}, {}, {}),
        ({"split_mode": "row", "backend": "cuda"}, {"SPLIT_MODE": "row"}, {"SPLIT_MODE": "row"}, {"SPLIT_MODE": "row"}),
        ({"split_mode": "tensor", "backend": "cuda"}, {"SPLIT_MODE": "tensor"}, None, None),
        ({"split_mode": "row", "backend": "cpu"}, {}, {}, {}),
        ({"cache_type_k": "q5_1"}, {"CACHE_TYPE_K": "q5_1"}, {"CACHE_TYPE_K": "q5_1"}, {"CACHE_TYPE_K": "q5_1"}),
    ],
)
def test_the_same_option_means_the_same_to_all(
    changes: dict[str, typing.Any],
    new: dict[str, str] | None,
    middle: dict[str, str] | None,
    old: dict[str, str] | None,
) -> None:
    for release, wanted in ((NEW, new), (MIDDLE, middle), (OLD, old)):
        if wanted is None:
            with pytest.raises(
                ProblemError,
                match=f"llama_server_{next(iter(changes))}: expected .*, found .*, which this release does not support",
            ):
                written(release, **changes)
        else:
            assert written(release, **changes) == (wanted, []), release


def test_adapters_are_words_as_the_release_takes_them() -> None:
    lora = ("/a b.gguf", "/c.gguf:0.5")
    for release, words in (
        (NEW, ["--lora-scaled", "/a b.gguf:1,/c.gguf:0.5"]),
        (MIDDLE, ["--lora-scaled", "/a b.gguf:1,/c.gguf:0.5"]),
        (OLD, ["--lora-scaled", "/a b.gguf", "1", "--lora-scaled", "/c.gguf", "0.5"]),
    ):
        options = dataclasses.replace(WANTED, lora=lora)
        assert server_writing.split(server_settings.settings(options, 4, []), flags(release))[1] == words


def test_a_plan_without_a_release_is_for_the_newest() -> None:
    options = dataclasses.replace(WANTED, backend="cuda", load_mode="direct", lora=("/a",), n_gpu_layers="all")
    variables, words = server_writing.split(server_settings.settings(options, 4, ["CUDA0"]), None)
    assert (variables["LLAMA_ARG_LOAD_MODE"], variables["LLAMA_ARG_N_GPU_LAYERS"], words) == (
        "dio",
        "all",
        ["--lora-scaled", "/a:1"],
    )


def test_router_mode_sets_no_model() -> None:
    options = dataclasses.replace(WANTED, model="", allow=("router",))
    variables, _words = server_writing.split(server_settings.settings(options, 4, []), flags(NEW))
    assert not {"LLAMA_ARG_MODEL", "LLAMA_ARG_ALIAS"} & set(variables)


def test_gpus_named_by_uuids_are_shown_alone_and_counted_anew() -> None:
    uuids = ("MIG-7a1c0c5e-1b0e-5f0e-8a51-3d7a0c8f2b11", "GPU-4f1d0c5e-1b0e-5f0e-8a51-3d7a0c8f2b12")
    options = dataclasses.replace(WANTED, backend="cuda", devices=uuids)
    variables, _words = server_writing.split(server_settings.settings(options, 4, uuids), flags("help"))
    assert variables["LLAMA_ARG_DEVICE"] == "CUDA0,CUDA1"
    assert server_settings.visible_gpus(options) == {"CUDA_VISIBLE_DEVICES": ",".join(uuids)}
    assert server_settings.visible_gpus(dataclasses.replace(options, devices=("CUDA1",))) == {}
