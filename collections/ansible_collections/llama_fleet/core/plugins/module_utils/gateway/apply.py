# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Apply the plan of a gateway: install, check the configuration, write the files, and update the process."""

from __future__ import annotations

import dataclasses
import grp
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gateway import config, contents, unit
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.frontend import CERTIFICATE
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.host import PACKAGE, PROGRAM, RECORD, GatewayHost
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.plan import Plan, texts
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.runtime import (
    RuntimeSocket,
    RuntimeSocketError,
    drained_rows,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.traffic import Traffic
from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.host.scratch import scratch
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import packages

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.options import Options
    from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.servers import Model

# Seconds for a new process or worker to answer.
_PATIENCE = 30.0
_SECRET = (config.CONFIGURATION, CERTIFICATE)


def apply(host: GatewayHost, options: Options, models: typing.Sequence[Model], plan: Plan) -> None:
    """Install, check the new configuration, write it, and make the process use it.

    Everything that can fail comes before the first file that a running gateway reads.
    """
    if plan.install:
        packages.install([PACKAGE], PROGRAM, host.run)
        # The package starts its own service, with an empty configuration.
        host.systemctl("disable", "--now", f"{PROGRAM}.service")
        host = dataclasses.replace(host, program=GatewayHost().program)
        check(host, options, models)
    group = _group(host.user)
    _write(options, plan.texts, group)
    holds = options.root / contents.HOLDS
    if plan.process == "restart" or not holds.exists():
        # A process that starts anew would hold what a killed run has held.
        files.write_atomic(holds, "")
    if plan.unit:
        _write_unit(host, plan.unit)
    if plan.enable:
        host.systemctl("enable", unit.UNIT)
    _heal(options, plan)
    try:
        _update_process(host, options, plan)
    except (ProblemError, RuntimeSocketError):
        _undo(host, options, plan, group)
        raise
    files.write_atomic(options.root / RECORD, contents.as_json(plan.record))


def _group(user: str) -> int:
    try:
        return grp.getgrnam(user).gr_gid
    except KeyError:
        fix = "install the distribution's package, or add the user and the group"
        raise ProblemError(Problem(PROGRAM, f"no group {user}", f"the user and the group {user}", fix)) from None


def _write(options: Options, texts_by_name: typing.Mapping[str, str | None], group: int) -> None:
    for name, content in texts_by_name.items():
        path = options.root / name
        if content is None:
            path.unlink(missing_ok=True)
        else:
            files.write_atomic(path, content, 0o640 if name in _SECRET else 0o644, group=group)


def _write_unit(host: GatewayHost, content: str) -> None:
    files.write_atomic(host.unit, content)
    host.systemctl("daemon-reload")


def _undo(host: GatewayHost, options: Options, plan: Plan, group: int) -> None:
    """Put the files back, so that a later start finds what ran; start it again if it had to be stopped."""
    _write(options, plan.before, group)
    if plan.unit and plan.unit_before is not None:
        _write_unit(host, plan.unit_before)
    if plan.process == "restart" and plan.before.get(config.CONFIGURATION, "") is not None:
        host.systemctl("reset-failed", unit.UNIT)
        host.systemctl("restart", unit.UNIT)


def check(host: GatewayHost, options: Options, models: typing.Sequence[Model]) -> None:
    """Let HAProxy read the new files in a folder of their own. Raises ProblemError with what it says."""
    with scratch() as folder:
        trial = dataclasses.replace(options, root=folder, runtime_root=folder)
        for name, content in {**texts(trial, models), contents.HOLDS: ""}.items():
            files.write_atomic(trial.root / name, content, 0o600)
        done = host.run([host.program, "-c", "-f", str(trial.root / config.CONFIGURATION)], timeout=120)
    if not done.ok:
        rows = done.stderr.splitlines()
        said = "\n".join([row for row in rows if "[ALERT]" in row] or rows)
        said = config.without_secrets(said)
        if options.backend_key:
            said = said.replace(options.backend_key, "********")
        fix = "report it with the variables of the role; the gateway that runs is as before"
        raise ProblemError(
            Problem("gateway", f"HAProxy refuses its configuration:\n{said.strip()}", "a valid one", fix)
        )


def _heal(options: Options, plan: Plan) -> None:
    """Bring back what was left out. It comes before a reload, after which the old worker cannot be told any more."""
    runtime = RuntimeSocket(options.runtime_root / config.SOCKET)
    for backend, name in plan.back:
        runtime.set_state(backend, name, "ready")
    for backend in plan.held:
        Traffic(runtime, options.root).release(backend)


def _update_process(host: GatewayHost, options: Options, plan: Plan) -> None:
    runtime = RuntimeSocket(options.runtime_root / config.SOCKET)
    states = options.runtime_root / config.STATES
    if plan.process == "restart":
        host.systemctl("reset-failed", unit.UNIT)
        done = host.systemctl("restart", unit.UNIT)
    elif plan.process == "reload":
        # What is drained stays drained: the new worker reads the state of the old one, once.
        files.write_atomic(states, drained_rows(runtime.ask("show servers state"), plan.record), 0o644)
        done = host.systemctl("reload", unit.UNIT)
    else:
        for name, content in plan.maps.items():
            runtime.replace_map(options.root / name, contents.entries(content))
        return
    running = done.ok and _wait_for(runtime, plan.digest)
    states.unlink(missing_ok=True)
    if not running:
        said = host.run(["journalctl", "-u", unit.UNIT, "-n", "20", "--no-pager", "-o", "cat"], timeout=30).stdout
        silence = f"no answer after its {plan.process}: {done.stderr.strip()}\n{said.strip()}"
        fix = f"see journalctl -u {unit.UNIT}; the gateway is as it was before"
        raise ProblemError(Problem("gateway", silence, "a gateway that runs", fix))


def _wait_for(runtime: RuntimeSocket, digest: str) -> bool:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        try:
            if runtime.seen().digest == digest:
                return True
        except RuntimeSocketError:
            pass
        time.sleep(0.2)
    return False
