# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Build what a run over an instance returns: the same keys in every case, and texts of what differs."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.client import endpoint_of, listens_everywhere
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import device_of

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.drain import Drained
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.gating import Started
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof.memory import Assessment
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtime import Runtime
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

Result = dict[str, typing.Any]
Diff = list[dict[str, str]]


def facts(options: Options, runtime: Runtime, generation: Generation | None, changed: bool, diff: Diff) -> Result:
    """Return what every result has; what only a server that is to run has is empty."""
    texts = dict.fromkeys(("endpoint", "certificate", "device", "environment_file", "answer"), "")
    lists: Result = {name: [] for name in ("command", "changed_parts", "memory", "warnings")}
    return {
        **texts,
        **lists,
        **dict.fromkeys(("pid", "context", "threads", "in_flight", "cut"), 0),
        "speed": 0.0,
        **dict.fromkeys(("restarted", "ready", "listens_everywhere"), False),
        "changed": changed,
        "would_change": changed,
        "diff": diff,
        "instance": options.instance,
        "state": options.state,
        "runtime": runtime.name,
        "generation": generation.number if generation else 0,
        "log": runtime.log,
    }


def served(
    folder: str,
    number: int,
    options: typing.Mapping[str, typing.Any],
    variables: typing.Mapping[str, str],
    command: typing.Sequence[str],
    assessment: Assessment,
    started: Started | None,
) -> Result:
    """Return what generation ``number`` of the instance in ``folder`` is, and what it said if it was started."""
    threads = variables.get("LLAMA_ARG_THREADS", "")
    said: Result = {}
    if started:
        said = {
            "answer": started.passed.answer,
            "speed": started.passed.speed or started.generation.speed,
            "pid": started.process.pid,
        }
    return {
        "generation": number,
        "endpoint": endpoint_of(options),
        "listens_everywhere": listens_everywhere(str(options["host"])),
        "certificate": str(options.get("tls_certificate") or ""),
        "device": device_of(variables),
        "command": list(command),
        "environment_file": f"{folder}/generations/{number}/environment",
        "context": int(options["ctx_size"]),
        "threads": int(threads) if threads.isdigit() else 0,
        "memory": assessment.described,
        "warnings": [*assessment.warnings, *(started.warnings if started else ())],
        "ready": started is not None,
        **said,
    }


def diff_of(folder: str, before: Generation | None, texts: typing.Mapping[str, str]) -> Diff:
    """Return the differences between the rendered files of the generation ``before`` and ``texts``."""
    old = {name: before.text(name) for name in before.files} if before else {}
    names = sorted({*old, *texts})
    return [
        part(f"{folder}/{name}", old.get(name, ""), texts.get(name, ""))
        for name in names
        if old.get(name, "") != texts.get(name, "")
    ]


def drained(requests: Drained) -> Result:
    """Return the requests that were in flight when a server was to be stopped, and those that were cut."""
    return {"in_flight": requests.in_flight, "cut": requests.cut}


def part(header: str, before: str, after: str) -> dict[str, str]:
    """Return one entry of Ansible's diff."""
    return {"before_header": header, "after_header": header, "before": before, "after": after}
