# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a host's values of the roles' variables before any role runs."""

from __future__ import annotations

import dataclasses
import pathlib
import typing

from ansible.errors import AnsibleUndefinedVariable
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.yaml import yaml_load

from ansible_collections.llama_fleet.core.plugins.plugin_utils import instances

Values = dict[str, typing.Any]
ROLES = pathlib.Path(__file__).resolve().parents[2] / "roles"


def load_spec(role: str, roles: pathlib.Path = ROLES) -> Values:
    """Return the options of a role of this collection, by name."""
    document = yaml_load((roles / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    return dict(document["argument_specs"]["main"]["options"])


def values_of(
    variables: Values, names: typing.Iterable[str], template: typing.Callable[[typing.Any], typing.Any]
) -> Values:
    """Return the values that are known so far; values that the play passes from a later result are not."""
    values = {}
    for name in names:
        if name in variables:
            try:
                values[name] = template(variables[name])
            except AnsibleUndefinedVariable:
                continue
    return values


def host_of(
    variables: Values, specs: dict[str, Values], template: typing.Callable[[typing.Any], typing.Any]
) -> instances.HostInstances:
    """Return the host's instances with their entries."""
    values = values_of(variables, [name for spec in specs.values() for name in spec], template)
    entries = values.get(instances.VARIABLE)
    return instances.HostInstances(entries if isinstance(entries, dict) else {}, values, specs)


def whole_host(
    variables: Values, template: typing.Callable[[typing.Any], typing.Any], given: typing.Mapping[str, typing.Any]
) -> instances.HostInstances:
    """Return the host with its selected instances, or with the ``given`` ones, from what users set.

    What the play wires is left out, because it is known from the results of stages or not at all.
    """
    specs = {role: load_spec(role) for role in instances.STAGES}
    unwired = {name: value for name, value in variables.items() if name not in instances.wired()}
    host = host_of(unwired, specs, template)
    default = str(specs["llama_server"][instances.ONE]["default"])
    names = instances.chosen(host, host.values.get(instances.ONE), default)
    return dataclasses.replace(host, entries=given or {name: host.entries.get(name) for name in names})


def effective(host: instances.HostInstances, name: str) -> Values:
    """Return all variables of the roles for the instance ``name``, converted to the types in their specs."""
    values = {}
    for spec in host.specs.values():
        for variable, option in spec.items():
            kind = {key: option[key] for key in ("type", "elements") if key in option}
            value = host.effective(name, variable)
            values[variable] = (
                ArgumentSpecValidator({variable: kind})
                .validate({variable: value})
                .validated_parameters.get(variable, value)
            )
    return values
