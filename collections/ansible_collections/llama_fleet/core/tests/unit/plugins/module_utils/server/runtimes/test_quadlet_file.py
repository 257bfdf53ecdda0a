# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.llama_fleet.core.plugins.module_utils.host import systemd_text
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import quadlet_file as server_quadlet
from ansible_collections.llama_fleet.core.tests.unit.fakes.options import CPU, CUDA

WORDS = st.text(alphabet="ab0 \t\"'\\$%{}`;#=~|&<>*?!-/.:é", max_size=12).filter(systemd_text.is_one_line)


@settings(max_examples=50, deadline=None)
@given(st.lists(WORDS, max_size=4))
def test_a_container_file_gives_back_every_word(words: list[str]) -> None:
    text = server_quadlet.render(CPU, ["/opt/r/bin/llama-server", *words], {})
    found = [line.partition("=")[2] for line in text.splitlines() if line.startswith("Exec=")]
    assert [systemd_text.parse_command_line(line) for line in found] == ([words] if words else [])


@pytest.mark.parametrize(
    ("line", "there"),
    [
        ("AddDevice=nvidia.com/gpu=all", True),
        ("DropCapability=all", True),
        ("AddCapability=CAP_NET_BIND_SERVICE", False),
        ("Network=host", True),
    ],
)
def test_a_container_of_podman_gets_its_gpus_and_no_capability(line: str, there: bool) -> None:
    lines = server_quadlet.render(CUDA, [str(CUDA.server)], {}).splitlines()
    assert (line in lines) is there
    low = server_quadlet.render(dataclasses.replace(CUDA, port=443), [str(CUDA.server)], {}).splitlines()
    assert "AddCapability=CAP_NET_BIND_SERVICE" in low
