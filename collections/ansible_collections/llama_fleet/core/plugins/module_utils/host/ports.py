# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Who listens on a TCP port, out of /proc/net/tcp and the open files of the processes that may be seen."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import itertools
import socket
import sys
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes

if typing.TYPE_CHECKING:
    import pathlib

_LISTEN = "0A"


@dataclasses.dataclass(frozen=True)
class Listener:
    """One listening socket;

    ``pid`` is 0 where its process cannot be seen, ``uid`` is the user who made it, and -1 where that is not told.
    """

    address: str
    port: int
    pid: int = 0
    uid: int = -1
    inode: str = ""


def listeners(
    port: int, host: str, proc: pathlib.Path = processes.PROC, likely: typing.Iterable[int] = ()
) -> list[Listener]:
    """Sockets that a server on ``host`` and ``port`` would collide with; processes that are ``likely`` to have them
    are looked at first.
    """
    sockets = [
        found
        for table in ("tcp", "tcp6")
        for found in parse_table(_read(proc / "net" / table))
        if found.port == port and _collide(found.address, host)
    ]
    if not sockets:
        return []
    owners = _owners({f"socket:[{found.inode}]" for found in sockets}, proc, likely)
    return [dataclasses.replace(found, pid=owners.get(f"socket:[{found.inode}]", 0)) for found in sockets]


def parse_table(text: str) -> list[Listener]:
    """Return every listening socket in the text of /proc/net/tcp or tcp6, which does not tell whose process has it."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTEN:
            address, _colon, port = fields[1].partition(":")
            with contextlib.suppress(ValueError, OverflowError):  # no line of the kernel's
                found.append(Listener(_address(address), int(port, 16), uid=int(fields[7]), inode=fields[9]))
    return found


def _address(text: str) -> str:
    """The kernel prints an address as 32-bit words in its own byte order."""
    words = [int(text[start : start + 8], 16).to_bytes(4, sys.byteorder) for start in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def _collide(listening: str, wanted: str) -> bool:
    address = ipaddress.ip_address(listening)
    # A socket of version 6 may have an address of version 4, and then takes its connections.
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_unspecified:
        return True
    try:
        wanted_address = ipaddress.ip_address("127.0.0.1" if wanted == "localhost" else wanted)
    except ValueError:
        return True
    return wanted_address.is_unspecified or wanted_address == address


def _owners(sockets: typing.Collection[str], proc: pathlib.Path, likely: typing.Iterable[int]) -> dict[str, int]:
    """Who has each of the sockets.

    A busy host has a hundred thousand open files: no more of them are read than it takes.
    """
    owners: dict[str, int] = {}
    everybody = (int(entry.name) for entry in proc.iterdir() if entry.name.isdigit())
    for pid in itertools.chain(likely, everybody):
        owners.update({target: pid for target in processes.open_files(pid, proc) if target in sockets})
        if len(owners) == len(sockets):
            break
    return owners


def is_local_address(host: str) -> bool:
    """Whether a server could listen on ``host`` here: the kernel is asked, on a port of its choice."""
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
