# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Compare the rendered units and files with golden files that a person has read.

To renew the golden files, run with LLAMA_FLEET_RENEW_GOLDEN=1 and read the difference.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import systemd_text
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.registry import named
from ansible_collections.llama_fleet.core.tests.unit.fakes.options import CPU, CUDA

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

GOLDEN = pathlib.Path(__file__).parents[2] / "golden"
FILES = {"systemd": ("unit", "service"), "quadlet": ("unit", "container"), "docker": ("compose.yaml", "compose.yaml")}
COMMON = {"LLAMA_ARG_CTX_SIZE": "65536", "XDG_CONFIG_HOME": "/nonexistent"}
SAVED = dataclasses.replace(
    CPU, extra_options={"slot-save-path": "/var/lib/llama-fleet/instances/default/slots"}, allow=("slots",)
)
INSTANCES: dict[str, tuple[Options, list[str], dict[str, str]]] = {
    "cpu": (
        CPU,
        [str(CPU.server)],
        {
            **COMMON,
            "LLAMA_ARG_HOST": CPU.host,
            "LLAMA_ARG_PORT": "8080",
            "LLAMA_ARG_MODEL": CPU.model,
            "LLAMA_ARG_DEVICE": "none",
        },
    ),
    "slots": (
        SAVED,
        [str(SAVED.server), "--slot-save-path", "/var/lib/llama-fleet/instances/default/slots"],
        COMMON,
    ),
    "cuda": (
        CUDA,
        [
            str(CUDA.server),
            "--cors-origins",
            "https://a.example https://b.example",
            "--api-key-file",
            str(CUDA.key_file),
        ],
        {
            **COMMON,
            "LLAMA_ARG_HOST": CUDA.host,
            "LLAMA_ARG_PORT": "8443",
            "LLAMA_ARG_MODEL": CUDA.model,
            "LLAMA_ARG_DEVICE": "CUDA0,CUDA1",
            "LLAMA_ARG_LOAD_MODE": "mlock",
            "LLAMA_ARG_MMPROJ": CUDA.mmproj,
            "LLAMA_ARG_ALIAS": '50 % of $HOME, "big"',
            "LLAMA_ARG_SSL_CERT_FILE": CUDA.tls_certificate,
            "LLAMA_ARG_SSL_KEY_FILE": CUDA.tls_key,
        },
    ),
}


def rendered(name: str, kind: str) -> str:
    options, command, variables = INSTANCES[name]
    if kind == "environment":
        numbered = {**variables, "LLAMA_FLEET_INSTANCE": str(options.folder), "LLAMA_FLEET_GENERATION": "3"}
        return systemd_text.environment_file(numbered)
    (text,) = named(kind).render(options, command, variables).values()
    return text


@pytest.mark.parametrize("kind", ["systemd", "quadlet", "docker", "environment"])
@pytest.mark.parametrize("name", INSTANCES)
def test_a_rendering_is_the_golden_one(name: str, kind: str) -> None:
    path = GOLDEN / f"{name}.{FILES[kind][1] if kind in FILES else kind}"
    text = rendered(name, kind)
    if os.environ.get("LLAMA_FLEET_RENEW_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    golden = path.read_bytes().decode("utf-8")
    difference = "".join(
        difflib.unified_diff(golden.splitlines(keepends=True), text.splitlines(keepends=True), str(path), "rendered")
    )
    assert text == golden, f"\n{difference}"
    assert "s3cret" not in text


@pytest.mark.parametrize(("runtime", "name"), [(runtime, name) for runtime, (name, _ending) in FILES.items()])
def test_each_runtime_has_its_file(runtime: str, name: str) -> None:
    options, command, variables = INSTANCES["cpu"]
    assert list(named(runtime).render(options, command, variables)) == [name]


@pytest.mark.parametrize("runtime", ["process", "exec"])
def test_a_process_needs_no_file(runtime: str) -> None:
    options, command, variables = INSTANCES["cpu"]
    assert named(runtime).render(options, command, variables) == {}
