# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Verify that the process on an instance's port is the instance, so that only it is asked and given the key.

Any user can listen on a port that is free for a moment, as an instance's port is during a switch.
"""

from __future__ import annotations

import dataclasses
import pwd
import re
import ssl
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import ports, processes

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_LARGEST = 1 << 20
# The extra option for the certificate, from before there was a variable.
TLS = "ssl-cert-file"


class StrangerError(OSError):
    """Another process than the instance listens on its port: ``port 8080 is held by pid 7 (nc), of the user eve``."""


@dataclasses.dataclass(frozen=True)
class Trust:
    """The identity of an instance: its ``process``, and with TLS its ``certificate`` in PEM.

    ``key`` is sent to no other server.
    """

    process: processes.Process
    certificate: str = ""
    key: str = dataclasses.field(default="", repr=False)
    proc: pathlib.Path = processes.PROC

    def listening(self, host: str, port: int) -> frozenset[str]:
        """Return the inodes of the instance's sockets that a connection to ``host`` and ``port`` may reach.

        Return none if nothing listens, or if the instance has ended. Raises StrangerError.
        """
        listeners = ports.listeners(port, host, self.proc, [self.process.pid])
        strangers = [listener for listener in listeners if not self._is_own(listener)]
        if not strangers:
            return frozenset(listener.inode for listener in listeners)
        if not any(listener.pid for listener in strangers) and not processes.alive(self.process, self.proc):
            # The instance ended while its sockets were looked up: they are not yet closed and no longer have a process.
            return frozenset()
        raise StrangerError(held(strangers, self.proc))

    def _is_own(self, listener: ports.Listener) -> bool:
        if listener.pid:
            return processes.descends(listener.pid, self.process.pid, self.proc)
        # Without the right to read any process's files, the socket's user must suffice.
        hidden = not processes.open_files(self.process.pid, self.proc)
        return hidden and listener.uid == processes.user(self.process.pid, self.proc)

    def context(self) -> ssl.SSLContext:
        """Return a context that trusts exactly the instance's certificate, whatever host name it is for."""
        return context(self.certificate)

    def is_its(self, certificate: bytes | None) -> bool:
        """Return whether ``certificate`` (DER) is the instance's, and not merely one that it signed."""
        return bool(self.certificate) and certificate == ssl.PEM_cert_to_DER_cert(self.certificate)


def context(certificate: str | None) -> ssl.SSLContext:
    """Return a client's context that trusts exactly ``certificate`` (PEM), whatever host name it is for.

    An empty text trusts no server. None trusts every server, for a request that sends no key.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if certificate is None:
        made.verify_mode = ssl.CERT_NONE
    elif certificate:
        made.load_verify_locations(cadata=certificate)
    return made


def of(generation: Generation, process: processes.Process, proc: pathlib.Path = processes.PROC) -> Trust:
    """Return the identity of the server of ``generation``, with the certificate it was started with."""
    noted = str(generation.manifest.get("certificate", ""))
    return Trust(process, noted or leaf(certificate_path(generation.options)), generation.api_key, proc)


def certificate_path(options: typing.Mapping[str, typing.Any]) -> str:
    """Return the certificate file of a server with these options, or an empty string for plain HTTP."""
    extra = options.get("extra_options") or {}
    return str(options.get("tls_certificate") or extra.get(TLS) or "")


def leaf(path: str) -> str:
    """Return the first certificate in a PEM file, the server's own, or an empty string if there is none."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            match = _CERTIFICATE.search(file.read(_LARGEST))
    except OSError:
        return ""
    return f"{match.group()}\n" if match else ""


def strangers(
    host: str, port: int, own: typing.Sequence[int], pause: typing.Callable[[float], None] = time.sleep
) -> list[ports.Listener]:
    """Return the listeners on ``host`` and ``port`` that are neither ``own`` processes nor their children.

    A socket without a process may belong to a process that is ending, so it counts only if it still exists 0.5 s later.
    """
    others = _others(host, port, own)
    if others and not any(listener.pid for listener in others):
        pause(0.5)
        others = _others(host, port, own)
    return others


def _others(host: str, port: int, own: typing.Sequence[int]) -> list[ports.Listener]:
    listeners = ports.listeners(port, host, likely=own)
    return [listener for listener in listeners if not any(processes.descends(listener.pid, pid) for pid in own)]


def held(listeners: typing.Sequence[ports.Listener], proc: pathlib.Path = processes.PROC) -> str:
    """Name the holder of a port: process, program and user, as far as they are visible."""
    who = next((listener for listener in listeners if listener.pid), listeners[0])
    process = f"pid {who.pid} ({processes.name(who.pid, proc)})" if who.pid else "a process that this user cannot see"
    return f"port {who.port} is held by {process}, of the user {_name_of(who.uid)}"


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)
