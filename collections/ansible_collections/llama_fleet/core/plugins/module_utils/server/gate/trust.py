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
        """Return the sockets of the instance that a connection to ``host`` and ``port`` may reach; none where
        nobody listens. Raises StrangerError.
        """
        found = ports.listeners(port, host, self.proc, [self.process.pid])
        strangers = [listener for listener in found if not self._is_own(listener)]
        if strangers:
            raise StrangerError(held(strangers, self.proc))
        return frozenset(listener.inode for listener in found)

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
