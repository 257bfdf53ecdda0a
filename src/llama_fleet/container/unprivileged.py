# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Execute llama-server as an unprivileged user in a container that starts as root."""

import contextlib
import os
import resource
import typing
from collections.abc import Mapping, Sequence

from ansible_collections.llama_fleet.core.plugins.module_utils.host import handover, unprivileged


def execute(command: Sequence[str], environment: Mapping[str, str], user: int) -> typing.NoReturn:
    """Replace this process with the server as uid ``user``, with key and certificate in memory only. Raises OSError."""
    with handover.handed_over(command, environment, user) as handed:
        for descriptor in handed.descriptors:
            os.set_inheritable(descriptor, True)
        with contextlib.suppress(
            OSError, ValueError
        ):  # not permitted: the server then logs that it could not lock memory
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        unprivileged.become(user)
        os.execve(handed.command[0], handed.command, handed.environment)
