# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Whether an instance could run and listen here: what its own stage would say, before there is a release or a model."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.check import Check, fine, wrong
from ansible_collections.llama_fleet.core.plugins.module_utils.server import plan as server_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import options as server_options

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

# By what a problem is about; what is not here is of the variables, or of a file that they name.
_CODES = {
    "llama_server_port": "port",
    "llama_server_host": "address",
    "llama_server_root": "rights",
    "llama_server_runtime_root": "rights",
    **dict.fromkeys(("llama_server_runtime", "llama_server_image", "podman", "docker", "docker compose"), "runtime"),
    **dict.fromkeys(("NVIDIA CDI", "NVIDIA Container Toolkit"), "runtime"),
}


@dataclasses.dataclass(frozen=True)
class Server:
    """What was found: ``runtime`` is the one that would be used, ``pids`` are the instance's own now."""

    checks: tuple[Check, ...]
    runtime: str
    pids: tuple[int, ...]


def look(options: Options, host: server_plan.Host) -> Server:
    """Everything about the instance that needs neither its release nor its model."""
    planner = server_plan.Planner(options, host, dry=True)
    own = planner.own_processes()
    values = server_options.problems(options)
    on_host = planner.host_problems(own, {problem.subject for problem in values})
    found = [wrong("variables", problem) for problem in values]
    found += [wrong(_CODES.get(problem.subject, "server"), problem) for problem in on_host]
    codes = {check.code for check in found}
    if "runtime" not in codes:
        found.append(fine("runtime", "llama_server_runtime", planner.runtime_name))
    if not codes & {"port", "address", "variables"}:
        held = "this instance itself has" if own else "nobody has"
        found.append(fine("port", "llama_server_port", f"{options.host}:{options.port}, which {held}"))
    return Server(tuple(found), planner.runtime_name, tuple(process.pid for process in own))


def present(options: Options, host: server_plan.Host) -> tuple[str, tuple[int, ...]]:
    """The runtime that would be used, and the instance's own processes, which make room for what comes."""
    planner = server_plan.Planner(options, host, dry=True)
    return planner.runtime_name, tuple(process.pid for process in planner.own_processes())
