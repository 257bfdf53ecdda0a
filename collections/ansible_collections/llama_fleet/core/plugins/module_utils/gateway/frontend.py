# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Write the part of HAProxy's configuration that looks at each request: who asks, for which model, how often."""

from __future__ import annotations

import json
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gateway import contents as files
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.options import EVERY_KEY

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.options import Options
    from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.servers import Model

CERTIFICATE = "tls.pem"
NO_LIMIT = 1_000_000
ANYONE = "anonymous"
# What llama-server computes for clients, with and without OpenAI's prefix. Nothing else passes: endpoints such as
# /slots, /props and /lora-adapters act on one server, and would reach any.
_GENERATING = (
    "/v1/chat/completions /v1/completions /v1/embeddings /v1/responses /v1/messages /v1/rerank /v1/reranking "
    "/v1/audio/transcriptions /chat/completions /completions /completion /embeddings /embedding /infill /rerank "
    "/reranking"
)
_SMALL = "/tokenize /detokenize /apply-template /v1/messages/count_tokens /v1/chat/completions/input_tokens"
# The start of a text tells conversations apart. More of it would cost time for each request.
_START = "bytes(0,1024)"
# Longer than any name that is known, and short enough for a line of the log.
_SHOWN = "bytes(0,256)"
_OPEN = (
    # Every client may ask whether the gateway answers, as with llama-server.
    "    acl is_health path /health /v1/health",
    '    http-request return status 200 content-type application/json string \'{"status":"ok"}\' if is_health',
)


def frontend(options: Options, models: typing.Sequence[Model]) -> list[str]:
    secure = f" ssl crt {options.root / CERTIFICATE} alpn h2,http/1.1" if options.tls_certificate else ""
    address = f"[{options.host}]" if ":" in options.host else options.host
    return [
        "frontend gateway",
        f"    bind {address}:{options.port}{secure}",
        f"    log-format '{_log_format()}'",
        _set("path", f"path,{_SHOWN}"),
        "    http-request del-header x-forwarded-for",
        "    option forwardfor",
        *_OPEN,
        *_who(options),
        *_limits(options),
        *_which(options, models),
        *_conversation(options),
        "    http-request lua.hold",
        # How long it waited: for a hold, and for a slot.
        "    http-after-response set-header x-held-ms %[var(txn.held_ms)] if { var(txn.held_ms) -m int gt 0 }",
        "    http-after-response set-header x-queue-ms %Tw if { var(txn.backend) -m found }",
        "    use_backend small-%[var(txn.backend)] if { path -i " + _SMALL + " }",
        "    use_backend %[var(txn.backend)]",
    ]


def _log_format() -> str:
    fields = {
        "time": '"%tr"',
        "client": '"%ci"',
        "key": '"%[var(txn.key),json(utf8s)]"',
        "method": '"%HM"',
        "path": '"%[var(txn.path),json(utf8s)]"',
        "model": '"%[var(txn.name),json(utf8s)]"',
        "server": '"%s"',
        "status": "%ST",
        # Quoted, as every sample: of a request that is no HTTP, a sample is a hyphen.
        "held_ms": '"%[int(0),add(txn.held_ms)]"',
        "queue_ms": "%Tw",
        "first_byte_ms": "%Tr",
        "total_ms": "%Ta",
        "bytes": "%B",
        "retries": '"%rc"',
        "ended": '"%ts"',
    }
    return "{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}"


def _refuse(code: int, kind: str, message: str, condition: str, more: str = "") -> str:
    body = error_body(kind, message, code)
    return f"    http-request return status {code} content-type application/json lf-string {body}{more} if {condition}"


def _who(options: Options) -> list[str]:
    if not options.api_keys:
        return [_set("key", f"str({ANYONE})")]
    return [
        _set("token", "http_auth_bearer"),
        _set("token", "req.hdr(x-api-key)", unless="token"),
        _set("key", f"var(txn.token),sha2(256),hex,lower,map_str({options.root / files.KEYS})"),
        _refuse(
            401,
            "authentication_error",
            "expected an API key of this gateway in the header Authorization: Bearer",
            "!{ var(txn.key) -m found }",
            " hdr WWW-Authenticate Bearer",
        ),
        # The log and later rules need its name only.
        "    http-request unset-var(txn.token)",
    ]


