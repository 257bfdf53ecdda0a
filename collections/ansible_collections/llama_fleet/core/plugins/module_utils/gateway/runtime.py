# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Read and change a running HAProxy over its runtime socket.

The commands and the columns are those of HAProxy's management guide, section 9.3, for 2.6 and later.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import re
import socket
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.servers import is_literal
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import line, whole

if typing.TYPE_CHECKING:
    import pathlib

# Bytes of an answer (a fleet of 4,000 servers fits), and seconds for the whole of it.
_LONGEST, _PATIENCE = 32 << 20, 10.0
# Bits of srv_admin_state: by configuration or by a command in maintenance, and draining.
_MAINTENANCE, _DRAINING = 0x01 | 0x04, 0x08
_ARGUMENT = re.compile(r"[A-Za-z0-9._:/@+-]+")


class RuntimeSocketError(Exception):
    """HAProxy did not answer, or refused a command; the message is a clause."""


@dataclasses.dataclass(frozen=True)
class ServerState:
    """A server as HAProxy sees it. Counts are of requests; ``waiting`` are those that wait for one of its slots."""

    backend: str
    name: str
    up: bool
    drained: bool
    maintenance: bool
    busy: int
    waiting: int
    slots: int
    weight: int
    total: int
    failed: int
    address: str

    @property
    def serves(self) -> bool:
        """True if new requests can reach it."""
        return self.up and not self.drained and not self.maintenance


@dataclasses.dataclass(frozen=True)
class Seen:
    """The state of HAProxy at one moment. ``waiting`` holds the queue of each back end itself."""

    digest: str
    pid: int
    uptime: int
    servers: tuple[ServerState, ...]
    waiting: typing.Mapping[str, int]

    def of(self, backend: str) -> list[ServerState]:
        return [server for server in self.servers if server.backend == backend]

    def find(self, backend: str, name: str) -> ServerState | None:
        return next((server for server in self.of(backend) if server.name == name), None)


class RuntimeSocket:
    """The runtime socket of one HAProxy."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def ask(self, command: str) -> str:
        """Return the answer to a command. Raises RuntimeSocketError."""
        try:
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
                connection.settimeout(_PATIENCE)
                connection.connect(str(self.path))
                connection.sendall(command.encode() + b"\n")
                connection.shutdown(socket.SHUT_WR)
                return _read(connection).decode("utf-8", "replace")
        except OSError as error:
            raise RuntimeSocketError(f"{self.path}: {error.strerror or 'no answer'}") from None

    def do(self, *commands: str) -> None:
        """Run commands that answer nothing when they succeed. Raises RuntimeSocketError with what HAProxy said."""
        for command in commands:
            said = self.ask(command).strip()
            if said:
                raise RuntimeSocketError(f"'{command.split(chr(10), 1)[0]}' was answered by '{line(said, 300)}'")

    def seen(self) -> Seen:
        """Return the process, its servers and its queues. Raises RuntimeSocketError."""
        info = dict(row.split(": ", 1) for row in self.ask("show info").splitlines() if ": " in row)
        rows = list(csv.DictReader(io.StringIO(self.ask("show stat").lstrip("# "))))
        states = {(row["be_name"], row["srv_name"]): row for row in _table(self.ask("show servers state"))}
        servers = tuple(
            _server(row, states[key])
            for row in rows
            if (key := (row.get("pxname") or "", row.get("svname") or "")) in states
        )
        waiting = {row["pxname"]: _count(row, "qcur") for row in rows if row.get("svname") == "BACKEND"}
        description = info.get("description", "")
        return Seen(description, whole(info.get("Pid", ""), 0) or 0, _count(info, "Uptime_sec"), servers, waiting)

    def map(self, path: pathlib.Path) -> dict[str, str] | None:
        """Return the entries of a map as the process has them; None if its configuration does not use the map."""
        said = self.ask(f"show map {path}")
        if said.startswith("Unknown map"):
            return None
        rows = (row.split(" ", 2) for row in said.splitlines())
        return {row[1]: row[2] for row in rows if len(row) == 3}

    def replace_map(self, path: pathlib.Path, entries: typing.Mapping[str, str]) -> None:
        """Swap all entries of a map in one step: no request sees half of it. Values may have spaces in them."""
        said = self.ask(f"prepare map {path}").strip()
        version = re.fullmatch(r"New version created: (\d{1,18})", said)
        if version is None:
            raise RuntimeSocketError(f"'prepare map {path}' was answered by '{line(said, 300)}'")
        number = version.group(1)
        # An empty line ends the entries.
        rows = "".join(f"{plain(key)} {value}\n" for key, value in entries.items() if value.isprintable())
        if rows:
            self.do(f"add map @{number} {path} <<\n{rows}")
        self.do(f"commit map @{number} {path}")

    def set_state(self, backend: str, name: str, state: str) -> None:
        """Set a server's state to ``ready``, ``drain`` or ``maint``."""
        self.do(f"set server {plain(backend)}/{plain(name)} state {plain(state)}")

    def set_slots(self, backend: str, name: str, slots: int) -> None:
        self.do(f"set maxconn server {plain(backend)}/{plain(name)} {slots}")

    def set_address(self, backend: str, name: str, address: str, port: int) -> None:
        """Set a server's address. HAProxy answers with what it changed, so that the answer proves it."""
        command = f"set server {plain(backend)}/{plain(name)} addr {plain(address)} port {port}"
        said = self.ask(command).strip()
        if said and "changed" not in said and "no need to change" not in said:
            raise RuntimeSocketError(f"'{command}' was answered by '{line(said, 300)}'")

    def set_weight(self, backend: str, name: str, weight: int) -> None:
        self.do(f"set server {plain(backend)}/{plain(name)} weight {weight}")


