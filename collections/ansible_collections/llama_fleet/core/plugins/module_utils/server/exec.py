# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The gate of a generation that its caller is to execute: it runs once as a child of ours, on a port that nobody
else knows.
"""

from __future__ import annotations

import dataclasses
import socket
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import gate as server_gate
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import speed as server_speed
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import user as server_user
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.process import ProcessRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.server.switch import LOG_LINES, Started

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.switch import Switch

_HOST = "127.0.0.1"


def prove(switch: Switch, generation: Generation, back: Generation | None) -> Started:
    """Let ``generation``, which is current, pass its gate; where it does not, ``back`` is current again, or nothing is.

    Nothing runs afterwards.
    """
    options = switch.options
    runtime = ProcessRuntime(
        options.folder, options.runtime_root, options.stop_timeout, user=server_user.number(options)
    )
    here = _on_loopback(generation, _free_port())
    measure = server_speed.baseline(options.min_speed_ratio, generation.model, back, reversed(switch.store.all()))
    switch.progress.stage("proving llama-server before it starts")
    try:
        process = runtime.start(here)
        passed = switch.gate(runtime, here, process, options.prompt, measure)
    except server_gate.GateError as error:
        raise _failure(switch, generation, runtime, str(error), back) from error
    finally:
        runtime.stop()
    runtime.remove()
    return Started(switch.store.mark_good(generation, passed.speed), dataclasses.replace(process, pid=0), passed)


def _on_loopback(generation: Generation, port: int) -> Generation:
    """The same server, but for where it listens. Flags win over the environment."""
    options = {**generation.options, "host": _HOST, "port": port}
    command = [*generation.command, "--host", _HOST, "--port", str(port)]
    variables = {**generation.variables, "LLAMA_ARG_HOST": _HOST, "LLAMA_ARG_PORT": str(port)}
    return dataclasses.replace(
        generation, manifest={**generation.manifest, "options": options, "command": command, "environment": variables}
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _failure(
    switch: Switch, generation: Generation, runtime: ProcessRuntime, reason: str, back: Generation | None
) -> ProblemError:
    """Back to the generation ``back``; the error that tells all of it."""
    if back is None:
        switch.store.forget_current()
    else:
        switch.store.switch(back)
    outcome = f"generation {back.number} is current again" if back else "there is no generation to go back to"
    lines = "\n".join(line for line in runtime.log_lines(LOG_LINES) if line.strip()) or "(nothing)"
    return ProblemError(
        Problem(
            f"instance {switch.options.instance}",
            f"generation {generation.number} not good: {reason}; {outcome}",
            "a server that passes its gate",
            f"read the last lines of its log ({runtime.log}):\n{lines}\n",
        )
    )
