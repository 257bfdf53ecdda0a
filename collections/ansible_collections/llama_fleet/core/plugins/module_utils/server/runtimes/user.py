# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Whom a server runs as that no unit and no container keeps: a user without rights, where this process is root."""

from __future__ import annotations

import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands, unprivileged
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import router as server_router

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

RUNTIMES = ("process", "exec")
_FIRST_PORT = pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def number(options: Options) -> int:
    """Return the number of the instance's user, the same as in a container; 0 where it has to be this one."""
    return 0 if not unprivileged.may_become_others() or _in_the_way(options) else server_mounts.container_user(options)


def runner(options: Options, run: commands.Runner) -> commands.Runner:
    """Return what runs the release's programs as the server will run, and ``run`` where that is this process's
    user, or no real one.
    """
    user = number(options) if run is commands.run else 0
    return commands.as_user(user, {"HOME": "/"}) if user else run


def remarks(options: Options, runtime: str) -> list[str]:
    """Return a sentence on why a server runs as root, where it does."""
    if runtime not in RUNTIMES or not unprivileged.may_become_others():
        return []
    found = _in_the_way(options)
    return (
        [
            (
                f"llama-server runs as root, for a user without rights cannot read {found}. Put it below /opt, /srv or "
                f"/var/lib."
            )
        ]
        if found
        else []
    )


def problems(options: Options, first_port: pathlib.Path = _FIRST_PORT) -> list[Problem]:
    """Return that only root may listen on the port, where the server will be nobody's."""
    try:
        first = int(first_port.read_text(encoding="ascii"))
    except (OSError, ValueError):
        first = 1024
    if options.port >= first or not number(options):
        return []
    wanted = f"a port from {first} on without systemd, where llama-server runs without rights"
    fix = f"choose another, use systemd, or set net.ipv4.ip_unprivileged_port_start to {options.port}"
    return [Problem("llama_server_port", str(options.port), wanted, fix)]


def _in_the_way(options: Options) -> str:
    places = [path for _variable, path in server_mounts.public(options)]
    return unprivileged.blocked([str(options.server), *places, *server_router.places(options).values()])
