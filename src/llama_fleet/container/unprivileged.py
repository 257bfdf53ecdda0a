# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Becomes llama-server without rights, in a container that is started as root."""

import contextlib
import os
import resource
import typing
from collections.abc import Mapping, Sequence

from ansible_collections.llama_fleet.core.plugins.module_utils.host import unprivileged


def execute(command: Sequence[str], environment: Mapping[str, str], user: int) -> typing.NoReturn:
    """Become the server as ``user``, who reads its key and certificate in memory alone. Raises OSError."""
    with unprivileged.handed_over(command, environment, user) as handed:
        for descriptor in handed.descriptors:
            os.set_inheritable(descriptor, True)
        with contextlib.suppress(
            OSError, ValueError
        ):  # a container without that right: then the server says that it could not lock memory
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        unprivileged.become(user)
        os.execve(handed.command[0], handed.command, handed.environment)
