# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import typing

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.llama_fleet.core.plugins.module_utils.host import systemd_text
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import compose_file as server_compose
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import quadlet_file as server_quadlet
from ansible_collections.llama_fleet.core.tests.unit.fakes.options import CPU, CUDA

WORDS = st.text(alphabet="ab0 \t\"'\\$%{}`;#=~|&<>*?!-/.:é", max_size=12).filter(systemd_text.is_one_line)


def service_of(words: typing.Sequence[str], **changes: typing.Any) -> dict[str, typing.Any]:
    text = server_compose.render(
        dataclasses.replace(CPU, **changes), ["/opt/r/bin/llama-server", *words], {"LLAMA_ARG_PORT": "1"}
    )
    service: dict[str, typing.Any] = yaml.safe_load(text)["services"]["llama-server"]
    return service


@settings(max_examples=50, deadline=None)
@given(st.lists(WORDS | st.text(max_size=12).filter(systemd_text.is_one_line), max_size=4))
@example(
    [
        "on",
        "No",
        "null",
        "1",
        "1.5",
        "",
        "- a",
        "a: b",
        "a #b",
        "$HOME",
        "${X}",
        "~",
        "0x1f",
        "1_000",
        "2026-01-01",
        "=",
        "a/b=",
    ]
)
def test_yaml_gives_back_every_word_and_compose_replaces_none(words: list[str]) -> None:
    assert [word.replace("$$", "$") for word in service_of(words)["command"]] == words
    assert all(word.replace("$$", "").count("$") == 0 for word in service_of(words)["command"])


def test_a_container_of_docker_may_do_nothing_and_write_nowhere() -> None:
    service = service_of([])
    assert [service[name] for name in ("read_only", "cap_drop", "security_opt", "network_mode")] == [
        True,
        ["ALL"],
        ["no-new-privileges:true"],
        "host",
    ]
    user, _colon, group = service["user"].partition(":")
    assert user == group != "0"
    assert all(volume["read_only"] for volume in service["volumes"])
    assert "ulimits" not in service
    assert "deploy" not in service


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        ({"memory_max": "1.5G"}, "mem_limit", 1610612736),
        ({"cpu_quota": "50%"}, "cpus", 0.5),
        ({"stop_timeout": 90}, "stop_grace_period", "90s"),
        ({"load_mode": "mlock"}, "ulimits", {"memlock": {"soft": -1, "hard": -1}}),
    ],
)
def test_limits_of_a_container(changes: dict[str, typing.Any], name: str, value: object) -> None:
    assert service_of([], **changes)[name] == value


def test_an_environment_has_names_and_no_values() -> None:
    assert service_of([])["environment"] == ["LLAMA_ARG_PORT", "LLAMA_FLEET_GENERATION", "LLAMA_FLEET_INSTANCE"]


def test_no_key_is_in_the_files_of_containers() -> None:
    for module in (server_quadlet, server_compose):
        assert "s3cret" not in module.render(CUDA, [str(CUDA.server), "--api-key-file", str(CUDA.key_file)], {})
