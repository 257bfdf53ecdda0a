# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Send HTTP requests to a llama-server from its own host."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import ssl
import time
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import trust as server_trust

# Most bytes to read of an answer.
LARGEST = 4 << 20
_CHUNK = 1 << 16
# How a client on this host reaches a server that listens on all addresses.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


@dataclasses.dataclass(frozen=True)
class Reply:
    """An HTTP reply; ``status`` is 0 if there was no answer. A body that is no JSON object is under ``items``."""

    status: int
    body: typing.Mapping[str, typing.Any]
    text: str = ""


Ask = typing.Callable[[str, typing.Optional[typing.Mapping[str, typing.Any]], float], Reply]


def endpoint(host: str, port: int, secure: bool = False) -> str:
    """Return the URL at which a client on this host reaches a server that listens on ``host``."""
    reached = _EVERYWHERE.get(host, f"[{host}]" if ":" in host else host)
    return f"{'https' if secure else 'http'}://{reached}:{port}"


def listens_everywhere(host: str) -> bool:
    """Return whether a server that listens on ``host`` listens on all addresses."""
    return host in _EVERYWHERE


def endpoint_of(options: typing.Mapping[str, typing.Any]) -> str:
    """Return the URL at which a client on this host reaches a server with these options."""
    return endpoint(options["host"], options["port"], bool(server_trust.certificate_path(options)))


def base_of(options: typing.Mapping[str, typing.Any]) -> str:
    """Return the same URL with the prefix of the server's paths, if it has one."""
    return endpoint_of(options) + str((options.get("extra_options") or {}).get("api-prefix", ""))


def asker(base: str, trust: server_trust.Trust | None = None) -> Ask:
    """Return an Ask for the server at ``base``, which never uses a proxy.

    With ``trust`` only the instance itself is asked and given its key; StrangerError is raised if another process
    listens. Without it no key is sent.
    """

    def ask(path: str, payload: typing.Mapping[str, typing.Any] | None, timeout: float) -> Reply:
        try:
            return _reply(*exchange(base, path, payload, timeout, trust))
        except server_trust.StrangerError:
            raise
        except (OSError, ValueError, http.client.HTTPException) as error:
            return Reply(0, {}, str(error))

    return ask


def exchange(
    base: str,
    path: str,
    payload: typing.Mapping[str, typing.Any] | None,
    seconds: float,
    trust: server_trust.Trust | None = None,
) -> tuple[int, bytes]:
    """Return the status and body of the server's answer within ``seconds``.

    Raises OSError, ValueError, HTTPException, and StrangerError.
    """
    end = time.monotonic() + seconds
    place = urllib.parse.urlsplit(base)
    host, port = place.hostname or "", place.port or 0
    with contextlib.closing(_connection(place.scheme, host, port, seconds, trust)) as connection:
        before = trust.listening(host, port) if trust else frozenset("?")
        if not before:
            raise ConnectionRefusedError("nothing listens on its port")
        connection.connect()
        if trust:
            _require_own(connection, before, trust, host, port)
        # /health needs no key, and the listener may not be known yet.
        keyed = {"Authorization": f"Bearer {trust.key}"} if trust and trust.key and path != "/health" else {}
        body = None if payload is None else json.dumps(payload).encode("utf-8")
        method = "GET" if body is None else "POST"
        connection.request(
            method, place.path + path, body, {"Content-Type": "application/json", "Connection": "close", **keyed}
        )
        response = connection.getresponse()
        return response.status, _read(response, end)


def _connection(
    scheme: str, host: str, port: int, seconds: float, trust: server_trust.Trust | None
) -> http.client.HTTPConnection:
    if scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=seconds)
    if trust is None or not trust.certificate:
        raise ConnectionRefusedError("its certificate is not known, so no server can be verified")
    return http.client.HTTPSConnection(host, port, timeout=seconds, context=trust.context())


def _require_own(
    connection: http.client.HTTPConnection, before: frozenset[str], trust: server_trust.Trust, host: str, port: int
) -> None:
    """Raise if the connection may have reached another socket than those of ``before``, or another certificate."""
    if trust.listening(host, port) != before:
        raise ConnectionResetError("its socket was replaced during the connection")
    if isinstance(connection.sock, ssl.SSLSocket) and not trust.is_its(connection.sock.getpeercert(binary_form=True)):
        raise ConnectionRefusedError("it shows another certificate than the instance's")


def _read(response: http.client.HTTPResponse, end: float) -> bytes:
    """Return the body, all of it before ``end``, because a socket's own timeout restarts with each byte."""
    data = b""
    while len(data) <= LARGEST:
        chunk = response.read1(_CHUNK)
        if not chunk:
            return data
        if time.monotonic() >= end:
            break
        data += chunk
    raise TimeoutError("the answer did not end in time")


def _reply(status: int, data: bytes) -> Reply:
    text = data.decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = {}
    return Reply(status, body if isinstance(body, dict) else {"items": body}, text[:300])
