# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Write the compose file of an instance in a container of docker, as readable YAML and without a library.

It has only keys that both docker compose and the older docker-compose 1.29 know.
"""

from __future__ import annotations

import json
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.quadlet_file import container_name
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import limits as server_limits
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import CUDA, Options

NAME = "compose.yaml"
# The folder for copies of private files, within the instance's folder: /run is empty when docker starts a container at
# boot.
PRIVATE = "private"
_HEADER = """\
# Written by llama-fleet: changes made here by hand are lost. Change the role's variables instead.
# The values of its environment are in the file beside it:
#   set -a; . ./environment; docker compose --project-name {project} --file compose.yaml up --detach
"""
# Text that every version of YAML reads as text without quotes.
_PLAIN = re.compile(r"[A-Za-z/_][A-Za-z0-9_./=-]*")
_WORDS = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")


def render(options: Options, command: typing.Sequence[str], variables: typing.Mapping[str, str]) -> str:
    """Return the file's text. It holds no secret."""
    words = server_mounts.moved(options, command, variables)
    tree = {"services": {"llama-server": _service(options, words, variables)}}
    return "\n".join([_HEADER.format(project=container_name(options)) + "---", *_lines(tree, ""), ""])


def _service(
    options: Options, command: typing.Sequence[str], variables: typing.Mapping[str, str]
) -> dict[str, typing.Any]:
    user = server_mounts.container_user(options)
    return {
        "container_name": container_name(options),
        "image": options.image,
        "pull_policy": "never",
        "entrypoint": [_literal(word) for word in command[:1]],
        "command": [_literal(word) for word in command[1:]],
        # Names without values: compose takes those of its own environment, which is read from the file.
        "environment": [*sorted({*variables, "LLAMA_FLEET_INSTANCE", "LLAMA_FLEET_GENERATION"})],
        "volumes": _volumes(options, command),
        "user": f"{user}:{user}",
        "working_dir": "/",
        "network_mode": "host",
        "read_only": True,
        "tmpfs": ["/tmp"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "healthcheck": {"disable": True},
        # It waits longer after each failure, up to a minute; on-failure would not come back after a boot.
        "restart": "unless-stopped",
        "stop_grace_period": f"{options.stop_timeout}s",
        # The only built-in driver of docker that limits the size of its log.
        "logging": {"driver": "local"},
        **_limits(options, command, variables),
    }


def _volumes(options: Options, command: typing.Sequence[str]) -> list[dict[str, typing.Any]]:
    pairs = [(path, path) for path in server_mounts.mounts(options, command)]
    pairs += [
        (str(options.folder / PRIVATE / file.name), f"{server_mounts.copies(options)}/{file.name}")
        for file in server_mounts.private(options)
    ]
    written = [(path, path) for path in server_mounts.state(options)[:1]]
    return [
        {"type": "bind", "source": _literal(source), "target": _literal(target), "read_only": pair not in written}
        for pair in (*pairs, *written)
        for source, target in [pair]
    ]


def _limits(
    options: Options, command: typing.Sequence[str], variables: typing.Mapping[str, str]
) -> dict[str, typing.Any]:
    memory = server_limits.memory_bytes(options.memory_max, 0)
    limits: dict[str, typing.Any] = {}
    if memory:
        limits["mem_limit"] = memory
    if options.cpu_quota:
        limits["cpus"] = server_limits.processors(options.cpu_quota)
    if server_mounts.locks_memory(options, command, variables):
        limits["ulimits"] = {"memlock": {"soft": -1, "hard": -1}}
    if options.backend == CUDA:
        # All GPUs: LLAMA_ARG_DEVICE selects the ones to compute on, as without a container.
        gpus = {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
        limits["deploy"] = {"resources": {"reservations": {"devices": [gpus]}}}
    return limits


def _literal(value: str) -> str:
    """Return ``value`` as it stands in a file in which compose replaces ``$NAME``."""
    return value.replace("$", "$$")


def _lines(value: typing.Mapping[str, typing.Any], indent: str) -> typing.Iterator[str]:
    """Yield the lines of a tree of mappings, lists and scalars in YAML's block style."""
    for key, item in value.items():
        if isinstance(item, dict):
            yield f"{indent}{key}:"
            yield from _lines(item, f"{indent}  ")
        elif isinstance(item, list) and item:
            yield f"{indent}{key}:"
            for each in item:
                yield from _item(each, f"{indent}  ")
        else:
            yield f"{indent}{key}: {_scalar(item)}"


def _item(value: typing.Any, indent: str) -> typing.Iterator[str]:
    if not isinstance(value, dict):
        yield f"{indent}- {_scalar(value)}"
        return
    for number, line in enumerate(_lines(value, "")):
        yield f"{indent}{'  ' if number else '- '}{line}"


def _scalar(value: typing.Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
