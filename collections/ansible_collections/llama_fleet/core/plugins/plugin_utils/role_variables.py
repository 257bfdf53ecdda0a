# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the values of a role's variables against its argument spec."""

from __future__ import annotations

import typing

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, nearest, one_of

Spec = typing.Mapping[str, typing.Mapping[str, typing.Any]]
_KINDS = {
    "int": "a whole number",
    "bool": "true or false",
    "dict": "a mapping",
    "list": "a list",
    "path": "a path",
    "str": "a text",
}


def unknown(role: str, names: typing.Iterable[str], spec: Spec) -> list[Problem]:
    """Return a problem for each name that has the role's prefix but is not one of its variables."""
    prefix = f"{role}_"
    known = {*spec, f"{role}_result"}
    return [
        Problem(name, "a variable that no role has", f"a variable of {role}", _suggestion(name, prefix, spec))
        for name in sorted(names)
        if name.startswith(prefix) and name not in known
    ]


def _suggestion(name: str, prefix: str, spec: Spec) -> str:
    # Compare without the shared prefix, which would make all names look alike.
    names = nearest(name[len(prefix) :], [known[len(prefix) :] for known in spec])
    return (
        f"use {one_of(prefix + near for near in names)}"
        if names
        else "see the role's documentation for the variables that exist"
    )


def wrong(values: typing.Mapping[str, typing.Any], spec: Spec) -> list[Problem]:
    """Return a problem for each value that its variable does not accept, by Ansible's own rules."""
    problems = []
    for name, value in values.items():
        option = {key: spec[name][key] for key in ("type", "elements", "choices") if key in spec[name]}
        if ArgumentSpecValidator({name: option}).validate({name: value}).error_messages:
            problems.append(Problem(name, _shown(value, spec[name]), accepted(spec[name])))
    return problems


def accepted(option: typing.Mapping[str, typing.Any]) -> str:
    """Describe the values that an option accepts: ``a whole number``, ``one of auto or none``."""
    if option.get("choices"):
        return f"one of {one_of(option['choices'])}"
    kind = str(option.get("type", "str"))
    return _KINDS.get(kind, kind)


def _shown(value: typing.Any, option: typing.Mapping[str, typing.Any]) -> str:
    return "a secret of another type" if option.get("no_log") else f"'{value}'"
