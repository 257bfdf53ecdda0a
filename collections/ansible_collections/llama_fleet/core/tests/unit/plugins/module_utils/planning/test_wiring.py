# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""One call hands a stage the same values as the plays' templates do."""

from __future__ import annotations

import pathlib
import typing

import jinja2.nativetypes
import pytest
import yaml

from ansible_collections.llama_fleet.core.plugins.module_utils.planning.wiring import wired

PLAYBOOKS = pathlib.Path(__file__).resolve().parents[5] / "playbooks"
Values = dict[str, typing.Any]
SERVER: Values = {"runtime": "process", "root": "/etc/x", "ctx_size": 512, "parallel": 3}
CUDA: Values = {"backend": "cuda", "cuda_architectures": ["90-real"], "driver": {"version": "580.1.2"}}
CPU: Values = {"backend": "cpu", "cuda_architectures": [], "driver": {}}
# A host with a driver whose instance computes on the CPU has a toolkit's plan from another instance.
MIXED: Values = {**CPU, "driver": {"version": "580.1.2"}}
TOOLKIT: Values = {"path": "/toolkit", "version": "13.0.1"}
MODEL: Values = {
    "path": "/model.gguf",
    "mmproj": "/mmproj.gguf",
    "lora": ["/lora.gguf:0.5"],
    "draft": "/draft.gguf",
    "draft_type": "draft-mtp",
}
MADE: Values = {"llama_cpp": {"path": "/release"}, "gguf_model": MODEL}


def templates() -> dict[str, str]:
    """Return the templates of the plays by the variable that each sets."""
    (site,) = yaml.safe_load((PLAYBOOKS / "site.yml").read_text(encoding="utf-8"))
    named = yaml.safe_load((PLAYBOOKS / "vars/wired.yml").read_text(encoding="utf-8"))
    named["nvidia_driver_runtime"] = site["vars"]["nvidia_driver_runtime"]
    return {name: text for name, text in named.items() if not name.endswith("_overrides")}


def rendered(template: str, results: Values) -> typing.Any:
    """Return the value of a template for an instance that sets half of its variables itself."""
    environment = jinja2.nativetypes.NativeEnvironment(undefined=jinja2.ChainableUndefined)
    variables = {
        "llama_server_root": SERVER["root"],
        "llama_server_ctx_size": 4096,
        "llama_server_parallel": SERVER["parallel"],
        "llama_server_runtime": "auto",
        "llama_fleet_entry": {"llama_server_ctx_size": SERVER["ctx_size"], "llama_server_runtime": SERVER["runtime"]},
        **{f"{role}_result": result for role, result in results.items()},
    }
    return environment.from_string(template).render(variables)


@pytest.mark.parametrize(
    "results",
    [
        {"nvidia_driver": CPU, **MADE},
        {"nvidia_driver": CUDA, "cuda_toolkit": TOOLKIT, **MADE},
        {"nvidia_driver": MIXED, "cuda_toolkit": TOOLKIT, **MADE},
        {"nvidia_driver": CPU, "llama_cpp": {"path": ""}, "gguf_model": {"path": "", "mmproj": ""}},
    ],
)
def test_the_plays_templates_give_the_same(results: Values) -> None:
    roles = {"nvidia_driver": "runtime", "cuda_toolkit": "", "llama_cpp": "", "gguf_model": "", "llama_server": ""}
    ours = {
        f"{role}_{name}": value
        for role in roles
        for name, value in wired(role, {"llama_server": SERVER}, results).items()
    }
    assert ours == {name: rendered(template, results) for name, template in templates().items()}


def test_an_instance_that_is_not_to_run_has_no_results() -> None:
    assert wired("llama_server", {"llama_server": SERVER}, {}) == {
        "backend": "cpu",
        "release": "",
        "model": "",
        "mmproj": "",
        "adapters": [],
        "draft": "",
        "draft_type": "",
    }