def drained_rows(text: str, servers: typing.Iterable[typing.Mapping[str, typing.Any]]) -> str:
    """Return the rows of drained servers out of ``show servers state``, with each server's address of now.

    HAProxy takes addresses and ports in the file before those in the configuration.
    """
    ports = {str(server["name"]).replace("/", ":"): str(server["port"]) for server in servers}
    addresses = {str(server["name"]).replace("/", ":"): str(server["address"]) for server in servers}
    version, *rows = text.splitlines()
    names = next((row[1:].split() for row in rows if row.startswith("#")), [])
    kept = [version, *(row for row in rows if row.startswith("#"))]
    for state in _table(text):
        name = state.get("srv_name", "")
        if _count(state, "srv_admin_state") & (_MAINTENANCE | _DRAINING) and name in ports:
            address = addresses[name] if is_literal(addresses[name]) else state["srv_addr"]
            kept.append(" ".join({**state, "srv_addr": address, "srv_port": ports[name]}[each] for each in names))
    return "\n".join([*kept, ""])


def plain(text: str) -> str:
    """Return ``text``, which must be one plain word: a command's arguments end at a space, a semicolon or a newline."""
    if not _ARGUMENT.fullmatch(text):
        raise RuntimeSocketError(f"'{line(text, 100)}' cannot be an argument of a command")
    return text


def _read(connection: socket.socket) -> bytes:
    answer = bytearray()
    while chunk := connection.recv(1 << 16):
        answer += chunk
        if len(answer) > _LONGEST:
            raise RuntimeSocketError(f"an answer of more than {_LONGEST >> 20} MiB")
    return bytes(answer)


def _table(text: str) -> typing.Iterator[dict[str, str]]:
    """Return the rows of ``show servers state``: a version, a line of names after ``#``, then values."""
    names: list[str] = []
    for row in text.splitlines()[1:]:
        if row.startswith("#"):
            names = row[1:].split()
        elif row.strip():
            yield dict(zip(names, row.split(" ")))


def _server(row: typing.Mapping[str, str], state: typing.Mapping[str, str]) -> ServerState:
    admin = _count(state, "srv_admin_state")
    return ServerState(
        row["pxname"],
        row["svname"],
        row.get("status", "").startswith(("UP", "DRAIN", "no check")),
        bool(admin & _DRAINING),
        bool(admin & _MAINTENANCE),
        _count(row, "scur"),
        _count(row, "qcur"),
        _count(row, "slim"),
        _count(row, "weight"),
        _count(row, "stot"),
        _count(row, "hrsp_5xx"),
        f"{state.get('srv_addr', '')}:{state.get('srv_port', '')}",
    )


def _count(row: typing.Mapping[str, str], name: str) -> int:
    return whole(row.get(name) or "", 0) or 0
