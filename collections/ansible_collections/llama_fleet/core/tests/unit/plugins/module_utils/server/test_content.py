# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server.content import content_of, release_manifest
from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import RuntimeHost
from ansible_collections.llama_fleet.core.tests.unit.fakes.options import CPU, CUDA

VARIABLES = {"LLAMA_ARG_PORT": "8080"}


def of(options: typing.Any = CPU, **changes: typing.Any) -> typing.Any:
    instance = Instance(dataclasses.replace(options, **{"runtime": "systemd", **changes}), RuntimeHost(systemd=True))
    return content_of(instance, VARIABLES, ["--jinja"])


def test_how_we_ask_makes_no_other_generation() -> None:
    assert of().fingerprint == of(prompt="Hello?", ready_timeout=9, keep=2, memory_check=False).fingerprint
    assert "prompt" not in of(prompt="Hello?").options


def test_what_runs_makes_another_generation() -> None:
    assert of().fingerprint != of(runtime="process").fingerprint
    assert of().fingerprint != of(memory_max="4G").fingerprint, "it is in the unit"


def test_keys_are_read_from_a_file_and_named_nowhere_else() -> None:
    content = of(CUDA, api_key="s3cret")
    assert content.command[:2] == (str(CUDA.server), "--jinja")
    assert content.command[-2:] == ("--api-key-file", str(CUDA.key_file))
    assert "s3cret" not in str(content.described()) + "".join(content.files.values())


def test_without_a_release_there_is_no_manifest() -> None:
    assert release_manifest(dataclasses.replace(CPU, release="")) == {}
