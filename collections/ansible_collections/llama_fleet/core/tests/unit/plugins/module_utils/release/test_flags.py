# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.release import flags
from ansible_collections.llama_fleet.core.plugins.module_utils.release.flags import Flag

HELP = """\
usage: llama-server [options]

-h,    --help                           print usage and exit
--port PORT                             port to listen (default: 8080)
                                        (env: LLAMA_ARG_PORT)
-fa,   --flash-attn [on|off|auto]       set Flash Attention use ('on', 'off', or 'auto')
                                        (env: LLAMA_ARG_FLASH_ATTN)
--draft, --draft-max N                  the argument has been removed. use --spec-draft-n-max
                                        (env: LLAMA_ARG_DRAFT_MAX)
--cache-type-k TYPE                     KV cache data type
                                        allowed values: f32, f16
--numa TYPE                             attempt optimizations
                                        - distribute: spread execution
                                        - isolate (default): only spawn here
"""


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("help", Flag(("-h", "--help"))),
        ("port", Flag(("--port",), "PORT", "LLAMA_ARG_PORT")),
        (
            "flash-attn",
            Flag(("-fa", "--flash-attn"), "[on|off|auto]", "LLAMA_ARG_FLASH_ATTN", choices=("on", "off", "auto")),
        ),
        (
            "draft-max",
            Flag(("--draft", "--draft-max"), "N", "LLAMA_ARG_DRAFT_MAX", True, "use --spec-draft-n-max"),
        ),
        ("cache-type-k", Flag(("--cache-type-k",), "TYPE", choices=("f32", "f16"))),
        (
            "numa",
            Flag(("--numa",), "TYPE", choices=("distribute", "isolate"), meanings=("spread", "only")),
        ),
    ],
)
def test_every_part_of_a_flag_is_read(name: str, flag: Flag) -> None:
    assert flags.parse_help(HELP).get(name) == flag


def test_a_manifest_keeps_all_of_them() -> None:
    parsed = flags.parse_help(HELP)
    kept = flags.from_manifest({"build": "b1", "options": {"details": parsed.details}})
    assert kept is not None
    assert (kept.by_name, kept.build) == (parsed.by_name, "b1")
    assert kept.environments == {"LLAMA_ARG_PORT", "LLAMA_ARG_FLASH_ATTN", "LLAMA_ARG_DRAFT_MAX"}
    assert kept.long_names == ["cache-type-k", "flash-attn", "help", "numa", "port"]
    assert [flag.is_switch for flag in parsed.by_name.values()].count(True) == 2, "one flag by two names"


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"options": []},
        {"options": {"details": [{"names": ["--help"]}]}},
        {"options": {"details": [{"names": ["--port"], "of_a_newer_version": 1}]}},
        {"options": {"details": [{"names": []}]}},
        {"options": {"details": ["--port"]}},
    ],
)
def test_a_manifest_without_those_of_a_server_has_none(manifest: dict[str, typing.Any]) -> None:
    assert flags.from_manifest(manifest) is None
