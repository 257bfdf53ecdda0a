# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import options as server_options
from ansible_collections.llama_fleet.core.tests.unit.fakes.server_options import WANTED


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({}, []),
        ({"port": 0}, ["llama_server_port: expected a number from 1 to 65535, found 0."]),
        ({"port": 65536}, ["llama_server_port: expected a number from 1 to 65535, found 65536."]),
        (
            {"ubatch_size": 4096},
            ["llama_server_ubatch_size: expected at most llama_server_batch_size, which is 2048, found 4096."],
        ),
        (
            {"ctx_size": -1, "parallel": 0},
            [
                (
                    "llama_server_ctx_size: expected a number of tokens, or 0 for the context that the model was "
                    "trained with, found -1"
                ),
                (
                    "llama_server_parallel: expected a number of slots from 1 to 256, such as 4, which is "
                    "llama-server's automatic one, found 0"
                ),
            ],
        ),
        ({"ctx_size": 0}, []),
        (
            {"ctx_size": 0, "model": "", "allow": ("router",), "extra_options": {"models-dir": "/srv/models"}},
            [
                (
                    "llama_server_ctx_size: expected a number of tokens for the models of a router, found 0, the "
                    "context of one model."
                )
            ],
        ),
        (
            {"n_gpu_layers": "-1"},
            ["llama_server_n_gpu_layers: expected a number of layers, auto or all, found '-1'. Fix: Write all."],
        ),
        (
            {"ctx_size": 2**30},
            [
                (
                    "llama_server_ctx_size: expected at most 2147483647 tokens in all, found 1073741824 for each "
                    "of 16 slots."
                )
            ],
        ),
        ({"max_tokens": 0}, ["llama_server_max_tokens: expected a number of tokens, or -1 for no limit, found 0."]),
        ({"max_tokens": -1}, []),
        (
            {"instance": "Bad_Name"},
            [
                (
                    "llama_server_instance: expected 1 to 40 lower-case letters, digits and hyphens, no hyphen "
                    "first or last, found 'Bad_Name'"
                )
            ],
        ),
        (
            {"n_gpu_layers": "most"},
            ["llama_server_n_gpu_layers: expected a number of layers, auto or all, found 'most'."],
        ),
        (
            {"backend": "cuda", "devices": ("Vulkan0",)},
            [
                (
                    "llama_server_devices: expected CUDA devices such as CUDA0, or UUIDs, because llama_server_backend "
                    "is cuda, found Vulkan0"
                )
            ],
        ),
        (
            {"host": "a b"},
            [
                (
                    "llama_server_host: expected an IP address or a host name of this host, such as 127.0.0.1 or "
                    "0.0.0.0, found 'a b'"
                )
            ],
        ),
        ({"host": "::1"}, []),
        ({"host": "/run/llama.sock"}, ["llama_server_host"]),
        ({"alias": "a\nb"}, ["llama_server_alias: expected printable text on one line, found a newline"]),
        ({"alias": "small, chat"}, []),
        ({"alias": " , "}, ["llama_server_alias: expected a name, or several separated by commas, found ' , '."]),
        ({"model": "models/a.gguf"}, ["llama_server_model: expected an absolute path, found models/a.gguf."]),
        ({"mmproj": "a.gguf"}, ["llama_server_mmproj: expected an absolute path, found a.gguf."]),
        ({"draft": "a.gguf"}, ["llama_server_draft: expected an absolute path, found a.gguf."]),
        ({"draft_type": "a b"}, ["llama_server_draft_type: expected a name such as draft-simple, found 'a b'."]),
        (
            {"draft": "/a.gguf", "extra_options": {"model-draft": "/b.gguf"}},
            [
                (
                    "llama_server_extra_options: expected no other than gguf_model_draft provides, found a draft model "
                    "beside /a.gguf. Fix: Leave one of them out."
                )
            ],
        ),
        (
            {"release": "/opt/$x"},
            ["llama_server_release: expected a path of letters, digits and ._/+@=,:- only, found '/opt/$x'"],
        ),
        (
            {"port": 0, "alias": "\n", "threads": -1},
            ["llama_server_port", "llama_server_threads", "llama_server_alias"],
        ),
        ({"cache_ram": -1}, []),
        ({"cache_ram": -2}, ["llama_server_cache_ram: expected a number from -1 to 2147483647, found -2."]),
        ({"timeout": 0}, ["llama_server_timeout: expected a number from 1 to 604800, found 0"]),
        ({"keep": 0}, ["llama_server_keep: expected a number from 1 to 1000, found 0."]),
        ({"stop_timeout": 0}, ["llama_server_stop_timeout"]),
        ({"to_generation": -1}, ["llama_server_to_generation"]),
        (
            {"min_speed_ratio": 1.5},
            ["llama_server_min_speed_ratio: expected a share from 0 to 1, such as 0.8, found 1.5."],
        ),
        (
            {"min_speed_ratio": float("nan")},
            ["llama_server_min_speed_ratio: expected a share from 0 to 1, such as 0.8, found nan"],
        ),
        (
            {"backend": "cuda", "devices": ("GPU-0a", "CUDA0")},
            ["llama_server_devices: expected either UUIDs or names such as CUDA0, found GPU-0a, CUDA0"],
        ),
        ({"backend": "cuda", "devices": ("GPU-0a", "MIG-0b")}, []),
        (
            {"devices": ("MIG-0a",)},
            ["llama_server_devices: expected no GPU, because llama_server_backend is cpu, found MIG-0a"],
        ),
        (
            {"devices": ("CUDA0", "CUDA1"), "main_gpu": 2},
            ["llama_server_main_gpu: expected at most 1, because llama_server_devices are counted from 0, found 2."],
        ),
        ({"tensor_split": (3.0, 1.0)}, []),
        (
            {"tensor_split": (0.0, 0.0)},
            [
                (
                    "llama_server_tensor_split: expected shares of 0 or more, not all of them 0, such as [3, 1], "
                    "found [0.0, 0.0]"
                )
            ],
        ),
        ({"tensor_split": (1.0, -1.0)}, ["llama_server_tensor_split"]),
        ({"tensor_split": (float("inf"),)}, ["llama_server_tensor_split"]),
        ({"cache_type_v": "q8_0"}, []),
        (
            {"cache_type_v": "q8_0", "flash_attn": "off"},
            ["llama_server_cache_type_v: expected one of f32, f16, bf16 without flash attention, found q8_0."],
        ),
        (
            {"embeddings": True, "rerank": True},
            ["llama_server_rerank: expected one of the two, found true beside llama_server_embeddings"],
        ),
        ({"lora": ("/a.gguf", "/b.gguf:0.5", "/c.gguf:-1", "/d.gguf:.25")}, []),
        (
            {"lora": ("a.gguf",)},
            [
                (
                    "llama_server_lora: expected an absolute path without commas and colons, and a colon and a "
                    "scale if it is not 1, found 'a.gguf'."
                )
            ],
        ),
        (
            {"lora": ("/a,b.gguf",)},
            [
                (
                    "llama_server_lora: expected an absolute path without commas and colons, and a colon and a "
                    "scale if it is not 1, found '/a,b.gguf'"
                )
            ],
        ),
        (
            {"lora": ("/a:b.gguf:1",)},
            [
                (
                    "llama_server_lora: expected an absolute path without commas and colons, and a colon and a "
                    "scale if it is not 1, found '/a:b.gguf:1'"
                )
            ],
        ),
        (
            {"lora": ("/a.gguf:",)},
            ["llama_server_lora: expected a number after the colon, such as 0.5, found '/a.gguf:'."],
        ),
        (
            {"lora": ("/a.gguf:half",)},
            ["llama_server_lora: expected a number after the colon, such as 0.5, found '/a.gguf:half'."],
        ),
        ({"lora": ("/a\n.gguf",)}, ["llama_server_lora"]),
        (
            {"lora": ("/a.gguf:",)},
            ["llama_server_lora: expected a number after the colon, such as 0.5, found '/a.gguf:'."],
        ),
        (
            {"chat_template": "{{ a }}\n{{ b }}"},
            ["llama_server_chat_template: expected printable text on one line, found a newline"],
        ),
        ({"cors_origins": ("https://chat.example:8443",)}, []),
        ({"cors_origins": ("*",)}, []),
        (
            {"cors_origins": ("chat.example",)},
            [
                (
                    "llama_server_cors_origins: expected an origin such as https://chat.example without a path, "
                    "localhost or *, found 'chat.example'."
                )
            ],
        ),
        ({"cors_origins": ("https://a.example/path",)}, ["llama_server_cors_origins"]),
        (
            {"cors_origins": ("https://a.example", "https://b.example")},
            [
                (
                    "llama_server_cors_origins: expected one, because the server can send a browser only one, found 2 "
                    "origins."
                )
            ],
        ),
    ],
)
def test_every_problem_of_the_options_is_told(changes: dict[str, typing.Any], sentences: list[str]) -> None:
    found = server_options.option_problems(dataclasses.replace(WANTED, **changes))
    assert len(found) == len(sentences), found
    assert all(sentence in str(problem) for sentence, problem in zip(sentences, found))


def test_files_that_the_server_reads_are_named_with_their_variable() -> None:
    options = dataclasses.replace(
        WANTED,
        mmproj="/m/mmproj.gguf",
        draft="/m/draft.gguf",
        lora=("/l/a.gguf:0.5",),
        adapters=("/l/b.gguf",),
        chat_template="/t/chat.jinja",
        tls_certificate="/tls/c.pem",
        tls_key="/tls/k.pem",
    )
    assert [
        (variable.removeprefix("llama_server_"), str(path)) for variable, path in server_options.files_wanted(options)
    ] == [
        ("chat_template", "/t/chat.jinja"),
        ("mmproj", "/m/mmproj.gguf"),
        ("draft", "/m/draft.gguf"),
        ("tls_certificate", "/tls/c.pem"),
        ("tls_key", "/tls/k.pem"),
        ("lora", "/l/a.gguf"),
        ("lora", "/l/b.gguf"),
    ]
    assert server_options.files_wanted(dataclasses.replace(WANTED, chat_template="chatml")) == []


# -- parameters --------------------------------------------------------------------------------------
