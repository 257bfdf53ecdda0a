# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run unprivileged work of a root process as a user without a name, files or other processes.

The entrypoint of a container imports this too, so it imports as little as possible.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import typing

# Environment variables that may hold a secret of any kind.
_SECRET = re.compile(
    r".*(TOKEN|SECRET|PASSW(OR)?D|CREDENTIAL|API_?KEYS?|ACCESS_KEY|PRIVATE_KEY).*|SSH_AUTH_SOCK", re.IGNORECASE
)
_DEVICES = "/dev"


def device_groups(folder: str = _DEVICES) -> list[int]:
    """List the groups that own GPU device nodes, unless the nodes are readable by everyone."""
    groups = set()
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if name.startswith("nvidia"):
            with contextlib.suppress(OSError):
                status = os.stat(os.path.join(folder, name))
                if (
                    stat.S_ISCHR(status.st_mode)
                    and status.st_gid
                    and status.st_mode & stat.S_IRGRP
                    and not status.st_mode & stat.S_IROTH
                ):
                    groups.add(status.st_gid)
    return sorted(groups)


def identity(user: int) -> dict[str, typing.Any]:
    """Return the arguments that make subprocess.Popen start a process as ``user`` with only its own and the GPU groups.

    Returns an empty dict for user 0.
    """
    return {"user": user, "group": user, "extra_groups": device_groups()} if user else {}


def become(user: int) -> None:
    """Change this process to ``user`` permanently. Raises OSError."""
    os.setgroups(device_groups())
    os.setgid(user)
    os.setuid(user)


def without_secrets(environment: typing.Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the variables whose names suggest a secret."""
    return {name: value for name, value in environment.items() if not _SECRET.fullmatch(name)}
