# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Check whether an instance could run and listen on this host, as its own stage would, without release or model."""

from __future__ import annotations

import dataclasses
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.check import Check, fine, wrong
from ansible_collections.llama_fleet.core.plugins.module_utils.release.store import record_of
from ansible_collections.llama_fleet.core.plugins.module_utils.server import host_checks
from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import options as server_options
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.store import Store

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import RuntimeHost
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtime import Runtime
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

# Codes by the subject of a problem; others are about the variables or a file that they name.
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
    """The checks of an instance, the runtime that would be used, and the instance's current process ids."""

    checks: tuple[Check, ...]
    runtime: type[Runtime]
    pids: tuple[int, ...]


def look(options: Options, host: RuntimeHost) -> Server:
    """Check everything about the instance that needs neither its release nor its model."""
    instance = Instance(options, host)
    own = instance.own_processes()
    values = server_options.option_problems(options)
    on_host = host_checks.instance_problems(instance, own, True, {problem.subject for problem in values})
    checks = [wrong("variables", problem) for problem in values]
    checks += [wrong(_CODES.get(problem.subject, "server"), problem) for problem in on_host]
    codes = {check.code for check in checks}
    if "runtime" not in codes:
        checks.append(fine("runtime", "llama_server_runtime", instance.kind.name))
    if not codes & {"port", "address", "variables"}:
        state = "used by this instance itself" if own else "free"
        checks.append(fine("port", "llama_server_port", f"{options.host}:{options.port}, {state}"))
    return Server(tuple(checks), instance.kind, tuple(process.pid for process in own))


def present(options: Options, host: RuntimeHost) -> tuple[type[Runtime], tuple[int, ...]]:
    """Return the runtime that would be used, and the instance's own processes, which a new one replaces."""
    instance = Instance(options, host)
    return instance.kind, tuple(instance.pids())


def releases(instances: typing.Mapping[str, typing.Mapping[str, typing.Any]]) -> dict[str, dict[str, str]]:
    """Return what each instance's current release records of itself; ``instances`` are role variables by name."""
    records = {}
    for name, variables in instances.items():
        current = Store(pathlib.Path(variables["llama_server_root"]) / "instances" / name).current()
        if current and current.manifest.get("release"):
            records[name] = record_of(pathlib.Path(str(current.manifest["release"])))
    return records
