# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Options of one gateway, and the checks that need no host."""

from __future__ import annotations

import dataclasses
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import (
    directory,
    integer,
    mapping,
    mappings,
    optional_path,
    range_problems,
    secret,
    secret_mapping,
    switch,
    text,
    texts,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.servers import MODEL
from ansible_collections.llama_fleet.core.plugins.module_utils.host.ports import is_loopback
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import (
    SHA256,
    Many,
    Number,
    Record,
    Shape,
    ShapeError,
    Table,
    Text,
    check,
)

if typing.TYPE_CHECKING:
    import pathlib

ROLE = "llama_gateway"
EVERY_KEY = "default"
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_SIZE = re.compile(r"[1-9][0-9]*[KMGT]?")
_ID = Text(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_TOKEN = r"[!-~]{16,512}"
_HASH = rf"sha256:{SHA256}"
_LIMIT = Record({}, {"concurrent": Number(0, 1_000_000), "per_minute": Number(0, 1_000_000)})
# Options that are mappings, with the shape of each and what a user should write.
_SHAPES: dict[str, tuple[Shape, str]] = {
    "models": (
        Table(Record({}, {"aliases": Many(Text(MODEL), 100)}), Text(MODEL)),
        "models by name, each with a list of aliases, such as {qwen: {aliases: [gpt-4o]}}",
    ),
    "limits": (
        Table(_LIMIT, _ID),
        f"names of keys, or {EVERY_KEY}, each with concurrent or per_minute: {{{EVERY_KEY}: {{concurrent: 8}}}}",
    ),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of one gateway, each declared here only."""

    state: str = text("started", ("started", "absent"))
    host: str = text("127.0.0.1")
    port: int = integer(8000, 1, 65535)
    # The fleet's servers, as the action plugin knows them from the inventory.
    servers: tuple[typing.Mapping[str, typing.Any], ...] = mappings()
    # Names of servers whose own change is still to come, or has failed.
    unchanged: tuple[str, ...] = texts()
    # Names of servers that stay out of the traffic.
    out: tuple[str, ...] = texts()
    models: typing.Mapping[str, typing.Any] = mapping()
    # Keys of clients by name.
    api_keys: typing.Mapping[str, str] = secret_mapping()
    limits: typing.Mapping[str, typing.Any] = mapping()
    backend_key: str = secret()
    tls_certificate: str = optional_path()
    tls_key: str = optional_path()
    affinity: str = text("conversation", ("conversation", "none"))
    overload: int = integer(150, 101, 1000)
    max_body: int = integer(32, 1, 256)
    retry: str = text("connect", ("connect", "unanswered"))
    queue_timeout: int = integer(600, 1, 86400)
    hold_timeout: int = integer(600, 1, 86400)
    drain_timeout: int = integer(600, 0, 86400)
    timeout: int = integer(3600, 1, 604800)
    slow_start: int = integer(0, 0, 3600)
    metrics_port: int = integer(8405, 1, 65535)
    memory_max: str = text()
    allow_unauthenticated: bool = switch(False)
    root: pathlib.Path = directory("/etc/llama-fleet/gateway")
    runtime_root: pathlib.Path = directory("/run/llama-fleet-gateway")

    @property
    def more_aliases(self) -> dict[str, tuple[str, ...]]:
        return {name: tuple(entry.get("aliases", ())) for name, entry in self.models.items()}


def option_problems(options: Options) -> list[Problem]:
    """Return the problems of the options that can be found without the host. No message contains a key."""
    given = dataclasses.asdict(options)
    problems = [*range_problems(Options, ROLE, given), *_shapes(given), *_keys(options)]
    if not _HOST.fullmatch(options.host):
        wanted = "an IP address or a host name of this host, such as 127.0.0.1 or 0.0.0.0"
        problems.append(Problem(f"{ROLE}_host", repr(options.host), wanted))
    elif not (options.api_keys or options.allow_unauthenticated or is_loopback(options.host)):
        fix = f"set {ROLE}_api_keys, or {ROLE}_allow_unauthenticated: true if everyone who reaches the port may use it"
        wanted = "a key, or an address such as 127.0.0.1"
        problems.append(Problem(f"{ROLE}_host", f"{options.host} without a key", wanted, fix))
    if bool(options.tls_certificate) != bool(options.tls_key):
        given_one, missing = ("certificate", "key") if options.tls_certificate else ("key", "certificate")
        wanted = "both of them, or neither"
        problems.append(Problem(f"{ROLE}_tls_{missing}", f"nothing beside {ROLE}_tls_{given_one}", wanted))
    if options.memory_max and not _SIZE.fullmatch(options.memory_max):
        problems.append(Problem(f"{ROLE}_memory_max", repr(options.memory_max), "a size such as 2G"))
    for name in ("root", "runtime_root"):
        path = str(given[name])
        if not re.fullmatch(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+", path):
            problems.append(Problem(f"{ROLE}_{name}", repr(path), "an absolute path of letters, digits and ._-"))
    if options.port == options.metrics_port:
        problems.append(Problem(f"{ROLE}_metrics_port", f"{options.port}, which is also the gateway's port", "another"))
    return problems


def _shapes(given: typing.Mapping[str, typing.Any]) -> typing.Iterator[Problem]:
    for name, (shape, wanted) in _SHAPES.items():
        error = _shape_error(given[name], shape, f"{ROLE}_{name}")
        if error:
            yield Problem(f"{ROLE}_{name}", error, wanted)


def _shape_error(value: typing.Any, shape: Shape, where: str) -> str:
    try:
        check(value, shape, where)
    except ShapeError as error:
        return str(error)
    return ""


def _keys(options: Options) -> typing.Iterator[Problem]:
    variable, fix = f"{ROLE}_api_keys", "create a key with openssl rand -hex 32"
    for name, key in options.api_keys.items():
        if not re.fullmatch(_ID.pattern, str(name)):
            yield Problem(variable, f"the name '{name}'", "1 to 64 letters, digits, dots, hyphens, underscores or @")
        if not isinstance(key, str) or not re.fullmatch(f"{_HASH}|{_TOKEN}", key):
            wanted = "16 to 512 printable characters without spaces, or sha256: and 64 lower-case hex digits"
            yield Problem(variable, f"an unusable key for '{name}'", wanted, fix)
    if options.backend_key and not re.fullmatch(_TOKEN, options.backend_key):
        yield Problem(f"{ROLE}_backend_key", "an unusable key", "16 to 512 printable characters without spaces", fix)
    for name in options.limits:
        if name != EVERY_KEY and name not in options.api_keys:
            yield Problem(f"{ROLE}_limits", f"'{name}'", f"the name of a key in {variable}, or {EVERY_KEY}")
