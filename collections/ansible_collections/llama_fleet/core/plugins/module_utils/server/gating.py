# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Let a server that has been started pass its gate, by what its generation says of it."""

from __future__ import annotations

import dataclasses
import os
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import processes as nvidia_processes
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import effect as server_effect
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import gate as server_gate
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import trust as server_trust
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.client import base_of
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import router as server_router
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.table import CUDA

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import speed as server_speed
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtime import Runtime
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

# Extra options that make a server of another kind, which is asked in another way.
_MODES = {"embedding": "embedding", "embeddings": "embedding", "rerank": "rerank", "reranking": "rerank"}


@dataclasses.dataclass(frozen=True)
class Started:
    """A generation that is in service, and a warning about its speed."""

    generation: Generation
    process: processes.Process
    passed: server_gate.Passed
    warning: str = ""

    @property
    def warnings(self) -> list[str]:
        """Return its warnings, and what its gate could not prove."""
        return [*([self.warning] if self.warning else []), *self.passed.unproved]


def gate(
    instance: Instance,
    runtime: Runtime,
    generation: Generation,
    process: processes.Process,
    prompt: str = "",
    measure: server_speed.Baseline | None = None,
    brief: bool = False,
    limit: server_gate.Limit | None = None,
    untouched: bool = False,
) -> server_gate.Passed:
    """Wait until the server is good, and return what it said; raise GateError if it is not.

    ``brief`` is for one that was good before, ``untouched`` for one that also runs since before. ``limit``
    replaces the time that the generation's size asks for.
    """
    options = generation.options
    alias = generation.variables.get("LLAMA_ARG_ALIAS", "")
    wanted = options["model"], options["parallel"], options["ctx_size"], mode_of(options)
    expected = server_gate.Expected(*wanted, prompt, alias, brief, measure, untouched)
    ask = server_gate.asker(base_of(options), server_trust.of(generation, process))
    try:
        passed = server_gate.pass_gate(
            ask,
            expected,
            limit or limit_of(generation, instance.options.ready_timeout),
            lambda: runtime.death(process),
            lambda: instance.progress.stage("loading the model"),
        )
    except server_trust.StrangerError as error:
        raise server_gate.HeldError(f"{error}; it was asked for nothing and given no key") from error
    # The servers that a router starts have the GPUs open, not itself.
    if options["backend"] == CUDA and not passed.asleep and expected.mode != server_router.MODE:
        _require_gpus(instance, generation, process, brief)
    return passed if brief else dataclasses.replace(passed, unproved=_without_effect(generation, runtime, ask))


def _without_effect(generation: Generation, runtime: Runtime, ask: server_gate.Ask) -> tuple[str, ...]:
    """Return what could not be proved of the options' effect; raise GateError if one of them has none."""
    names = [word[2:] for word in generation.command if word.startswith("--") and not word.startswith("--no-")]
    names += ["flash-attn"] if generation.options.get("flash_attn") == "on" else []
    line = server_effect.ignored(runtime.log_lines(server_effect.LINES), names)
    if line:
        raise server_gate.GateError(
            f"it ignores an option that is set, which its log says: {line}. Leave that option out"
        )
    if not server_effect.speculates(generation.command, generation.variables):
        return ()
    if mode_of(generation.options) == server_router.MODE:
        return ("speculative decoding was not proved, because a router tells nothing of it",)
    unproved = server_effect.prove_speculation(ask("/slots", None, 30.0))
    return (unproved,) if unproved else ()


def _require_gpus(instance: Instance, generation: Generation, process: processes.Process, brief: bool) -> None:
    opened = processes.open_files(process.pid)
    listed = nvidia_processes.compute_processes(instance.host.run) if not (opened and brief) else []
    reason = no_gpu(opened, listed, process.pid) or ("" if brief else too_few_gpus(generation, listed, process.pid))
    if reason:
        raise server_gate.GateError(reason)


def no_gpu(opened: typing.Sequence[str], listed: typing.Iterable[tuple[str, str, str]], pid: int) -> str:
    """Return why ``pid`` does not provably compute on a GPU; empty if it has one open, or if the driver lists it.

    A server that runs has files open: if we see none, this user may not look, and only the driver can prove it good.
    """
    if any(target.startswith(("/dev/nvidia", "/dev/dxg")) for target in opened):
        return ""
    if opened:
        return "it has no GPU open, though llama_server_backend is cuda"
    if any(int(listed_pid) == pid for listed_pid, _gpu, _mib in listed):
        return ""
    return (
        f"whether it has a GPU open cannot be seen by this user (uid {os.geteuid()}), nor does nvidia-smi list its "
        f"process {pid}: run with become or sudo"
    )


def too_few_gpus(generation: Generation, listed: typing.Iterable[tuple[str, str, str]], pid: int) -> str:
    """Return why ``pid`` computes on too few GPUs; empty if the driver lists it on enough of them, or cannot tell."""
    wanted = generation.variables.get("LLAMA_ARG_DEVICE", "").split(",")
    used = {gpu for listed_pid, gpu, _mib in listed if int(listed_pid) == pid}
    # In a container the driver does not see us, and slices of one GPU have its name.
    if not used or generation.options.get("split_mode") == "none" or any(gpu.startswith("MIG") for gpu in used):
        return ""
    return (
        f"it computes on {len(used)} of the {len(wanted)} devices {', '.join(wanted)}"
        if len(used) < len(wanted)
        else ""
    )


def limit_of(generation: Generation, ready_timeout: int = 0) -> server_gate.Limit:
    """Return the time that a start may take: by the model's size, or ``ready_timeout`` seconds if that is not 0."""
    return server_gate.ready_limit(ready_timeout, int(generation.manifest.get("model_size", 0)))


# Why a native release is never compared with published binaries.
UNMEASURED = "the speed of an instance that generates no text is not measured; the published binaries go on"


def mode_of(options: typing.Mapping[str, typing.Any]) -> str:
    """Return the task of a server with these options: completion, embedding, rerank or router."""
    if options.get("model") == "":
        return server_router.MODE
    if options.get("rerank"):
        return "rerank"
    if options.get("embeddings"):
        return "embedding"
    return next(
        (_MODES[name] for name, value in options["extra_options"].items() if name in _MODES and value is not False),
        "completion",
    )
