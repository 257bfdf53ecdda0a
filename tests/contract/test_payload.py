# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The payload of each module stays below its ceiling, and holds no documentation."""

import pathlib
import runpy

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULES = ROOT / "collections/ansible_collections/llama_fleet/core/plugins/modules"
# Bytes that a call of each module may send at most; ``benchmarks/payload.py`` measures them. If a module exceeds its
# ceiling, look first for an import that drags in more than the module needs, and split that file: Ansible also sends
# what is imported inside a function or for types only.
CEILINGS: dict[str, int] = {
    "cuda_toolkit": 286_000,
    "gguf_info": 365_000,
    "gguf_model": 477_000,
    "llama_cpp_native": 909_000,
    "llama_cpp_release": 439_000,
    "llama_cpp_release_info": 210_000,
    "llama_gateway": 256_000,
    "llama_gateway_traffic": 236_000,
    "llama_server": 455_000,
    "llama_server_info": 374_000,
    "nvidia_driver_info": 260_000,
    "plan_info": 898_000,
    "preflight_info": 768_000,
    "validate_variables": 2_000,
}
# Words of documentation that a payload must not hold.
DOCUMENTATION = (b"short_description", b"extends_documentation_fragment", b"EXAMPLES")


@pytest.fixture(scope="module")
def sizes() -> dict[str, int]:
    measured: dict[str, int] = runpy.run_path(str(ROOT / "benchmarks/payload.py"))["_sizes"](str(ROOT))
    return measured


def test_every_module_has_a_ceiling(sizes: dict[str, int]) -> None:
    assert set(sizes) == set(CEILINGS)


@pytest.mark.parametrize("module", CEILINGS)
def test_a_module_s_payload_stays_below_its_ceiling(sizes: dict[str, int], module: str) -> None:
    assert sizes[module] <= CEILINGS[module]


@pytest.mark.parametrize("module", sorted(set(CEILINGS) - {"validate_variables"}))
def test_no_module_sends_its_documentation(module: str) -> None:
    text = (MODULES / f"{module}.py").read_bytes()
    assert [word for word in DOCUMENTATION if word in text] == []
