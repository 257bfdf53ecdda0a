# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Find the server to talk to: an instance of this machine, or a URL."""

import os
import pathlib
import re
import urllib.parse
from collections.abc import Mapping

from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import trust as server_trust
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.client import base_of
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import this_host
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.instance_name import is_instance_name
from ansible_collections.llama_fleet.core.plugins.module_utils.server.status.info import Inspector
from ansible_collections.llama_fleet.core.plugins.module_utils.server.status.seen import Seen
from llama_fleet.chat.server import Target, UnreachableError
from llama_fleet.errors import FleetError, UsageError

KEY_VARIABLE = "LLAMA_API_KEY"
DEFAULT = "default"
_UP = "Fix: Start it with './llama-fleet up'."


def of_url(url: str, key: str = "", authority: str = "", environment: Mapping[str, str] = os.environ) -> Target:
    """Return the server at ``url``, with or without the ending /v1. Raises UsageError."""
    try:
        place = urllib.parse.urlsplit(url)
        is_usable = place.scheme in ("http", "https") and bool(place.hostname) and place.port != 0
        is_usable = is_usable and place.username is None and not re.search(r"[^!-~]", url)
    except ValueError:
        is_usable = False
    if not is_usable:
        raise UsageError(f"--url: expected http://HOST:PORT or https://HOST:PORT without a user, found '{url}'.")
    path = place.path.rstrip("/").removesuffix("/v1").rstrip("/")
    base = f"{place.scheme}://{place.netloc}{path}"
    return Target(base, key or environment.get(KEY_VARIABLE, ""), authority)


def of_instance(
    root: pathlib.Path,
    runtime_root: pathlib.Path,
    name: str = "",
    key: str = "",
    environment: Mapping[str, str] = os.environ,
) -> Target:
    """Return the instance ``name`` of this machine, or its only one. Raises FleetError if it does not run.

    Its key is ``key``, or that of the environment, or the first one in its key file.
    """
    inspector = Inspector(root, runtime_root, this_host())
    seen = inspector.see(_name(inspector.names(), name, root))
    generation, process = seen.current, seen.process
    if generation is None:
        raise FleetError(_unreadable(seen))
    if process is None:
        raise UnreachableError(f"The instance {seen.name} does not run. {_UP}")
    options = {**generation.options, "host": generation.host, "port": generation.port}
    return Target(
        base_of(options),
        key or environment.get(KEY_VARIABLE, "") or generation.api_key,
        trust=server_trust.of(generation, process),
    )


def _name(names: list[str], asked: str, root: pathlib.Path) -> str:
    """Return the instance that is meant. Raises UsageError."""
    if asked and not is_instance_name(asked):
        raise UsageError(f"--instance: expected the name of an instance, found '{asked}'.")
    if not names:
        raise FleetError(f"There is no instance below {root}. {_UP}")
    if asked and asked not in names:
        raise UsageError(f"--instance: expected one of {', '.join(names)}, found '{asked}'.")
    if asked or len(names) == 1:
        return asked or names[0]
    if DEFAULT in names:
        return DEFAULT
    raise UsageError(f"This machine has the instances {', '.join(names)}. Fix: Name one with --instance.")


def _unreadable(seen: Seen) -> str:
    if seen.unreadable:
        return f"{seen.unreadable[0]}. Fix: Run the command as root, or name the server with --url."
    return f"The instance {seen.name} has no generation. {_UP}"
