# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Find the listeners on a TCP port from /proc/net/tcp and the open files of visible processes."""

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
    """One listening socket.

    ``pid`` is 0 if its process is not visible. ``uid`` is the user that created it, or -1 if unknown.
    """

    address: str
    port: int
    pid: int = 0
    uid: int = -1
    inode: str = ""


def listeners(
    port: int, host: str, proc: pathlib.Path = processes.PROC, likely: typing.Iterable[int] = ()
) -> list[Listener]:
    """List the sockets that a server on ``host`` and ``port`` would collide with.

    The ``likely`` process IDs are searched first for their owners.
    """
    sockets = [
        listener
        for table in ("tcp", "tcp6")
        for listener in parse_table(_read(proc / "net" / table))
        if listener.port == port and _collide(listener.address, host)
    ]
    if not sockets:
        return []
    owners = _owners({f"socket:[{listener.inode}]" for listener in sockets}, proc, likely)
    return [dataclasses.replace(each, pid=owners.get(f"socket:[{each.inode}]", 0)) for each in sockets]


def parse_table(text: str) -> list[Listener]:
    """List the listening sockets in the text of /proc/net/tcp or tcp6, which does not name their processes."""
    sockets = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTEN:
            address, _colon, port = fields[1].partition(":")
            with contextlib.suppress(ValueError, OverflowError):  # not a line that the kernel writes
                sockets.append(Listener(_address(address), int(port, 16), uid=int(fields[7]), inode=fields[9]))
    return sockets


def _address(text: str) -> str:
    """Parse an address, which the kernel prints as 32-bit words in native byte order."""
    words = [int(text[start : start + 8], 16).to_bytes(4, sys.byteorder) for start in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def _collide(listening: str, wanted: str) -> bool:
    address = ipaddress.ip_address(listening)
    # An IPv6 socket may be bound to an IPv4-mapped address and then accepts IPv4 connections.
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_unspecified:
        return True
    try:
        wanted_address = ipaddress.ip_address("127.0.0.1" if wanted == "localhost" else wanted)
    except ValueError:
        return True
    return wanted_address.is_unspecified or wanted_address == address


def _owners(sockets: typing.Collection[str], proc: pathlib.Path, likely: typing.Iterable[int]) -> dict[str, int]:
    """Map each socket to the ID of a process that has it open.

    Stops as soon as all are found, because a busy host can have a hundred thousand open files.
    """
    owners: dict[str, int] = {}
    all_pids = (int(entry.name) for entry in proc.iterdir() if entry.name.isdigit())
    for pid in itertools.chain(likely, all_pids):
        owners.update({target: pid for target in processes.open_files(pid, proc) if target in sockets})
        if len(owners) == len(sockets):
            break
    return owners


def is_local_address(host: str) -> bool:
    """Return whether a server could listen on ``host`` here, by binding a port that the kernel chooses."""
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


def is_loopback(host: str) -> bool:
    """Return whether a server that listens on ``host`` can only be reached from this host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
