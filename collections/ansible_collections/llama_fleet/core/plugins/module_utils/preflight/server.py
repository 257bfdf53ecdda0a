# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Whether an instance could run and listen here: what its own stage would say, before there is a release or a model."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.check import Check, fine, wrong
from ansible_collections.llama_fleet.core.plugins.module_utils.server import host_checks
from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import options as server_options

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import Host
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtime import Runtime
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
    runtime: type[Runtime]
    pids: tuple[int, ...]


def look(options: Options, host: Host) -> Server:
    """Everything about the instance that needs neither its release nor its model."""
    instance = Instance(options, host)
    own = instance.own_processes()
    values = server_options.problems(options)
    on_host = host_checks.problems(instance, own, True, {problem.subject for problem in values})
    found = [wrong("variables", problem) for problem in values]
    found += [wrong(_CODES.get(problem.subject, "server"), problem) for problem in on_host]
    codes = {check.code for check in found}
    if "runtime" not in codes:
        found.append(fine("runtime", "llama_server_runtime", instance.kind.name))
    if not codes & {"port", "address", "variables"}:
        held = "this instance itself has" if own else "nobody has"
        found.append(fine("port", "llama_server_port", f"{options.host}:{options.port}, which {held}"))
    return Server(tuple(found), instance.kind, tuple(process.pid for process in own))


def present(options: Options, host: Host) -> tuple[type[Runtime], tuple[int, ...]]:
    """The runtime that would be used, and the instance's own processes, which make room for what comes."""
    instance = Instance(options, host)
    return instance.kind, tuple(instance.pids())
