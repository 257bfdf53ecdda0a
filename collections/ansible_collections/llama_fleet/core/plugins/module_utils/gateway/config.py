# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Write HAProxy's configuration for a gateway. It runs on HAProxy 2.6 and later."""

from __future__ import annotations

import hashlib
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gateway import contents as files
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.frontend import error_body, frontend

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.options import Options
    from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.servers import Model, Server

CONFIGURATION = "haproxy.cfg"
SOCKET, STATES, LOCK = "admin.sock", "servers.state", ".lock"
# Before the name of a back end: its servers without a limit, for calls that need no slot. Models begin otherwise.
SMALL = "small-"
_DIGEST = "@DIGEST@"
# A name that does not resolve leaves its server out, and does not keep the gateway from starting.
_RESOLVED = "init-addr libc,last,none"
_RETRIES = {"connect": "conn-failure", "unanswered": "conn-failure empty-response response-timeout"}


def render(options: Options, models: typing.Sequence[Model], certificate: str = "") -> str:
    """Return the text of haproxy.cfg. ``certificate`` is what TLS uses: a new one makes another text."""
    lines = [
        *_global(options, _short(certificate) if certificate else ""),
        *_defaults(options),
        *frontend(options, models),
        *_metrics(options),
        *(line for model in models for line in _backends(options, model)),
    ]
    text = "\n".join(lines) + "\n"
    return text.replace(_DIGEST, _short(text))


def digest(text: str) -> str:
    """Return the digest in a configuration, which the process that runs it tells."""
    match = re.search(r"^    description ([0-9a-f]{16})$", text, re.MULTILINE)
    return match.group(1) if match else ""


def without_secrets(text: str) -> str:
    """Return a configuration, or what HAProxy says of it, without the servers' key."""
    return re.sub(r'(set-header authorization "Bearer ).*"', r'\1********"', text)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _global(options: Options, certificate: str) -> list[str]:
    root = options.root
    # Room for the headers beside the largest body.
    buffer = (options.max_body << 20) + (64 << 10)
    return [
        "# Written by llama-fleet: changes made here by hand are lost. Change the role's variables instead.",
        "global",
        f"    description {_DIGEST}",
        *([f"    # certificate {certificate}"] if certificate else []),
        # A change of the script is one of the configuration, which the process tells.
        f"    # script {_short(files.script(options))}",
        "    log stdout len 8192 format raw local0",
        f"    stats socket {options.runtime_root / SOCKET} mode 600 level admin expose-fd listeners",
        f"    server-state-file {options.runtime_root / STATES}",
        f"    lua-load {root / files.SCRIPT}",
        # The name of the model may come last in the body.
        f"    tune.bufsize {buffer}",
        # Without it, HTTP/2 announces frames as large as the buffer, and clients get empty answers.
        "    tune.h2.max-frame-size 16384",
        "    hard-stop-after 1h",
    ]


def _defaults(options: Options) -> list[str]:
    busy = "every server of the model is busy or down"
    answers = {
        400: ("invalid_request_error", "the request is not valid HTTP", ""),
        408: ("invalid_request_error", "the request did not arrive in time", ""),
        500: ("server_error", "the gateway failed", ""),
        502: ("server_error", "the server ended the connection without an answer", ""),
        503: ("server_error", busy, " hdr Retry-After 5"),
        504: ("server_error", f"no answer within {options.timeout} s", ""),
    }
    return [
        "defaults",
        "    mode http",
        "    log global",
        "    option http-no-delay",
        "    option abortonclose",
        # Only a connection that failed is tried again by default: no byte was sent, so it is safe for POST.
        f"    retry-on {_RETRIES[options.retry]}",
        "    retries 3",
        "    option redispatch 1",
        "    http-reuse never",
        "    load-server-state-from-file global",
        "    timeout connect 2s",
        # Not the checks' interval: a busy host that answers late would be taken for a dead one, and its requests cut.
        "    timeout check 5s",
        "    timeout http-request 30s",
        "    timeout http-keep-alive 60s",
        f"    timeout queue {options.queue_timeout}s",
        f"    timeout client {options.timeout}s",
        f"    timeout server {options.timeout}s",
        "    option clitcpka",
        "    option srvtcpka",
        *(
            f"    http-error status {code} content-type application/json string {error_body(kind, message, code)}{more}"
            for code, (kind, message, more) in answers.items()
        ),
    ]


def _metrics(options: Options) -> list[str]:
    return [
        "backend keys",
        "    stick-table type string len 64 size 100k expire 10m store http_req_rate(60s),conn_cur",
        "frontend metrics",
        f"    bind 127.0.0.1:{options.metrics_port}",
        "    no log",
        "    http-request use-service prometheus-exporter if { path /metrics }",
        "    http-request return status 404",
    ]


def _backends(options: Options, model: Model) -> list[str]:
    affine = [
        "    balance hash var(txn.conversation)",
        "    hash-type consistent",
        f"    hash-balance-factor {options.overload}",
    ]
    key = f'    http-request set-header authorization "Bearer {_escaped(options.backend_key)}"'
    common = [
        "    http-request del-header authorization",
        "    http-request del-header x-api-key",
        *([key] if options.backend_key else []),
    ]
    slow = f" slowstart {options.slow_start}s" if options.slow_start else ""
    return [
        f"backend {model.backend}",
        *(affine if options.affinity == "conversation" else ["    balance leastconn"]),
        *common,
        "    option httpchk GET /health",
        "    http-check expect status 200",
        f"    default-server check inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions {_RESOLVED}{slow}",
        *(f"{_server(server)} maxconn {server.slots} weight {server.weight}" for server in model.servers),
        # Small calls need no slot of the server, so that they do not wait for one.
        f"backend {SMALL}{model.backend}",
        "    balance roundrobin",
        *common,
        f"    default-server {_RESOLVED}",
        *(f"{_server(server)} track {model.backend}/{server.label}" for server in model.servers),
    ]


def _server(server: Server) -> str:
    address = f"[{server.address}]" if ":" in server.address else server.address
    # Without a name to check, every trusted certificate would do.
    checked = f"verifyhost {server.address} sni str({server.address}) check-sni {server.address}"
    secure = f" ssl verify required ca-file @system-ca check-ssl {checked}" if server.tls else ""
    return f"    server {server.label} {address}:{server.port}{secure}"


def _escaped(value: str) -> str:
    """Return ``value`` for a format string between double quotes."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("%", "%%")
