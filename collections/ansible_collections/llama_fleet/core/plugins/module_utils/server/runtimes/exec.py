# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""An instance that the caller executes as its own process, such as the main process of a container."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import requirements as requirement
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import user as server_user
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.process import ProcessRuntime

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import RuntimeHost
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtime import Report
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options


@dataclasses.dataclass
class ExecRuntime(ProcessRuntime):
    """A trial on a temporary port that leaves nothing running.

    The caller executes RV(ignore:command) with the variables in RV(ignore:environment_file), as the container's
    entrypoint does.
    """

    name: typing.ClassVar[str] = "exec"
    automatic: typing.ClassVar[bool] = False
    needs_gate_port: typing.ClassVar[bool] = True

    @staticmethod
    def requirements(options: Options, host: RuntimeHost, report: Report | None) -> list[Problem]:
        del host, report
        return [*requirement.no_limits(options, ExecRuntime.name), *server_user.port_problems(options)]

    @property
    def log(self) -> str:
        return ""

    def present(self) -> bool:
        """There is nothing to stop and nothing to remove once the trial has ended."""
        return False
