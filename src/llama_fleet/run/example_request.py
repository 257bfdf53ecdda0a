# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Build a shell line that asks a server a question from this machine, without a key in process arguments."""

import json
import os
import shlex
import typing
import urllib.parse
from collections.abc import Mapping

from ansible_collections.llama_fleet.core.plugins.module_utils.host.ports import is_loopback

_KEY_FLAG = "--api-key-file"
_BODY = json.dumps({"messages": [{"role": "user", "content": "Hello!"}]})


def lines(
    result: Mapping[str, typing.Any], address: str = "", environment: Mapping[str, str] = os.environ
) -> list[str]:
    """Return the shell lines that query the server in ``result``, a result of the role llama_server.

    ``address`` is the SSH address of its host, empty for this machine. A server that listens on loopback is queried
    through an SSH tunnel.
    """
    words = ["curl", f"{result['endpoint']}/v1/chat/completions", "-H", "Content-Type: application/json"]
    certificate = _place(result.get("certificate", ""), address)
    key = _key(result.get("command") or [], address, environment)
    ending = f"{f' --cacert {certificate}' if certificate else ''}{' -H @-' if key else ''} -d {shlex.quote(_BODY)}"
    asking = f"{f'{key} | ' if key else ''}{shlex.join(words)}{ending}"
    forwarding = tunnel(str(result["endpoint"]), address) if address else ""
    return [*([f"{forwarding}  # in another terminal"] if forwarding else []), asking]


def tunnel(endpoint: str, address: str) -> str:
    """Return the ssh line that forwards the port of a loopback endpoint of the host at ``address``.

    Return an empty text for any other or a malformed endpoint.
    """
    try:
        url = urllib.parse.urlsplit(endpoint)
        forwarded = shlex.quote(f"{url.port}:{url.netloc}") if is_loopback(url.hostname or "") else ""
    except ValueError:
        return ""
    return f"ssh -N -L {forwarded} {shlex.quote(address)}" if forwarded else ""


def _key(command: list[str], address: str, environment: Mapping[str, str]) -> str:
    """Return the shell command that prints the header with the API key; empty without a key."""
    if _KEY_FLAG not in command[:-1]:
        return ""
    if not address and environment.get("LLAMA_API_KEY"):
        return "printf 'Authorization: Bearer %s\\n' \"$LLAMA_API_KEY\""
    file = command[command.index(_KEY_FLAG) + 1]
    return f"{_reader(file, address)} | sed 's/^/Authorization: Bearer /;q'"


def _place(file: str, address: str) -> str:
    """Return a shell word by which a local program reads the file; empty without a file."""
    if not file:
        return ""
    return f"<({_reader(file, address)})" if address else shlex.quote(file)


def _reader(file: str, address: str) -> str:
    """Return the shell command that prints a file which only root may read."""
    if address:
        return f"ssh {shlex.quote(address)} {shlex.quote(f'sudo cat {shlex.quote(file)}')}"
    return f"{'' if os.access(file, os.R_OK) else 'sudo '}cat {shlex.quote(file)}"
