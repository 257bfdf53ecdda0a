# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List the servers of a fleet for its gateway, from the inventory: one place for addresses, slots and names."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import typing

from ansible.errors import AnsibleUndefinedVariable

from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.servers import MODEL
from ansible_collections.llama_fleet.core.plugins.module_utils.host.ports import is_loopback
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, raise_if_any
from ansible_collections.llama_fleet.core.plugins.plugin_utils import instances, role_values

Values = dict[str, typing.Any]
Template = typing.Callable[[typing.Any], typing.Any]
_EVERYWHERE = ("0.0.0.0", "::")


@dataclasses.dataclass(frozen=True)
class Fleet:
    """The inventory as a gateway sees it: ``variables`` by host, and the name of the ``gateway``'s own host."""

    variables: typing.Mapping[str, typing.Mapping[str, typing.Any]]
    gateway: str
    template: Template

    def servers(self, hosts: typing.Iterable[str]) -> list[Values]:
        """Return the instances of ``hosts`` that are to run, as the module llama_gateway takes them.

        Raises ProblemError with all of their problems.
        """
        listed: list[Values] = []
        problems: list[Problem] = []
        sources: dict[str, str] = {}
        for host in hosts:
            fleet_host = role_values.whole_host(self._known(host), self.template, {})
            for name in fleet_host.entries:
                values = role_values.effective(fleet_host, name)
                if values["llama_server_state"] == "started":
                    server = self._server(host, name, values)
                    problems += [*_problems(server, values), *_another(server, values, sources)]
                    listed.append(server)
        raise_if_any(problems)
        return listed

    def _known(self, host: str) -> Values:
        """Return the host's variables of roles, as far as they can be known: no facts have been gathered."""
        known: Values = {}
        given = self.variables[host]
        for name in (name for role in instances.STAGES for name in role_values.load_spec(role)):
            with contextlib.suppress(AnsibleUndefinedVariable):
                if name in given:
                    known[name] = given[name]
        return known

    def _server(self, host: str, name: str, values: Values) -> Values:
        models = model_names(values)
        return {
            "name": f"{host}/{name}",
            "model": models[0],
            "aliases": models[1:],
            "address": self._address(host, str(values["llama_server_host"])),
            "port": values["llama_server_port"],
            "slots": values["llama_server_parallel"],
            "tls": bool(values["llama_server_tls_certificate"]),
        }

    def _address(self, host: str, listens_on: str) -> str:
        """Return the address at which the gateway reaches a server; empty if it cannot."""
        if host == self.gateway:
            return "127.0.0.1" if listens_on in _EVERYWHERE else listens_on
        if is_loopback(listens_on):
            return ""
        if listens_on not in _EVERYWHERE:
            return listens_on
        return str(self.template(self.variables[host].get("ansible_host", host)))


def model_names(values: Values) -> list[str]:
    """Return the names of an instance's model in requests: its aliases, else what its source is called."""
    aliases = [alias.strip() for alias in str(values["llama_server_alias"]).split(",") if alias.strip()]
    if aliases:
        return aliases
    source = re.split(r"[#?]", str(values["gguf_model_source"]).removeprefix("pypi:"))[0]
    last = source.rstrip("/").rpartition("/")[2]
    return [re.sub(r"(?i)(-\d{5}-of-\d{5})?([-_.]gguf)?([:@=].*)?$", "", last)]


def _another(server: Values, values: Values, sources: dict[str, str]) -> typing.Iterator[Problem]:
    """Yield a problem if another source has the same name only because no alias tells the two apart."""
    source = "" if values["llama_server_alias"] else str(values["gguf_model_source"])
    other = sources.setdefault(server["model"], source)
    if source and other and source != other:
        twice = f"'{server['model']}' for both {other} and {source}"
        yield Problem("llama_server_alias", twice, "a name for each model", "set an alias where they differ")


def _problems(server: Values, values: Values) -> typing.Iterator[Problem]:
    name = server["name"]
    if not server["address"]:
        closed = f"{values['llama_server_host']} for {name}, which its gateway on another host cannot reach"
        fix = "set it to the host's address or 0.0.0.0, with llama_server_api_key, and llama_gateway_backend_key"
        yield Problem("llama_server_host", closed, "an address that the gateway reaches", fix)
    for model in (server["model"], *server["aliases"]):
        if not re.fullmatch(MODEL, model):
            yield Problem("llama_server_alias", f"'{model}' for {name}", "a name without spaces", "set another alias")
