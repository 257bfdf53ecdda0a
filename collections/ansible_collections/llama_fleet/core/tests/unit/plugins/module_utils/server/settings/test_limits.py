# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import RuntimeHost
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.registry import named
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import limits as server_limits
from ansible_collections.llama_fleet.core.tests.unit.fakes.options import CPU
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner


@pytest.mark.parametrize(
    ("changes", "runtime", "sentences"),
    [
        ({}, "systemd", []),
        ({"memory_max": "24G", "cpu_quota": "200%"}, "systemd", []),
        ({"memory_max": "80%"}, "quadlet", []),
        ({"memory_max": "1.5T"}, "docker", []),
        (
            {"memory_max": "80%"},
            "docker",
            [
                (
                    "llama_server_memory_max: expected an amount such as 24G, found 80%, a share, which docker "
                    "does not support."
                )
            ],
        ),
        (
            {"memory_max": "24"},
            "systemd",
            [
                (
                    "llama_server_memory_max: expected at least 64M, such as 24G, or a share of the host's memory, "
                    "such as 80%, found '24'."
                )
            ],
        ),
        (
            {"memory_max": "24 GB"},
            "systemd",
            [
                (
                    "llama_server_memory_max: expected at least 64M, such as 24G, or a share of the host's memory, "
                    "such as 80%, found '24 GB'"
                )
            ],
        ),
        (
            {"memory_max": "63M"},
            "systemd",
            [
                (
                    "llama_server_memory_max: expected at least 64M, such as 24G, or a share of the host's memory, "
                    "such as 80%, found '63M'"
                )
            ],
        ),
        (
            {"memory_max": "0%"},
            "systemd",
            [
                (
                    "llama_server_memory_max: expected at least 64M, such as 24G, or a share of the host's memory, "
                    "such as 80%, found '0%'"
                )
            ],
        ),
        (
            {"memory_max": "101%"},
            "systemd",
            [
                (
                    "llama_server_memory_max: expected at least 64M, such as 24G, or a share of the host's memory, "
                    "such as 80%, found '101%'"
                )
            ],
        ),
        (
            {"memory_max": "1G\n"},
            "systemd",
            [
                (
                    "llama_server_memory_max: expected at least 64M, such as 24G, or a share of the host's memory, "
                    "such as 80%, found '1G\\n'"
                )
            ],
        ),
        (
            {"cpu_quota": "2"},
            "systemd",
            [
                (
                    "llama_server_cpu_quota: expected a share of one processor, such as 50%, or of several, such "
                    "as 200%, found '2'."
                )
            ],
        ),
        (
            {"cpu_quota": "0%"},
            "systemd",
            [
                (
                    "llama_server_cpu_quota: expected a share of one processor, such as 50%, or of several, such "
                    "as 200%, found '0%'"
                )
            ],
        ),
        (
            {"memory_max": "1G", "cpu_quota": "50%"},
            "process",
            [
                "llama_server_memory_max: expected a runtime that enforces it, found 1G with llama_server_runtime",
                "llama_server_cpu_quota: expected a runtime that enforces it, found 50% with",
            ],
        ),
    ],
)
def test_limits_that_cannot_be_enforced_are_told(
    changes: dict[str, typing.Any], runtime: str, sentences: list[str]
) -> None:
    options = dataclasses.replace(CPU, **changes)
    found = [
        problem
        for problem in named(runtime).requirements(options, RuntimeHost(FakeRunner()), None)
        if problem.subject in ("llama_server_memory_max", "llama_server_cpu_quota")
    ]
    assert len(found) == len(sentences)
    assert all(sentence in str(problem) for sentence, problem in zip(sentences, found))


@pytest.mark.parametrize(
    ("text", "size"), [("1G", 1 << 30), ("1.5K", 1536), ("2T", 2 << 40), ("50%", 500), ("", None), ("1g", None)]
)
def test_bytes_of_a_limit(text: str, size: int | None) -> None:
    assert server_limits.memory_bytes(text, 1000) == size
