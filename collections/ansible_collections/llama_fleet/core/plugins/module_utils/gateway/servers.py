# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The llama-servers behind a gateway, and the models they serve."""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import (
    Flag,
    Many,
    Number,
    Record,
    ShapeError,
    Text,
    check,
)

VARIABLE = "llama_gateway_servers"
_MODELS = "llama_gateway_models"
# HAProxy tracks a server by its name, so that names are the same in every configuration that has the server.
_SERVER = r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}/[a-z0-9-]{1,40}"
# A model's name in requests. Maps hold a name and its value in one line, and messages quote it.
MODEL = r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}"
_ADDRESS = r"[A-Za-z0-9]([A-Za-z0-9.-]{0,253}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}"
_SHAPE = Many(
    Record(
        {
            "name": Text(_SERVER),
            "model": Text(MODEL),
            "address": Text(_ADDRESS),
            "port": Number(1, 65535),
            "slots": Number(1, 256),
        },
        {"aliases": Many(Text(MODEL), 100), "weight": Number(0, 256), "tls": Flag()},
    ),
    most=4000,
)
_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,60}")


@dataclasses.dataclass(frozen=True)
class Server:
    """One instance behind the gateway.

    ``name`` is ``host/instance``. ``slots`` is how many requests it computes at once: its own ``parallel``.
    ``weight`` is its share of the traffic, relative to the model's other servers.
    """

    name: str
    model: str
    address: str
    port: int
    slots: int
    aliases: tuple[str, ...] = ()
    weight: int = 100
    tls: bool = False

    @property
    def label(self) -> str:
        """Its name in HAProxy, where a slash separates a back end from a server."""
        return self.name.replace("/", ":")


@dataclasses.dataclass(frozen=True)
class Model:
    """A model with the servers that serve it; ``aliases`` are its further names in requests."""

    name: str
    servers: tuple[Server, ...]
    aliases: tuple[str, ...] = ()

    @property
    def backend(self) -> str:
        """Its name in HAProxy: readable, and different for each model whatever characters its name has."""
        if _PLAIN.fullmatch(self.name):
            return f"model-{self.name}"
        digest = hashlib.sha256(self.name.encode()).hexdigest()[:8]
        return f"model-{re.sub(r'[^A-Za-z0-9_.-]', '-', self.name)[:40]}-{digest}"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)


def parse(given: object) -> tuple[Server, ...]:
    """Return the servers in a module's argument, sorted by name. Raises ProblemError."""
    try:
        entries = check(given, _SHAPE, VARIABLE)
    except ShapeError as error:
        raise ProblemError(Problem(VARIABLE, str(error), "a list of servers")) from None
    servers = [Server(**{**entry, "aliases": tuple(entry.get("aliases", ()))}) for entry in entries]
    return tuple(sorted(servers, key=lambda server: server.name))


def merged(
    wanted: typing.Sequence[Server], recorded: typing.Sequence[Server], unchanged: typing.Collection[str]
) -> tuple[Server, ...]:
    """Return the wanted servers, each as it runs: one that is ``unchanged`` runs as it was recorded."""
    before = {server.name: server for server in recorded}
    return tuple(before.get(server.name, server) if server.name in unchanged else server for server in wanted)


def grouped(servers: typing.Iterable[Server], more: typing.Mapping[str, typing.Sequence[str]]) -> tuple[Model, ...]:
    """Return the models of ``servers``, sorted by name; ``more`` gives further aliases by model."""
    by_name: dict[str, list[Server]] = {}
    for server in servers:
        by_name.setdefault(server.model, []).append(server)
    return tuple(
        Model(
            name,
            tuple(group),
            tuple(dict.fromkeys([*(alias for server in group for alias in server.aliases), *more.get(name, ())])),
        )
        for name, group in sorted(by_name.items())
    )


def server_problems(models: typing.Sequence[Model], more: typing.Mapping[str, typing.Sequence[str]]) -> list[Problem]:
    """Return a problem for each name that is given twice, and for each alias of a model that no server has."""
    problems = [
        Problem(_MODELS, f"aliases of {name}", "a model that a server of the fleet serves", _known(models))
        for name in more
        if name not in {model.name for model in models}
    ]
    owners: dict[str, str] = {}
    for model in models:
        for name in dict.fromkeys(model.names):
            other = owners.setdefault(name, model.name)
            if other != model.name:
                twice = f"'{name}' for both {other} and {model.name}"
                problems.append(Problem(_MODELS, twice, "one model for each name"))
    seen: set[str] = set()
    for server in (server for model in models for server in model.servers):
        if server.tls and is_literal(server.address):
            wanted = "a host name, which the certificate can be checked against"
            problems.append(Problem(VARIABLE, f"TLS to the address {server.address} of {server.name}", wanted))
        if server.name in seen:
            problems.append(Problem(VARIABLE, f"{server.name} twice", "each server once"))
        seen.add(server.name)
    return problems


def is_literal(address: str) -> bool:
    """Return whether ``address`` is an IP address and no name."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def _known(models: typing.Sequence[Model]) -> str:
    return f"name one of {', '.join(model.name for model in models)}" if models else "provision the model first"
