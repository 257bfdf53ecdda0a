# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Check who may use an instance: its keys, its certificate, and whether it may listen without a key."""

from __future__ import annotations

import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.ports import is_loopback
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.certificate import certificate_problems

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options


def keys(options: Options) -> list[str]:
    """Return every key that requests may use, without duplicates."""
    return list(dict.fromkeys([*([options.api_key] if options.api_key else []), *options.api_keys]))


def key_file(options: Options) -> str:
    """Return the content of the key file, one key per line. If it is empty, the file must not exist."""
    return "".join(f"{key}\n" for key in keys(options))


def secret_problems(options: Options) -> list[Problem]:
    """Return the problems of keys, certificate and address, without reading files. No message contains a key."""
    return [*_keys(options), *_pair(options), *_open(options)]


def _keys(options: Options) -> typing.Iterator[Problem]:
    valid = "printable ASCII without spaces, and no # first"
    for variable, given in (
        ("llama_server_api_key", [options.api_key] if options.api_key else []),
        ("llama_server_api_keys", options.api_keys),
    ):
        if "" in given:
            fix = "remove it, or find out why the secret is empty"
            yield Problem(variable, "an empty key", "keys that are not empty, or no list", fix)
        if any(key and not _fits(key) for key in given):
            unsafe, fix = "a key that a key file or a request cannot hold", "create one with openssl rand -hex 32"
            yield Problem(variable, unsafe, valid, fix)
    if options.log_level == "debug" and len(keys(options)) == 1:
        unsafe = "debug with only one key, whose last characters llama-server logs at that level"
        yield Problem("llama_server_log_level", unsafe, "info, or a second key in llama_server_api_keys")


def _fits(key: str) -> bool:
    return key.isascii() and key.isprintable() and " " not in key and not key.startswith("#")


def _pair(options: Options) -> typing.Iterator[Problem]:
    if bool(options.tls_certificate) != bool(options.tls_key):
        given, missing = ("tls_certificate", "tls_key") if options.tls_certificate else ("tls_key", "tls_certificate")
        yield Problem(f"llama_server_{missing}", f"nothing beside llama_server_{given}", "both of them, or neither")


def _open(options: Options) -> typing.Iterator[Problem]:
    if is_loopback(options.host) or keys(options) or options.allow_unauthenticated:
        return
    # A certificate identifies the server, not its clients.
    open_server = (
        f"{options.host} with TLS, which admits every client, and no key"
        if options.tls_certificate
        else f"{options.host} without a key"
    )
    fix = (
        "set llama_server_api_key, or llama_server_allow_unauthenticated: true if everyone who reaches the port may "
        "use it"
    )
    yield Problem("llama_server_host", open_server, "127.0.0.1, or a server that other hosts cannot use freely", fix)


def tls_problems(options: Options, now: float) -> list[Problem]:
    """Return the problems of the certificate's and key's files at ``now`` (epoch seconds)."""
    if not options.tls_certificate or not options.tls_key:
        return []
    return certificate_problems(pathlib.Path(options.tls_certificate), pathlib.Path(options.tls_key), now)
