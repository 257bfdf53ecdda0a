# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the hosts from which a host accepts builds: those that the operator names, never those that a host names."""

from __future__ import annotations

import dataclasses
import typing

from ansible.inventory.manager import InventoryManager

Values = typing.Mapping[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Builder:
    """A host of the inventory. Its address distinguishes it from a host of the same name in another inventory."""

    host: str
    address: str


def builder(host: str, task_vars: Values) -> Builder:
    """Return the ``host`` of the inventory as a Builder."""
    variables = task_vars["hostvars"][host]
    return Builder(host, f"{variables.get('ansible_host') or host}:{variables.get('ansible_port') or 22}")


def named(patterns: typing.Sequence[str], task_vars: Values, loader: typing.Any) -> frozenset[Builder]:
    """Return the hosts that match ``patterns`` of names and groups, as in a play's ``hosts``.

    Ansible warns of a pattern without a match.
    """
    if not patterns:
        return frozenset()
    inventory = InventoryManager(loader, parse=False)
    for group, hosts in task_vars["groups"].items():
        inventory.add_group(group)
        for host in hosts:
            inventory.add_host(host, group=group)
    return frozenset(builder(host.name, task_vars) for host in inventory.get_hosts(pattern=list(patterns)))
