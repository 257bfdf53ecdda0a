# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A site's network: a proxy that relays, tunnels (CONNECT) and speaks SOCKS5, and an authority of the site's own."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import pathlib
import select
import socket
import ssl
import subprocess
import tempfile
import threading
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import authorities, proxies
from ansible_collections.llama_fleet.core.tests.unit.fakes.asking import here
from ansible_collections.llama_fleet.core.tests.unit.raw_server import RawServer

if typing.TYPE_CHECKING:
    import pytest

NAMES = "subjectAltName=DNS:localhost,DNS:models.site,IP:127.0.0.1,IP:::1"


def leave_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the proxies and authorities of the machine that runs the tests from the environment."""
    for name in (*proxies.VARIABLES, *authorities.VARIABLES, "GIT_SSL_CAINFO", "PIP_CERT", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@dataclasses.dataclass(frozen=True)
class Authority:
    """The files of a certificate authority and of a server's certificate that it issued."""

    folder: pathlib.Path

    @property
    def certificate(self) -> str:
        return str(self.folder / "ca.pem")

    def server(self) -> ssl.SSLContext:
        """Return the settings of a server with the issued certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        return context


@functools.cache
def authority() -> Authority:
    """Make an authority and a certificate for ``NAMES`` with openssl, once for a process."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="llama-fleet-authority-"))
    (folder / "names").write_text(NAMES, encoding="ascii")
    new = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    issue = ["openssl", "x509", "-req", "-in", "server.csr", "-CA", "ca.pem"]
    for words in (
        [*new, "-x509", "-subj", "/CN=Site CA", "-keyout", "ca.key", "-out", "ca.pem"],
        [*new, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"],
        [*issue, "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "server.pem"],
    ):
        subprocess.run(words, cwd=folder, check=True, capture_output=True)
    return Authority(folder)


class SiteProxy:
    """A proxy on this machine. It resolves every name that ends in ``.site`` to 127.0.0.1.

    ``asked`` lists what it was asked for, such as ``CONNECT models.site:443`` or ``SOCKS models.site:443``. With
    ``login`` (user:password) it serves that user only. ``refusal`` is the status of all its answers, if it is set,
    and with ``answers_all`` of what is no HTTP too.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        login: str = "",
        tls: ssl.SSLContext | None = None,
        refusal: str = "",
        answers_all: bool = False,
    ) -> None:
        self.asked: list[str] = []
        self._login = login
        self._tls = tls
        self._refusal = refusal
        self._answers_all = answers_all
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        port = int(self._listener.getsockname()[1])
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def url(self, scheme: str = "http", login: str = "") -> str:
        return f"{scheme}://{f'{login}@' if login else ''}{self.address}"

    @contextlib.contextmanager
    def serving(self) -> typing.Iterator[SiteProxy]:
        accepting = threading.Thread(target=self._accept, daemon=True)
        accepting.start()
        try:
            yield self
        finally:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            accepting.join(5)
            self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _address = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.suppress(OSError))
            stack.enter_context(near)
            near.settimeout(30)
            if self._tls:
                near = stack.enter_context(self._tls.wrap_socket(near, server_side=True))
            first = near.recv(1)
            if self._answers_all:
                near.sendall(f"HTTP/1.1 {self._refusal}\r\nContent-Length: 0\r\n\r\n".encode())
                near.recv(1 << 16)  # so that the answer is not lost in a reset
            far = self._socks(near) if first == b"\x05" else self._http(near, first)
            if far is not None:
                carry(near, stack.enter_context(far))

    def _http(self, near: socket.socket, head: bytes) -> socket.socket | None:
        while b"\r\n\r\n" not in head:
            head += near.recv(1)
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _version = first.split(" ")
        self.asked.append(f"{method} {target}")
        headers = {name.lower(): value.strip() for name, _colon, value in (line.partition(":") for line in lines)}
        token = base64.b64encode(self._login.encode()).decode()
        if self._refusal or (self._login and headers.get("proxy-authorization") != f"Basic {token}"):
            status = self._refusal or "407 Proxy Authentication Required"
            offer = 'Proxy-Authenticate: Basic realm="x"\r\n' if status.startswith("407") else ""
            near.sendall(f"HTTP/1.1 {status}\r\n{offer}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
            return None
        if method == "CONNECT":
            far = dial(*target.rsplit(":", 1))
            near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            return far
        parts = urllib.parse.urlsplit(target)
        far = dial(parts.hostname or "", str(parts.port or 80))
        kept = [line for line in lines if not line.lower().startswith("proxy-")]
        path = urllib.parse.urlunsplit(("", "", parts.path, parts.query, ""))
        far.sendall("\r\n".join([f"{method} {path} HTTP/1.1", *kept]).encode("latin-1"))
        return far

    def _socks(self, near: socket.socket) -> socket.socket | None:
        methods = exactly(near, exactly(near, 1)[0])
        if self._login:
            near.sendall(b"\x05\x02" if 2 in methods else b"\x05\xff")
            if 2 not in methods:
                return None
            user = exactly(near, exactly(near, 2)[1])
            password = exactly(near, exactly(near, 1)[0])
            right = f"{user.decode()}:{password.decode()}" == self._login
            near.sendall(b"\x01\x00" if right else b"\x01\x01")
            if not right:
                return None
        else:
            near.sendall(b"\x05\x00")
        kind = exactly(near, 4)[3]
        if kind == 3:
            host = exactly(near, exactly(near, 1)[0]).decode()
        else:
            family = socket.AF_INET if kind == 1 else socket.AF_INET6
            host = socket.inet_ntop(family, exactly(near, 4 if kind == 1 else 16))
        port = int.from_bytes(exactly(near, 2), "big")
        self.asked.append(f"SOCKS {host}:{port}")
        far = dial(host, str(port))
        near.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50")
        return far


def dial(host: str, port: str) -> socket.socket:
    place = "127.0.0.1" if host.endswith(".site") else host.strip("[]")
    return socket.create_connection((place, int(port)), timeout=30)


def exactly(line: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = line.recv(count - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data


def carry(near: socket.socket, far: socket.socket) -> None:
    """Pass bytes in both directions until one end closes; ``near`` may have TLS."""
    other = {near: far, far: near}
    while True:
        waiting = isinstance(near, ssl.SSLSocket) and near.pending()
        for line in [near] if waiting else select.select([near, far], [], [])[0]:
            line.settimeout(0)
            try:
                data = line.recv(1 << 16)
            except (ssl.SSLWantReadError, BlockingIOError):
                continue
            if not data:
                return
            other[line].settimeout(30)
            other[line].sendall(data)


class Site:
    """The servers of one test; the environment names no proxy and no authority at first."""

    def __init__(self, stack: contextlib.ExitStack, environment: pytest.MonkeyPatch) -> None:
        self._stack = stack
        self._environment = environment

    def server(self, host: str = "127.0.0.1", tls: bool = False) -> RawServer:
        return self._stack.enter_context(RawServer(here, host, authority().server() if tls else None).serving())

    def proxy(self, **settings: typing.Any) -> SiteProxy:
        return self._stack.enter_context(SiteProxy(**settings).serving())

    def has(self, **variables: str) -> None:
        for name, value in variables.items():
            self._environment.setenv(name, value)

    def trusts(self) -> None:
        self.has(SSL_CERT_FILE=authority().certificate)
