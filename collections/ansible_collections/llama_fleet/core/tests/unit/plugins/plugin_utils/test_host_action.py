# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import importlib
import pathlib

import pytest

from ansible_collections.llama_fleet.core.plugins.plugin_utils.host_action import HostAction, host_of

ACTIONS = pathlib.Path(__file__).parents[4] / "plugins" / "action"
PACKAGE = "ansible_collections.llama_fleet.core.plugins.action"


@pytest.mark.parametrize(
    ("variables", "host"), [(None, "localhost"), ({}, "localhost"), ({"inventory_hostname": "a"}, "a")]
)
def test_the_host_is_the_one_of_the_inventory(variables: dict[str, str] | None, host: str) -> None:
    assert host_of(variables) == host


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in ACTIONS.glob("*.py") if path.stem != "validate_variables")
)
def test_no_answer_of_a_host_passes_by_the_door(name: str) -> None:
    action = importlib.import_module(f"{PACKAGE}.{name}").ActionModule
    assert issubclass(action, HostAction)
    assert action._execute_module is HostAction._execute_module
    assert action._supports_check_mode is True
