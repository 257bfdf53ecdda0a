# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run a generation on a free port of the loopback, beside the server that clients use."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.server import gating
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import gate as server_gate
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import trust as server_trust
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.client import Ask, asker, base_of
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import proof as server_proof
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.process import ProcessRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import state_folder
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import INSTANCE_VARIABLE
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import KEY_FILE

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import Place
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

HOST = "127.0.0.1"
# No instance can have this name, so nothing takes the trial for the instance's own server.
_SUFFIX = ".trial"


class NoRoomError(Exception):
    """A generation cannot run beside another one on this host; the text is the reason."""


def asker_of(generation: Generation, process: processes.Process) -> Ask:
    """Return an Ask for the server of ``generation``."""
    return asker(base_of(generation.options), server_trust.of(generation, process))


@contextlib.contextmanager
def running(instance: Instance, generation: Generation) -> typing.Iterator[Ask]:
    """Run ``generation`` beside what serves until the block ends, and yield an Ask for it once it passed its gate.

    Raises NoRoomError before the start, and GateError.
    """
    _require_room(instance, generation)
    place = _place(instance.place)
    runtime = ProcessRuntime.at(place, instance.options_of(generation))
    here = _marked(on_loopback(generation), place, str(instance.options.key_file))
    try:
        process = runtime.start(here)
        gating.gate(instance, runtime, here, process)
        yield asker_of(here, process)
    except server_gate.GateError as error:
        lines = [line for line in runtime.log_lines(3) if line.strip()]
        raise type(error)(f"{error} ({'; '.join(lines)})" if lines else str(error)) from error
    finally:
        runtime.stop()
        runtime.remove()


def sweep(instance: Instance) -> None:
    """Stop the trial that a killed run has left."""
    runtime = ProcessRuntime.at(_place(instance.place))
    if runtime.own():
        runtime.stop()
        runtime.remove()


def on_loopback(generation: Generation) -> Generation:
    """Return the same generation, but listening on a free port of the loopback. Flags win over the environment."""
    port = _free_port()
    options = {**generation.options, "host": HOST, "port": port}
    command = [*generation.command, "--host", HOST, "--port", str(port)]
    variables = {**generation.variables, "LLAMA_ARG_HOST": HOST, "LLAMA_ARG_PORT": str(port)}
    return dataclasses.replace(
        generation, manifest={**generation.manifest, "options": options, "command": command, "environment": variables}
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _place(place: Place) -> Place:
    return dataclasses.replace(place, folder=place.folder.with_name(f"{place.folder.name}{_SUFFIX}"))


def _marked(generation: Generation, place: Place, key_file: str) -> Generation:
    """Return the generation with the mark of a trial, and with its own keys, because others may be current."""
    keys = str(generation.path / KEY_FILE)
    manifest = {
        **generation.manifest,
        "command": [keys if word == key_file else word for word in generation.command],
        "environment": {**generation.variables, INSTANCE_VARIABLE: str(place.folder)},
    }
    return dataclasses.replace(generation, manifest=manifest)


def _require_room(instance: Instance, generation: Generation) -> None:
    """Raise NoRoomError if a server beside the other one would lack memory, or would run under other conditions."""
    options, runtime = instance.options_of(generation), instance.runtime(generation)
    if runtime.engine:
        raise NoRoomError("it runs in a container")
    if state_folder.used(options):
        # It would write into the folder of the other one, which belongs to that one's user.
        raise NoRoomError("it saves slots")
    if options.cpu_quota or options.memory_max:
        raise NoRoomError("llama_server_cpu_quota and llama_server_memory_max limit only the server itself")
    if not generation.memory:
        raise NoRoomError("the memory that it needs is not known")
    candidate = server_proof.Candidate(
        dataclasses.replace(options, memory_check=True), False, tuple(generation.command), generation.variables
    )
    try:
        server_proof.prove_again(candidate, instance.host.run, generation.memory, {})
    except ProblemError as error:
        raise NoRoomError("; ".join(problem.found for problem in error.problems)) from error
