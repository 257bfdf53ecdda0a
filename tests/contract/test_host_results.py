# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The controller accepts from a host exactly the values that a module documents as its results."""

from __future__ import annotations

import pathlib
import typing

import pytest
import yaml

from ansible_collections.llama_fleet.core.plugins.plugin_utils import host_results

PLUGINS = (
    pathlib.Path(__file__).resolve().parents[2]
    / "collections"
    / "ansible_collections"
    / "llama_fleet"
    / "core"
    / "plugins"
)
# It has no module part: its action does all on the controller.
ON_THE_CONTROLLER = {"validate_variables"}
# Of every stage, documented or not.
OF_ALL = {"problems", "would_change"}
# Added by the action on the controller, because no host may write what it shows as a table.
OF_THE_ACTION = {"llama_server_info": {"table"}, "preflight_info": {"table"}}


def returned(module: str) -> dict[str, typing.Any]:
    text = (PLUGINS / "modules" / f"{module}.yml").read_text(encoding="utf-8")
    return typing.cast("dict[str, typing.Any]", yaml.safe_load(text)["RETURN"])


def test_every_module_has_its_door() -> None:
    modules = {path.stem for path in (PLUGINS / "modules").glob("*.py")}
    assert set(host_results.MODULES) == modules - ON_THE_CONTROLLER


@pytest.mark.parametrize("module", sorted(host_results.MODULES))
def test_what_is_documented_passes(module: str) -> None:
    needed, optional = host_results.MODULES[module]
    added = OF_THE_ACTION.get(module, set())
    assert not added & {*needed, *optional}
    assert {*needed, *optional} | added | OF_ALL == set(returned(module)) | OF_ALL


@pytest.mark.parametrize("module", sorted(host_results.MODULES))
def test_no_module_is_called_past_it(module: str) -> None:
    action = (PLUGINS / "action" / f"{module}.py").read_text(encoding="utf-8")
    assert "HostAction" in action or "ProgressAction" in action
    assert "ActionBase" not in action
