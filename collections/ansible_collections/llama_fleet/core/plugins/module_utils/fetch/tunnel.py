# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Ask a proxy for a connection to a server: by CONNECT, or by SOCKS5 (RFC 1928, 1929)."""

from __future__ import annotations

import contextlib
import ipaddress
import math
import select
import socket
import ssl
import threading
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import rules
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import BrokenError, OriginError, RefusedError
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import printable

if typing.TYPE_CHECKING:
    import http.client

    from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.proxies import Proxy

_BLOCK = 1 << 16
_REFUSALS = {
    1: "failed",
    2: "does not allow it",
    3: "cannot reach the network",
    4: "cannot reach the host",
    5: "was refused by the host",
    6: "waited too long",
}
_AGAIN = (1, 3, 4, 5, 6)
Respond = typing.Callable[[socket.socket], "http.client.HTTPResponse"]


def connect(line: socket.socket, netloc: str, proxy: Proxy, respond: Respond) -> None:
    """Ask an HTTP proxy on ``line`` for a connection to ``netloc`` (host and port); ``respond`` reads its answer.

    Raises RefusedError or BrokenError with the proxy's status.
    """
    headers = {"Host": netloc, "User-Agent": "llama-fleet", **proxy.login}
    lines = [f"CONNECT {netloc} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    line.sendall("\r\n".join(lines).encode("latin-1"))
    response = respond(line)
    response.begin()
    status, reason = response.status, response.reason
    response.close()
    if not 200 <= status < 300:
        kind = BrokenError if status >= 500 or status in (408, 425, 429) else RefusedError
        raise _silence(kind, f"the proxy refused CONNECT with HTTP status {printable(f'{status} {reason}', 100)}")


def socks(line: socket.socket, host: str, port: int, proxy: Proxy) -> None:
    """Ask a SOCKS5 proxy on ``line`` for a connection to ``host``. Raises OSError, RefusedError or BrokenError.

    The timeout of ``line`` limits the whole of it, because it would begin anew with each byte.
    """
    patience = line.gettimeout()
    end = time.monotonic() + (math.inf if patience is None else patience)
    _ask(line, host, port, proxy, lambda count: _exactly(line, count, end))
    line.settimeout(patience)


def _ask(line: socket.socket, host: str, port: int, proxy: Proxy, read: typing.Callable[[int], bytes]) -> None:
    line.sendall(b"\x05\x02\x00\x02" if proxy.user else b"\x05\x01\x00")
    version, method = read(2)
    if version != 5:
        raise _silence(RefusedError, "the proxy does not speak SOCKS5")
    if method == 2 and proxy.user:
        user, password = proxy.user.encode()[:255], proxy.password.encode()[:255]
        line.sendall(bytes([1, len(user), *user, len(password), *password]))
        if read(2)[1]:
            raise _silence(RefusedError, "the SOCKS5 proxy refused the user and password")
    elif method:
        wanted = "accepts no way to log in that is known here" if proxy.user else "wants a user and password"
        raise _silence(RefusedError, f"the SOCKS5 proxy {wanted}")
    line.sendall(b"\x05\x01\x00" + _target(host, port, proxy.scheme) + port.to_bytes(2, "big"))
    _version, refusal, _reserved, kind = read(4)
    if refusal:
        error = BrokenError if refusal in _AGAIN else RefusedError
        raise _silence(error, f"the SOCKS5 proxy {_REFUSALS.get(refusal, f'refused with code {refusal}')}")
    read({1: 4, 4: 16}.get(kind) or read(1)[0])
    read(2)


def _silence(kind: type[OriginError], reason: str) -> OriginError:
    return kind(f"no answer ({reason})")


def _target(host: str, port: int, scheme: str) -> bytes:
    """Return the address in the form of SOCKS5; with socks5 this host resolves names, with socks5h the proxy."""
    known = host
    with contextlib.suppress(ValueError):
        known = ipaddress.ip_address(host).compressed
    if scheme == "socks5" and known == host:
        known = str(rules.resolve(host, port)[0][4][0])
    try:
        address = ipaddress.ip_address(known)
    except ValueError:
        name = host.encode("idna")
        return bytes([3, len(name), *name])
    return bytes([1 if address.version == 4 else 4, *address.packed])


def _exactly(line: socket.socket, count: int, end: float) -> bytes:
    """Return the next ``count`` bytes, which must have come at ``end`` of the monotonic clock. Raises OSError."""
    data = b""
    while len(data) < count:
        left = end - time.monotonic()
        if left <= 0:
            raise socket.timeout("no whole answer of the SOCKS5 proxy in time")
        line.settimeout(None if left == math.inf else left)
        more = line.recv(count - len(data))
        if not more:
            raise ConnectionResetError("the proxy closed the connection")
        data += more
    return data


def inner(outer: ssl.SSLSocket, seconds: float) -> socket.socket:
    """Return a socket whose bytes a thread carries through ``outer``, because ssl cannot wrap an SSLSocket again."""
    ours, theirs = socket.socketpair()
    threading.Thread(target=_carry, args=(theirs, outer, seconds), daemon=True).start()
    ours.settimeout(seconds)
    return ours


def _carry(near: socket.socket, far: ssl.SSLSocket, seconds: float) -> None:
    """Pass bytes between ``near`` and ``far`` until one of them ends or takes no byte for ``seconds``."""
    with near, far, contextlib.suppress(OSError):
        near.settimeout(seconds)
        while True:
            ready = [far] if far.pending() else select.select([near, far], [], [])[0]
            if near in ready:
                data = near.recv(_BLOCK)
                far.settimeout(seconds)
                far.sendall(data)
                if not data:
                    return
            if far in ready:
                far.settimeout(0)  # what came may be no data but a message of TLS itself
                with contextlib.suppress(ssl.SSLWantReadError):
                    data = far.recv(_BLOCK)
                    near.sendall(data)
                    if not data:
                        return
