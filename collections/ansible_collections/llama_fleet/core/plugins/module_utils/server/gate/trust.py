# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Decide whether what listens on an instance's port is the instance: only that is asked, and only that is given the
key.

Any user can listen on a port that is free for a moment, as an instance's is during a switch.
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
# Extra options of before there were variables for them.
TLS = "ssl-cert-file"


class StrangerError(OSError):
    """Somebody else than the instance listens on its port: ``port 8080 is held by pid 7 (nc), of the user eve``."""


@dataclasses.dataclass(frozen=True)
class Trust:
    """What an instance is known by: its ``process``, and with TLS its ``certificate`` in PEM.

    ``key`` is what it alone is given.
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
        # Without the right to see any process's files, the user who has the socket has to do.
        hidden = not processes.open_files(self.process.pid, self.proc)
        return hidden and listener.uid == processes.user(self.process.pid, self.proc)

    def context(self) -> ssl.SSLContext:
        """Return a context that trusts exactly the instance's certificate.

        Its name does not matter: that is of those who reach it from elsewhere.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if self.certificate:
            context.load_verify_locations(cadata=self.certificate)
        return context

    def is_its(self, certificate: bytes | None) -> bool:
        """Whether a server that showed ``certificate``, in DER, is the instance, and not one whose certificate the
        instance's has signed.
        """
        return bool(self.certificate) and certificate == ssl.PEM_cert_to_DER_cert(self.certificate)


def of(generation: Generation, process: processes.Process, proc: pathlib.Path = processes.PROC) -> Trust:
    """Return what the server of ``generation`` is known by.

    Its certificate is the one that it was started with, also where that was renewed since.
    """
    noted = str(generation.manifest.get("certificate", ""))
    return Trust(process, noted or leaf(certificate_path(generation.options)), generation.api_key, proc)


def certificate_path(options: typing.Mapping[str, typing.Any]) -> str:
    """Return the file of the certificate that a server with these options has; empty where it speaks plain HTTP."""
    extra = options.get("extra_options") or {}
    return str(options.get("tls_certificate") or extra.get(TLS) or "")


def leaf(path: str) -> str:
    """Return the server's own certificate, the first in a PEM file; empty where there is none that can be read."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            found = _CERTIFICATE.search(file.read(_LARGEST))
    except OSError:
        return ""
    return f"{found.group()}\n" if found else ""


def strangers(
    host: str, port: int, own: typing.Sequence[int], pause: typing.Callable[[float], None] = time.sleep
) -> list[ports.Listener]:
    """Return who else than the processes ``own`` and their children listens where ``host`` and ``port`` are reached.

    A socket without a process may be that of one that is just ending: it counts if it is still there 0.5 s later.
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
    """Say who has a port: process, program and user, as far as they can be seen."""
    who = next((listener for listener in listeners if listener.pid), listeners[0])
    process = f"pid {who.pid} ({processes.name(who.pid, proc)})" if who.pid else "a process that this user cannot see"
    return f"port {who.port} is held by {process}, of the user {_name_of(who.uid)}"


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)
