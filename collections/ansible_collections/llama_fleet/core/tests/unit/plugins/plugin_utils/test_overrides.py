# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.plugin_utils import overrides


def test_an_entrys_variables_win_and_those_of_other_roles_stay_out() -> None:
    entry = {"llama_server_port": 9, "llama_server_api_key": "k", "llama_cpp_source": "x", "llama_server": 1}
    arguments = {"port": 8080, "host": "h", "overrides": entry}
    assert overrides.merged(arguments, "llama_server") == {"port": 9, "host": "h", "api_key": "k"}
    assert overrides.merged(arguments, "llama_cpp") == {"port": 8080, "host": "h", "source": "x"}
    assert arguments["overrides"] is entry


@pytest.mark.parametrize("entry", [{}, None])
def test_without_an_entry_nothing_changes(entry: typing.Any) -> None:
    assert (
        overrides.merged({"port": 1, "overrides": entry}, "llama_server")
        == overrides.merged({"port": 1}, "llama_server")
        == {"port": 1}
    )


def test_a_result_tells_whose_it_is() -> None:
    assert overrides.labelled({"changed": True}, "") == {"changed": True}
    assert overrides.labelled({"changed": True}, "chat", plan_only=True) == {
        "changed": True,
        "turn_of": "chat",
        "plan_only": True,
    }
    assert (
        overrides.labelled({"failed": True, "msg": "a: expected c, found b."}, "chat")["msg"]
        == "instance chat: a: expected c, found b."
    )
    assert (
        overrides.labelled({"failed": True, "msg": "a: expected c, found b."}, "")["msg"] == "a: expected c, found b."
    )
    assert overrides.labelled({"msg": "fine"}, "chat")["msg"] == "fine"
    assert (
        overrides.labelled({"failed": True, "msg": "instance chat: expected c, found b."}, "chat")["msg"]
        == "instance chat: expected c, found b."
    )
    assert "msg" not in overrides.labelled({"failed": True}, "chat")


def test_the_turn_is_the_plays() -> None:
    variables = {overrides.TURN: "{{ x }}"}
    assert overrides.of_turn(variables, lambda value: value.replace("{{ x }}", "chat")) == "chat"
    assert overrides.of_turn({}, lambda value: value) == overrides.of_turn(None, lambda value: value) == ""
