# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A server that answers with whatever bytes a test wants, when it wants: no library would send most of them."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import struct
import threading
import typing

if typing.TYPE_CHECKING:
    import ssl


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request, with the names of its headers in lower case."""

    method: str
    path: str
    headers: typing.Mapping[str, str]

    @property
    def first(self) -> int:
        """The first byte of the requested range."""
        return int(self.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])

    @property
    def authorization(self) -> str:
        return self.headers.get("authorization", "")


Answer = typing.Callable[[Asked, "Peer"], None]


class Peer:
    """The client's end of a connection."""

    def __init__(self, connection: socket.socket, closed: threading.Event) -> None:
        self._connection = connection
        self._closed = closed

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def reply(
        self, status: int, body: bytes = b"", headers: typing.Iterable[tuple[str, str]] = (), length: int | None = None
    ) -> None:
        """Send a whole answer that claims a body of ``length`` bytes; no length is sent for a negative one."""
        told = len(body) if length is None else length
        lines = [
            f"HTTP/1.1 {status} x",
            *([f"Content-Length: {told}"] if told >= 0 else []),
            *(f"{name}: {value}" for name, value in headers),
        ]
        self.send("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + body)

    def dribble(self, data: bytes, seconds: float) -> None:
        """One byte at a time with so many seconds in between, until the client has had enough."""
        for index in range(len(data)):
            self.send(data[index : index + 1])
            if self._closed.wait(seconds):
                return

    def silent(self) -> None:
        """Send nothing more, until the client has gone."""
        with contextlib.suppress(OSError):
            while not self._closed.is_set() and self._connection.recv(1 << 16):
                pass

    def reset(self) -> None:
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()


class RawServer:
    """Has ``answer`` send what each request gets; ``asked`` are the requests that came."""

    def __init__(self, answer: Answer, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.host = host
        self._tls = tls
        self._closed = threading.Event()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=50)
        self.port = int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    @contextlib.contextmanager
    def serving(self) -> typing.Iterator[RawServer]:
        accepting = threading.Thread(target=self._accept, daemon=True)
        accepting.start()
        try:
            yield self
        finally:
            self._closed.set()
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            accepting.join(5)
            self._listener.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.suppress(OSError))
            connection.settimeout(30)
            stack.enter_context(connection)
            if self._tls:
                connection = stack.enter_context(self._tls.wrap_socket(connection, server_side=True))
            head = b""
            while b"\r\n\r\n" not in head:
                block = connection.recv(1 << 16)
                if not block:
                    return
                head += block
            lines = head.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
            method, path, _version = lines[0].split(" ", 2)
            headers = {
                name.lower(): value.strip() for name, _colon, value in (line.partition(":") for line in lines[1:])
            }
            asked = Asked(method, path, headers)
            self.asked.append(asked)
            self.answer(asked, Peer(connection, self._closed))
