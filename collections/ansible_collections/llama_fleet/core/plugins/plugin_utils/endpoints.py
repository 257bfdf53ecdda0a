# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Return the endpoints of instances as the controller reaches them.

A host tells the URL for its own clients. Where an instance listens on all addresses, the controller uses the address at
which Ansible reaches the host.
"""

from __future__ import annotations

import dataclasses
import re
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.host.ports import is_loopback

Facts = dict[str, typing.Any]
# Connections to an address. Those of containers and the like have a name that no client can use.
_NETWORKED = ("ssh", "paramiko", "paramiko_ssh", "libssh")
_ADDRESS = re.compile(r"[A-Za-z0-9._:-]{1,255}")


@dataclasses.dataclass(frozen=True)
class Way:
    """The way to a host: the name of Ansible's connection plugin, and the address that it connects to."""

    transport: str
    address: str

    def seen(self, facts: Facts) -> Facts:
        """Return the ``facts`` of an instance with its endpoint as this controller reaches it."""
        if not facts.get("listens_everywhere") or not facts.get("endpoint"):
            return facts
        return {**facts, "endpoint": self._endpoint(str(facts["endpoint"]))}

    def _endpoint(self, endpoint: str) -> str:
        networked = self.transport.rpartition(".")[2] in _NETWORKED
        if not networked or not _ADDRESS.fullmatch(self.address) or is_loopback(self.address):
            return endpoint
        host = f"[{self.address}]" if ":" in self.address else self.address
        try:
            url = urllib.parse.urlsplit(endpoint)
            return url._replace(netloc=f"{host}:{url.port}").geturl() if url.port else endpoint
        except ValueError:
            return endpoint
