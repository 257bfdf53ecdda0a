# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing

import pytest
from ansible.errors import AnsibleUndefinedVariable

from ansible_collections.llama_fleet.core.plugins.plugin_utils import instances, role_values

SPECS = {"llama_server": {"llama_server_port": {}, instances.VARIABLE: {}}}


def template(value: typing.Any) -> typing.Any:
    if value == "{{ later }}":
        raise AnsibleUndefinedVariable
    return value


def test_what_a_play_wires_later_is_left_out() -> None:
    variables = {"a": 1, "b": "{{ later }}", "c": 3}
    assert role_values.values_of(variables, ["a", "b", "none"], template) == {"a": 1}


@pytest.mark.parametrize("entries", [None, [], "x", {"chat": {}}])
def test_entries_that_are_no_mapping_are_none(entries: object) -> None:
    host = role_values.host_of({instances.VARIABLE: entries, "llama_server_port": 1}, SPECS, template)
    assert host.entries == (entries if isinstance(entries, dict) else {})
    assert host.values["llama_server_port"] == 1


def test_the_spec_of_a_role() -> None:
    assert role_values.load_spec("llama_server")["llama_server_port"]["type"] == "int"
