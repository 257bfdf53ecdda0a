# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server import gating
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import client
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

OPTIONS: dict[str, typing.Any] = {"host": "0.0.0.0", "port": 80, "extra_options": {}}


def generation(devices: str, split_mode: str = "") -> Generation:
    return Generation(
        1,
        pathlib.Path("/nowhere"),
        {"environment": {"LLAMA_ARG_DEVICE": devices}, "options": {"split_mode": split_mode}},
    )


@pytest.mark.parametrize(
    ("devices", "split_mode", "listed", "told"),
    [
        ("CUDA0,CUDA1", "", [("7", "GPU-a", "1"), ("7", "GPU-b", "1")], ""),
        (
            "CUDA0,CUDA1",
            "",
            [("7", "GPU-a", "1"), ("8", "GPU-b", "1")],
            "it computes on 1 of the 2 devices CUDA0, CUDA1",
        ),
        ("CUDA0,CUDA1", "none", [("7", "GPU-a", "1")], ""),
        ("CUDA0,CUDA1", "", [("8", "GPU-a", "1")], ""),
        ("CUDA0,CUDA1", "", [("7", "MIG-a", "1")], ""),
        ("CUDA0", "", [("7", "GPU-a", "1")], ""),
        ("CUDA0,CUDA1", "", [], ""),
    ],
)
def test_every_gpu_that_was_given_has_to_compute(
    devices: str, split_mode: str, listed: list[tuple[str, str, str]], told: str
) -> None:
    assert gating.too_few_gpus(generation(devices, split_mode), listed, 7) == told


@pytest.mark.parametrize(
    ("more", "url"),
    [
        ({}, "http://127.0.0.1:80"),
        ({"tls_certificate": "/c.pem"}, "https://127.0.0.1:80"),
        ({"tls_certificate": ""}, "http://127.0.0.1:80"),
        ({"extra_options": {"ssl-cert-file": "/c.pem"}}, "https://127.0.0.1:80"),
    ],
)
def test_a_server_with_a_certificate_is_asked_in_secret(more: dict[str, typing.Any], url: str) -> None:
    assert client.endpoint_of({**OPTIONS, **more}) == url


@pytest.mark.parametrize(
    ("more", "mode"),
    [
        ({}, "completion"),
        ({"embeddings": True}, "embedding"),
        ({"rerank": True}, "rerank"),
        ({"model": ""}, "router"),
        ({"model": "/m.gguf"}, "completion"),
        ({"embeddings": False, "rerank": False}, "completion"),
        ({"extra_options": {"reranking": True}}, "rerank"),
        ({"extra_options": {"embedding": False}}, "completion"),
    ],
)
def test_what_a_server_is_for_comes_from_its_options(more: dict[str, typing.Any], mode: str) -> None:
    assert gating.mode_of({**OPTIONS, **more}) == mode
