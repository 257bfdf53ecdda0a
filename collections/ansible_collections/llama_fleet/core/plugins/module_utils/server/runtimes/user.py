# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Choose the user of a server without a unit or container: one without privileges, if this process is root."""

from __future__ import annotations

import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands, handover
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import router as server_router

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

_FIRST_PORT = pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def number(options: Options) -> int:
    """Return the number of the instance's user, the same as in a container; 0 if it has to be this process's own."""
    return 0 if not handover.may_become_others() or _in_the_way(options) else server_mounts.container_user(options)


def runner(options: Options, run: commands.Runner) -> commands.Runner:
    """Return a runner of the release's programs as the server's user; ``run`` itself if that is our user or a fake."""
    user = number(options) if run is commands.run else 0
    return commands.as_user(user, {"HOME": "/"}) if user else run


def remarks(options: Options) -> list[str]:
    """Return a warning if a file that an ordinary user cannot read makes the server run as root."""
    hidden = _in_the_way(options) if handover.may_become_others() else ""
    if not hidden:
        return []
    where = "Put it below /opt, /srv or /var/lib."
    return [f"llama-server runs as root, for a user without rights cannot read {hidden}. {where}"]


def port_problems(options: Options, first_port: pathlib.Path = _FIRST_PORT) -> list[Problem]:
    """Return a problem if only root may listen on the port and the server will not run as root."""
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
    return handover.blocked([str(options.server), *places, *server_router.places(options).values()])
