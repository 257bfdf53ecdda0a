# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Prove a generation that its caller executes: it runs once as our child, on a free port of the loopback."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.server import beside, gating
from ansible_collections.llama_fleet.core.plugins.module_utils.server.contest import contest
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import gate as server_gate
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.process import ProcessRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.server.switch import LOG_LINES

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation


def prove(instance: Instance, generation: Generation, back: Generation | None) -> gating.Started:
    """Let ``generation``, which is current, pass its gate; if it fails, make ``back`` current again, or none.

    Nothing runs afterwards.
    """
    options, store = instance.options, instance.store
    # Until the caller executes it, it is a plain process.
    runtime = ProcessRuntime.at(instance.place, options)
    here = beside.on_loopback(generation)
    judged = contest(instance, generation, back, measured=True)
    instance.progress.stage("proving llama-server before it starts")
    try:
        process = runtime.start(here)
        passed = gating.gate(instance, runtime, here, process, options.prompt, judged.baseline)
        judged.judge(passed, beside.asker_of(here, process))
    except server_gate.GateError as error:
        raise _failure(instance, generation, runtime, str(error), back) from error
    finally:
        runtime.stop()
    runtime.remove()
    good = store.mark_good(generation, passed.speed)
    return gating.Started(good, dataclasses.replace(process, pid=0), passed, judged.warning)


def _failure(
    instance: Instance, generation: Generation, runtime: ProcessRuntime, reason: str, back: Generation | None
) -> ProblemError:
    """Make the generation ``back`` current again, and return the error that says why and what became of it."""
    if back is None:
        instance.store.forget_current()
    else:
        instance.store.switch(back)
    outcome = f"generation {back.number} is current again" if back else "there is no generation to go back to"
    lines = "\n".join(line for line in runtime.log_lines(LOG_LINES) if line.strip()) or "(nothing)"
    return ProblemError(
        Problem(
            f"instance {instance.options.instance}",
            f"generation {generation.number} not good: {reason}; {outcome}",
            "a server that passes its gate",
            f"read the last lines of its log ({runtime.log}):\n{lines}\n",
        )
    )
