# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run the gateway's stage: observe, plan, and apply the plan unless in check mode."""

from __future__ import annotations

import contextlib
import os
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import argument_spec, values
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway import config, contents, servers, unit
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.apply import apply, check
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.frontend import CERTIFICATE
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.host import (
    PROGRAM,
    RECORD,
    GatewayHost,
    Observed,
    observe,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.options import Options, option_problems
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.plan import diff, make_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.runtime import RuntimeSocketError
from ansible_collections.llama_fleet.core.plugins.module_utils.host import files, ports, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import packages

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.stage import Caller

ARGUMENTS = {
    **argument_spec(Options),
    "plan_only": {"type": "bool", "default": False},
}


def run(module: Caller, host: GatewayHost | None = None) -> dict[str, typing.Any]:
    """Provide or remove the gateway, or only report the result in a dry run. Raises ProblemError."""
    host = host or GatewayHost()
    options = Options(**values(Options, module.params))
    raise_if_any(option_problems(options))
    touch = not (module.check_mode or module.params["plan_only"])
    result = (_remove if options.state == "absent" else _provide)(host, options, touch)
    if module.params["plan_only"]:
        return {**result, "changed": False, "would_change": result["changed"]}
    return result


def _provide(host: GatewayHost, options: Options, touch: bool) -> dict[str, typing.Any]:
    wanted = servers.parse(list(options.servers))
    raise_if_any(_host_problems(host, options))
    with files.locked(options.root / config.LOCK) if touch else contextlib.nullcontext():
        return _plan_and_apply(host, options, wanted, touch)


def _plan_and_apply(
    host: GatewayHost, options: Options, wanted: typing.Sequence[servers.Server], touch: bool
) -> dict[str, typing.Any]:
    names = (*contents.contents(options, ()), config.CONFIGURATION, CERTIFICATE)
    seen = observe(host, options, names)
    kept = servers.merged(wanted, servers.parse(seen.recorded) if seen.recorded else (), options.unchanged)
    models = servers.grouped(kept, options.more_aliases)
    raise_if_any([*servers.server_problems(models, options.more_aliases), *_port_problems(options, seen)])
    plan = make_plan(host, options, models, kept, seen)
    if plan.changes and host.program:
        # Also in check mode, because it changes nothing of the gateway.
        check(host, options, models)
    if touch and plan.changes:
        try:
            apply(host, options, models, plan)
        except RuntimeSocketError as error:
            fix = f"see journalctl -u {unit.UNIT}, then run again"
            raise ProblemError(Problem("gateway", str(error), "a gateway that takes commands", fix)) from None
    scheme = "https" if options.tls_certificate else "http"
    address = f"[{options.host}]" if ":" in options.host else options.host
    return {
        "changed": plan.changes,
        "diff": diff(seen, plan),
        "endpoint": f"{scheme}://{address}:{options.port}",
        "models": [name for model in models for name in model.names],
        "servers": [server.name for server in kept],
        "process": plan.process,
    }


def _port_problems(options: Options, seen: Observed) -> list[Problem]:
    """Return a problem for each port that is new to the gateway and that somebody else listens on."""
    before = seen.files.get(config.CONFIGURATION) or ""
    own = before if seen.seen is not None else ""
    wanted = ((options.host, options.port, "port"), ("127.0.0.1", options.metrics_port, "metrics_port"))
    return [
        Problem(f"llama_gateway_{name}", f"{port}, on which {owner} listens", "a free port")
        for host, port, name in wanted
        if not re.search(rf"^    bind \S+:{port}( |$)", own, re.MULTILINE)
        for owner in [_owner(port, host)]
        if owner
    ]


def _owner(port: int, host: str) -> str:
    """Return in words who listens on a port; empty if nobody does."""
    listeners = ports.listeners(port, host)
    process = processes.find(listeners[0].pid) if listeners and listeners[0].pid else None
    return "" if not listeners else f"process {process.pid}" if process else "another process"


def _host_problems(host: GatewayHost, options: Options) -> list[Problem]:
    problems = []
    if str(options.runtime_root.parent) != "/run":
        problems.append(
            Problem("llama_gateway_runtime_root", str(options.runtime_root), "a folder directly below /run")
        )
    if not host.has_systemd:
        problems.append(Problem("gateway", "a host whose PID 1 is not systemd", "a host with systemd"))
    if os.geteuid() != 0:
        problems.append(Problem("gateway", f"user ID {os.geteuid()}", "root", "run with become or sudo"))
    elif not host.program and not packages.can_install():
        problems.append(Problem(PROGRAM, "no HAProxy, and no apt-get", "HAProxy 2.6 or later", "install it"))
    old = host.version_problem()
    return [*problems, *([old] if old else [])]


def _remove(host: GatewayHost, options: Options, touch: bool) -> dict[str, typing.Any]:
    """Stop the gateway and remove its unit and files; HAProxy itself stays."""
    fixed = (contents.HOLDS, config.CONFIGURATION, CERTIFICATE, RECORD, config.LOCK)
    names = (*contents.contents(options, ()), *fixed)
    ours = [options.root / name for name in names]
    # A lock alone is left by a run that was refused.
    there = [path for path in (host.unit, *ours) if path.exists() and path.name != config.LOCK]
    if there and touch:
        host.systemctl("disable", "--now", unit.UNIT)
        host.unit.unlink(missing_ok=True)
        host.systemctl("daemon-reload")
        for path in ours:
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody else's files are in it
            options.root.rmdir()
    before = "".join(f"{path}\n" for path in there)
    return {
        "changed": bool(there),
        "diff": {"before": before, "after": ""},
        "endpoint": "",
        "models": [],
        "servers": [],
        "process": "stop" if there else "",
    }
