# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils import server_flags

HELP = (pathlib.Path(__file__).parent / "fixtures" / "llama_server" / "help.txt").read_text(encoding="utf-8")
FLAGS = server_flags.parse_help(HELP)


@pytest.mark.parametrize(
    ("name", "names", "value", "environment"),
    [
        ("threads", ("-t", "--threads"), "N", "LLAMA_ARG_THREADS"),
        ("n-predict", ("-n", "--predict", "--n-predict"), "N", "LLAMA_ARG_N_PREDICT"),
        ("flash-attn", ("-fa", "--flash-attn"), "[on|off|auto]", "LLAMA_ARG_FLASH_ATTN"),
        ("list-devices", ("--list-devices",), "", ""),
        ("metrics", ("--metrics",), "", "LLAMA_ARG_ENDPOINT_METRICS"),
        ("control-vector-layer-range", ("--control-vector-layer-range",), "START END", ""),
        ("no-kv-unified", ("-kvu", "--kv-unified", "-no-kvu", "--no-kv-unified"), "", "LLAMA_ARG_KV_UNIFIED"),
    ],
)
def test_help_is_understood(name: str, names: tuple[str, ...], value: str, environment: str) -> None:
    flag = FLAGS.get(name)
    assert flag is not None
    assert (flag.names, flag.value, flag.environment, flag.removed) == (names, value, environment, False)


def test_removed_flags_are_known_with_what_to_use_instead() -> None:
    flag = FLAGS.get("draft-max")
    assert flag is not None
    assert flag.removed
    assert "--spec-draft-n-max" in flag.advice


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, []),
        ({"metrics": True}, ["--metrics"]),
        ({"warmup": False}, ["--no-warmup"]),
        ({"flash-attn": True, "fit": False}, ["--fit", "off", "--flash-attn", "on"]),
        ({"flash_attn": "auto"}, ["--flash-attn", "auto"]),
        ({"temp": 0.5}, ["--temp", "0.5"]),
        ({"control-vector-layer-range": [1, 20]}, ["--control-vector-layer-range", "1", "20"]),
        ({"chat-template": 'a "b" $c'}, ["--chat-template", 'a "b" $c']),
    ],
)
def test_options_become_a_command_line(options: dict[str, typing.Any], words: list[str]) -> None:
    assert server_flags.problems(options, FLAGS) == []
    assert server_flags.arguments(options, FLAGS) == words


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"port": 80}, "llama_server_extra_options: found port, wanted it to be left to llama_server_port; set llama_server_port instead."),
        ({"api-key": "x"}, "llama_server_api_key"),
        ({"tools": "all"}, "no option that opens the host"),
        ({"no-agent": True}, "no option that opens the host"),
        ({"mcp-servers-json": "{}"}, "no option that opens the host"),
        ({"ui-mcp-proxy": True}, "no option that opens the host"),
        ({"rpc": "10.0.0.1:50052"}, "no option that opens the host"),
        ({"media-path": "/"}, "no option that opens the host"),
        ({"models-dir": "/m"}, "no option that opens the host"),
        ({"fim-qwen-3b-default": True}, "serves another model"),
        ({"list-devices": True}, "ends the server"),
        ({"flash-atn": "on"}, "the nearest are flash-attn"),
        ({"zzzzqqqq": "on"}, "found zzzzqqqq, wanted an option of this release;"),
        ({"draft-max": 4}, "found draft-max, wanted an option that this release still has; use --spec-draft-n-max"),
        ({"metrics": "yes"}, "metrics: true"),
        ({"temp": True}, "found temp: true, wanted a value (N)"),
        ({"metrics": False}, "cannot be turned off"),
        ({"chat-template": "a\nb"}, "a newline"),
        ({"chat-template": {"a": 1}}, "a value of type dict"),
        ({"chat-template": None}, "a value of type NoneType"),
        ({"a b": 1}, "the long name of an option"),
        ({"t": 1}, "the long name of an option"),
    ],
)
def test_a_bad_option_is_one_sentence(options: dict[str, typing.Any], sentence: str) -> None:
    found = server_flags.problems(options, FLAGS)
    assert len(found) == 1
    assert sentence in str(found[0])
    assert found[0].subject == "llama_server_extra_options"


def test_all_problems_are_told_at_once_and_names_are_left_alone_without_a_release() -> None:
    assert len(server_flags.problems({"tools": 1, "flash-atn": 1, "port": 1}, FLAGS)) == 3
    assert len(server_flags.problems({"tools": 1, "flash-atn": 1, "port": 1}, None)) == 2
    assert server_flags.arguments({"metrics": True, "warmup": False, "x": 1}, None) == ["--metrics", "--no-warmup", "--x", "1"]
