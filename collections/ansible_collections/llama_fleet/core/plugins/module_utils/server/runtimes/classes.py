# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
# Made by docs/make_reference.py from module_utils/runtimes.py. Do not edit.
"""List the classes of the runtimes. Each is imported by name, because hosts get only files that are."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.docker import DockerRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.exec import ExecRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.process import ProcessRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.quadlet import QuadletRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.systemd import SystemdRuntime

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtime import Runtime

ALL: tuple[type[Runtime], ...] = (
    SystemdRuntime,
    QuadletRuntime,
    DockerRuntime,
    ProcessRuntime,
    ExecRuntime,
)
