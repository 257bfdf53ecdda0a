# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""How a llama-server is asked: over its own HTTP, from the host that it runs on."""

from __future__ import annotations

import dataclasses
import http.client
import json
import ssl
import typing
import urllib.error
import urllib.request


@dataclasses.dataclass(frozen=True)
class Reply:
    """``status`` is 0 where nobody answered."""

    status: int
    body: typing.Mapping[str, typing.Any]
    text: str = ""


Ask = typing.Callable[[str, typing.Optional[typing.Mapping[str, typing.Any]], float], Reply]


def endpoint(host: str, port: int, secure: bool = False) -> str:
    """Where a client on this host reaches a server that listens on ``host``."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"{'https' if secure else 'http'}://{reached}:{port}"


def asker(base: str, api_key: str = "") -> Ask:
    """Asks a server by HTTP: never through a proxy, with its key, trusting its own certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {api_key}"} if api_key else {})}

    def ask(path: str, payload: typing.Mapping[str, typing.Any] | None, timeout: float) -> Reply:
        data = None if payload is None else json.dumps(payload).encode("utf-8")
        request = urllib.request.Request(base + path, data=data, headers=headers)
        try:
            with opener.open(request, timeout=timeout) as response:
                return _reply(response.status, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return _reply(error.code, error.read())
        except (OSError, http.client.HTTPException) as error:
            return Reply(0, {}, str(error))

    return ask


def _reply(status: int, data: bytes) -> Reply:
    text = data.decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except ValueError:
        body = {}
    return Reply(status, body if isinstance(body, dict) else {}, text[:300])
