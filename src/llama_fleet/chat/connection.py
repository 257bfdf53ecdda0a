# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Guard the connection of one request: end it after its deadline, and let only the instance itself be asked."""

import dataclasses
import socket
import ssl
import threading
import types
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import trust as server_trust

_CONNECTED, _SECURED = "connection.connect_tcp.complete", "connection.start_tls.complete"


class WrongServerError(OSError):
    """An error for a connection that reached another server than the instance; nothing was sent to it."""


@dataclasses.dataclass
class Guard:
    """A watch over a request to ``host`` and ``port`` that is over after ``seconds``.

    A timeout of the socket restarts with each byte, so that a server could hold the request for ever. A ``trust`` is
    that of an instance of this machine. Pass ``trace`` to the HTTP client, which calls it at each step.
    """

    host: str
    port: int
    seconds: float
    trust: server_trust.Trust | None = None
    is_over: bool = False
    _sockets: list[socket.socket] = dataclasses.field(default_factory=list)
    _before: frozenset[str] = frozenset()

    def __enter__(self) -> typing.Self:
        if self.trust:
            self._before = self.trust.listening(self.host, self.port)
            if not self._before:
                raise ConnectionRefusedError("nothing listens on its port")
        self._timer = threading.Timer(self.seconds, self._end)
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: types.TracebackType | None
    ) -> None:
        self._timer.cancel()

    def trace(self, step: str, facts: dict[str, typing.Any]) -> None:
        """Keep the socket of a new connection, and raise WrongServerError before anything is sent to a stranger."""
        if step not in (_CONNECTED, _SECURED):
            return
        stream = facts["return_value"]
        self._sockets = [stream.get_extra_info("socket")]
        try:
            self._require_own(self._sockets[0])
        except OSError:
            stream.close()
            raise

    def _require_own(self, reached: socket.socket) -> None:
        if self.trust and self.trust.listening(self.host, self.port) != self._before:
            raise WrongServerError("its socket was replaced during the connection")
        if self.trust and isinstance(reached, ssl.SSLSocket):
            if self.trust.is_its(reached.getpeercert(binary_form=True)):
                return
            raise WrongServerError("it shows another certificate than the instance's")

    def _end(self) -> None:
        self.is_over = True
        for each in self._sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
