# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Who may use an instance: its keys, its certificate, and whether it may listen without a key."""

from __future__ import annotations

import ipaddress
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import certificate as server_certificate

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options


def keys(options: Options) -> list[str]:
    """Every key that requests may carry, once."""
    return list(dict.fromkeys([*([options.api_key] if options.api_key else []), *options.api_keys]))


def key_file(options: Options) -> str:
    """The content of the key file: a key a line; empty where no key is asked for, and then there must be no such
    file.
    """
    return "".join(f"{key}\n" for key in keys(options))


def is_loopback(host: str) -> bool:
    """Whether only this host reaches ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def problems(options: Options) -> list[Problem]:
    """What is wrong with keys, certificate and address, without a look at any file. No key is in what is said."""
    return [*_keys(options), *_pair(options), *_open(options)]


def _keys(options: Options) -> typing.Iterator[Problem]:
    fit = "printable ASCII without spaces, and no # first"
    for variable, given in (
        ("llama_server_api_key", [options.api_key] if options.api_key else []),
        ("llama_server_api_keys", options.api_keys),
    ):
        if "" in given:
            yield Problem(
                variable,
                "an empty key",
                "keys that are not empty, or no list",
                "remove it, or see why the secret is empty",
            )
        if any(key and not _fits(key) for key in given):
            yield Problem(
                variable,
                "a key that a key file or a request cannot hold",
                fit,
                "make another, such as with openssl rand -hex 32",
            )
    if options.log_level == "debug" and len(keys(options)) == 1:
        wanted = "info, or a second key in llama_server_api_keys"
        yield Problem("llama_server_log_level", "debug with one key, whose end llama-server then logs", wanted)


def _fits(key: str) -> bool:
    return key.isascii() and key.isprintable() and " " not in key and not key.startswith("#")


def _pair(options: Options) -> typing.Iterator[Problem]:
    if bool(options.tls_certificate) != bool(options.tls_key):
        given, missing = ("tls_certificate", "tls_key") if options.tls_certificate else ("tls_key", "tls_certificate")
        yield Problem(f"llama_server_{missing}", f"nothing beside llama_server_{given}", "both of them, or none")


def _open(options: Options) -> typing.Iterator[Problem]:
    if is_loopback(options.host) or keys(options) or options.allow_unauthenticated:
        return
    # A certificate says who the server is, and asks nobody who they are.
    found = (
        f"{options.host} with TLS, which lets everybody in, and no key"
        if options.tls_certificate
        else f"{options.host} without a key"
    )
    ways = (
        "set llama_server_api_key, or llama_server_allow_unauthenticated: true where whoever reaches the port may "
        "use it"
    )
    yield Problem("llama_server_host", found, "127.0.0.1, or a server that other hosts cannot use freely", ways)


def tls_problems(options: Options, now: float) -> list[Problem]:
    """What is wrong with the files of certificate and key, at ``now`` in seconds of the epoch."""
    if not options.tls_certificate or not options.tls_key:
        return []
    return server_certificate.problems(pathlib.Path(options.tls_certificate), pathlib.Path(options.tls_key), now)
