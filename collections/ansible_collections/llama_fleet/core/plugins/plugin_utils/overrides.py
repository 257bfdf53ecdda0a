# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Merge an instance's variables into a module's arguments, and add its name to the result."""

from __future__ import annotations

import typing

Arguments = dict[str, typing.Any]
# The play's variable with the name of the current instance; empty if there is only one.
TURN = "llama_fleet_turn_of"
# The play's variable with the name of the current instance, also of the only one.
INSTANCE = "llama_fleet_instance"


def merged(arguments: typing.Mapping[str, typing.Any], role: str) -> Arguments:
    """Return the arguments with the variables of ``role`` from ``overrides`` merged in, and without ``overrides``."""
    given = {name: value for name, value in arguments.items() if name != "overrides"}
    prefix = f"{role}_"
    overrides = arguments.get("overrides") or {}
    return {**given, **{name[len(prefix) :]: value for name, value in overrides.items() if name.startswith(prefix)}}


def labelled(result: typing.Mapping[str, typing.Any], instance: str, plan_only: bool = False) -> Arguments:
    """Return the result with its instance's name, if there are several, and marked if it is a plan."""
    more: Arguments = {"plan_only": True} if plan_only else {}
    if instance:
        more["turn_of"] = instance
        subject, message = f"instance {instance}: ", str(result.get("msg") or "")
        if result.get("failed") and message and not message.startswith(subject):
            more["msg"] = subject + message
    return {**result, **more}


def of_turn(
    task_vars: typing.Mapping[str, typing.Any] | None, template: typing.Callable[[typing.Any], typing.Any]
) -> str:
    """Return the name of the current instance; empty if there is only one, or outside our plays."""
    return str(template((task_vars or {}).get(TURN, "")) or "")
