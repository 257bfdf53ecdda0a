# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Give child processes (git, pip, CMake) the proxies and authorities that this project's own requests use."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
import tempfile
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import authorities, proxies
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import RefusedError, origin_of
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Call, Result, Runner, through

_WEB = ("http://", "https://")
# For git, which needs a look at its own configuration first, see git.py.
_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
Environment = typing.Mapping[str, str]


@contextlib.contextmanager
def environment(url: str = "") -> typing.Iterator[dict[str, str]]:
    """Yield what a child that asks ``url`` needs in its environment; empty if this process's own is enough.

    Without ``url`` it may ask any server. Raises RefusedError if a variable names no usable proxy.
    """
    with authority_file() as bundle:
        yield {**proxy_variables(url), **(dict.fromkeys(_BUNDLES, bundle) if bundle else {})}


@contextlib.contextmanager
def builds(run: Runner) -> typing.Iterator[Runner]:
    """Yield a Runner for programs that may ask any server, such as CMake with a source that downloads something.

    Proxies that cannot be used are left out, because most builds need no network.
    """
    with authority_file() as bundle:
        network = dict.fromkeys(_BUNDLES, bundle) if bundle else {}
        with contextlib.suppress(RefusedError):
            network.update(proxy_variables(""))

        def execute(call: Call) -> Result:
            on_line = call.on_line
            masked = None if on_line is None else lambda line: on_line(without_secrets(line))
            done = dataclasses.replace(call, env={**network, **(call.env or {})}, on_line=masked).by(run)
            return Result(done.code, without_secrets(done.stdout), without_secrets(done.stderr))

        yield through(execute)


def proxy_variables(url: str, given: Environment | None = None) -> dict[str, str]:
    """Return the variables of proxies for a child that asks ``url``; empty if ``given`` has none.

    Lower and upper case are both set, because each tool reads another one first. If ``url`` is reached directly, its
    host is added to no_proxy, because older tools do not know networks and ports there. Raises RefusedError.
    """
    settings = proxies.read(given)
    usable = {scheme: proxies.parse(*setting) for scheme, setting in settings.settings.items() if setting[1]}
    if not usable:
        return {}
    direct = [rule.written for rule in settings.rules]
    if url.startswith(_WEB) and settings.find(url) is None:
        host = urllib.parse.urlsplit(f"//{origin_of(url)[1]}").hostname or ""
        direct += [host, f"[{host}]"] if ":" in host else [host]
    values = {
        **{f"{scheme}_proxy": usable[scheme].url if scheme in usable else "" for scheme in ("http", "https")},
        "all_proxy": "",
        "no_proxy": "*" if "*" in direct else ",".join(dict.fromkeys(direct)),
    }
    return {**values, **{name.upper(): value for name, value in values.items()}}


@contextlib.contextmanager
def authority_file() -> typing.Iterator[str]:
    """Yield the path of a temporary file with all authorities, which others may read; empty if none are named.

    Most tools know one file only.
    """
    with contextlib.ExitStack() as stack:
        yield _authority_file(stack) if authorities.named() else ""


def _authority_file(stack: contextlib.ExitStack) -> str:
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="llama-fleet-ca-"))
    os.chmod(folder, 0o755)
    path = os.path.join(folder, "authorities.pem")
    with open(path, "wb") as file:
        file.write(authorities.bundle())
    os.chmod(path, 0o644)
    return path


def without_secrets(text: str, given: Environment | None = None) -> str:
    """Return the output of a child without the passwords of the proxies."""
    for variable, value in proxies.read(given).settings.values():
        with contextlib.suppress(RefusedError):
            if value:
                text = _hidden(text, proxies.parse(variable, value), value)
    return text


def _hidden(text: str, proxy: proxies.Proxy, value: str) -> str:
    plain = f"{proxy.user}:{proxy.password}"
    written = value.partition("://")[2].rpartition("@")[0] or value.rpartition("@")[0]
    quoted = proxy.url.partition("://")[2].rpartition("@")[0]
    token = base64.b64encode(plain.encode()).decode()
    for secret in (written, quoted, plain, token) if proxy.user else ():
        text = text.replace(secret, "***")
    return text


@contextlib.contextmanager
def unset() -> typing.Iterator[None]:
    """Remove the variables from this process's environment for a moment, for a library that fails at some values."""
    names = {*proxies.VARIABLES, *(name.upper() for name in proxies.VARIABLES), *authorities.VARIABLES}
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
