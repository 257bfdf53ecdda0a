# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test rendering the same options for releases of three ages, against reviewed files.

To renew the files, run with LLAMA_FLEET_RENEW_GOLDEN=1 and review the difference.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import pathlib

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import systemd_text
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import extra as server_flags
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import options as server_options
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import render as server_writing
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import table as server_settings
from ansible_collections.llama_fleet.core.tests.unit.fakes.server_options import FIXTURES, WANTED, flags

# Options that every release supports, none with its default value.
RICH = dataclasses.replace(
    WANTED,
    instance="big",
    backend="cuda",
    host="0.0.0.0",
    port=443,
    devices=("CUDA0", "CUDA1"),
    alias="50 % of $HOME",
    api_key="s3cret",
    api_keys=("t0p",),
    n_gpu_layers="all",
    split_mode="row",
    tensor_split=(3.0, 1.5),
    main_gpu=1,
    flash_attn="on",
    cache_type_k="q8_0",
    cache_type_v="q8_0",
    load_mode="mmap+mlock",
    cache_ram=0,
    kv_unified=True,
    mmproj="/m/mmproj big.gguf",
    lora=("/l/a.gguf", "/l/more polite.gguf:0.5"),
    chat_template='{{ "$x" }} 100%',
    reasoning="off",
    metrics=False,
    slots=False,
    tls_certificate="/tls/c.pem",
    tls_key="/tls/k.pem",
    cors_origins=("*",),
    timeout=60,
    log_level="debug",
    extra_options={"top-k": 20, "override-tensor": "exps=CPU"},
)
INSTANCES = {
    "cpu": WANTED,
    "cuda": dataclasses.replace(WANTED, backend="cuda", devices=("CUDA0",), api_key="s3cret"),
    "rich": RICH,
}


@pytest.mark.parametrize("release", ["help", "help_middle", "help_old"])
@pytest.mark.parametrize("name", INSTANCES)
def test_environment_and_command_are_the_golden_ones(name: str, release: str) -> None:
    options = INSTANCES[name]
    assert server_options.option_problems(options) == []
    assert server_flags.extra_problems(options.extra_options, flags(release)) == []
    variables, words = server_writing.split(server_settings.settings(options, 4, options.devices), flags(release))
    command = [*words, *server_flags.written(options.extra_options, flags(release))[1]]
    text = (
        f"{systemd_text.environment_file(variables)}\n# {len(command)} words: {systemd_text.command_line(command)}"
    ).rstrip() + "\n"
    path = FIXTURES / f"{name}.{release}.golden"
    if os.environ.get("LLAMA_FLEET_RENEW_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    golden = path.read_text(encoding="utf-8")
    assert text == golden, "\n".join(
        difflib.unified_diff(golden.splitlines(), text.splitlines(), "golden", "rendered", lineterm="")
    )
    assert "s3cret" not in text
    assert "t0p" not in text


@pytest.mark.parametrize("release", ["help", "help_middle", "help_old"])
def test_every_name_is_one_that_the_release_has(release: str) -> None:
    """Check the names, because a release silently ignores an unknown variable."""
    for options in INSTANCES.values():
        variables, words = server_writing.split(server_settings.settings(options, 4, options.devices), flags(release))
        assert set(variables) - {"XDG_CONFIG_HOME"} <= flags(release).environments
        assert {word for word in words if word.startswith("--")} <= set(flags(release).by_name)


def test_files_of_the_fixtures_are_all_in_use() -> None:
    golden = {f"{name}.{release}.golden" for name in INSTANCES for release in ("help", "help_middle", "help_old")}
    assert {path.name for path in pathlib.Path(FIXTURES).glob("*.golden")} == golden


def test_options_become_environment_where_the_release_has_a_variable() -> None:
    options = {
        "rpc": ["a:1", "b:2"],
        "kv_offload": False,
        "swa-full": True,
        "cache-reuse": 256,
        "temp": 0.5,
        "control-vector-layer-range": [1, 2],
    }
    assert server_flags.written(options, flags("help_b11434"), lambda name: name != "cache-reuse") == (
        {
            "LLAMA_ARG_RPC": "a:1,b:2",
            "LLAMA_ARG_KV_OFFLOAD": "0",
            "LLAMA_ARG_SWA_FULL": "1",
            "LLAMA_ARG_TEMPERATURE": "0.5",
        },
        ["--cache-reuse", "256", "--control-vector-layer-range", "1", "2"],
    )
    assert server_flags.written({"rpc": "a:1"}, None, bool) == ({}, ["--rpc", "a:1"])