def _limits(options: Options) -> list[str]:
    if not options.limits:
        return []
    lines = ["    http-request track-sc0 var(txn.key) table keys"]
    kinds = (
        ("concurrent", files.CONCURRENT, "sc0_conn_cur(keys)", "requests at a time", 1),
        ("per_minute", files.PER_MINUTE, "sc0_http_req_rate(keys)", "requests per minute", 60),
    )
    for kind, name, count, words, wait in kinds:
        path = options.root / name
        lines += [
            _set(kind, f"var(txn.key),map_str_int({path})"),
            _set(kind, f"str({EVERY_KEY}),map_str_int({path},{NO_LIMIT})", unless=kind),
            _refuse(
                429,
                "rate_limit_error",
                f"the limit of this key is %[var(txn.{kind})] {words}",
                f"{{ {count},sub(txn.{kind}) gt 0 }}",
                f" hdr Retry-After {wait}",
            ),
        ]
    return lines


def _which(options: Options, models: typing.Sequence[Model]) -> list[str]:
    largest = options.max_body << 20
    listing = f"application/json lf-string %[str({files.ALL}),map_str({options.root / files.LISTING})]"
    lines = [
        f"    http-request return status 200 content-type {listing} if METH_GET {{ path /v1/models /models }}",
        _refuse(
            404,
            "invalid_request_error",
            "this gateway has no such endpoint",
            f"!{{ path -i {_GENERATING} {_SMALL} }}",
        ),
        _refuse(405, "invalid_request_error", "expected POST", "!METH_POST !METH_OPTIONS"),
        "    http-request wait-for-body time 120s if METH_POST",
        _refuse(
            413,
            "invalid_request_error",
            f"expected a body of at most {options.max_body} MiB",
            f"{{ req.body_size gt {largest} }}",
        ),
        _set("name", f"req.hdr(x-model),{_SHOWN}"),
        _set("name", f"{_json('$.model')},{_SHOWN}", unless="name"),
        _set("backend", f"var(txn.name),map_str({options.root / files.NAMES})"),
    ]
    if len(models) == 1:
        # As llama-server itself, which has one model and does not look at the name.
        lines.append(_set("backend", f"str({models[0].backend})", unless="backend"))
    lines.append(
        _refuse(
            404,
            "invalid_request_error",
            "no model '%[var(txn.name),json(utf8s)]' here; GET /v1/models lists the names that this gateway knows",
            "!{ var(txn.backend) -m found }",
        )
    )
    return lines


def _conversation(options: Options) -> list[str]:
    """Return the rules that name a request's conversation: what the client says, else how its messages begin."""
    if options.affinity == "none":
        return []
    samples = ["req.hdr(x-session-id)", _json("$.prompt_cache_key"), _json("$.user")]
    lines = [_set("conversation", sample, unless="conversation") for sample in samples]
    # Messages may have several parts; the first one is text in every client that was tried.
    parts = [[_json(f"$.messages[{number}].content{rest}") for rest in ("", "[0].text")] for number in (0, 1)]
    parts[0].append(_json("$.prompt"))
    lines += [
        _set(f"part{number}", f"{sample},{_START}", unless=f"part{number}")
        for number, choices in enumerate(parts)
        for sample in choices
    ]
    whole = "%[var(txn.part0)]/%[var(txn.part1)]"
    return [*lines, f"    http-request set-var-fmt(txn.conversation) {whole} if !{{ var(txn.conversation) -m found }}"]


def _set(name: str, sample: str, unless: str = "") -> str:
    """Return a rule that sets a variable of the request; with ``unless`` only if that one is not set."""
    condition = f" if !{{ var(txn.{unless}) -m found }}" if unless else ""
    return f"    http-request set-var(txn.{name}) {sample}{condition}"


def _json(path: str) -> str:
    """Return the sample of a value in a request's JSON body."""
    return f"req.body,json_query('{path}')"


def error_body(kind: str, message: str, code: int) -> str:
    """Return an error in OpenAI's form, as a quoted argument of HAProxy. ``message`` may hold a ``%[sample]``."""
    text = json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})
    return "'" + text.replace("'", "\\u0027") + "'"
