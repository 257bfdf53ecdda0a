# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Prove a server that is about to replace another one, while the other one still serves."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.header import file_header
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.release import memory_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import checks, memory
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import free as server_memory_free
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import state_folder, workers
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.table import CUDA

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof.memory import Assessment
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.table import Setting
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

_MODEL = "llama_server_model"
_RELEASE = "llama_server_release"
# Options that extend a context beyond the model's training. With them only the server itself can judge the context.
_STRETCHING = ("rope-scaling", "rope-scale", "rope-freq-base", "rope-freq-scale", "override-kv")


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A server as it would be started; ``pids`` belong to the instance's present process, which is stopped first."""

    options: Options
    own_control_group: bool
    command: tuple[str, ...]
    variables: typing.Mapping[str, str]
    settings: tuple[Setting, ...] = ()
    pids: tuple[int, ...] = ()

    @property
    def tested(self) -> dict[str, str]:
        """Return the environment for a test, which must not wait for a worker that serves the present process."""
        return workers.without(self.variables)

    @property
    def has_release(self) -> bool:
        return bool(self.options.release) and self.options.server.is_file()

    @property
    def has_model(self) -> bool:
        return bool(self.options.model) and os.path.isfile(self.options.model)


@dataclasses.dataclass(frozen=True)
class ModelFacts:
    """Facts about a model, and the ``identity`` of its files, which changes if one of them is replaced."""

    context_length: int = 0
    identity: tuple[int, ...] = ()

    @property
    def notes(self) -> dict[str, typing.Any]:
        """Return the entries for a generation's manifest."""
        return {"context_length": self.context_length, "model_file": list(self.identity)}


def model_facts(model: str, known: Generation | None = None) -> ModelFacts:
    """Read the headers of the model's files; if they are the files of ``known``, use its manifest instead."""
    files = checks.shards(pathlib.Path(model))
    stats = [os.stat(file) for file in files]
    identity = tuple(number for each in stats for number in (each.st_size, each.st_mtime_ns))
    if known and known.model == model and known.manifest.get("model_file") == list(identity):
        return ModelFacts(int(known.manifest.get("context_length", 0)), identity)
    # Reading the header also detects a truncated file, because the header gives its size.
    contexts = [file_header(file, _MODEL).context_length for file in files]
    return ModelFacts(contexts[0], identity)


def with_own_context(options: Options, known: Generation | None = None) -> Options:
    """Return the options with a context of 0 replaced by the one that the model was trained with.

    It stays 0 if the model is not there yet, or is none, which other checks report. ``known`` spares reading it again.
    """
    if options.ctx_size == 0 and os.path.isfile(options.model):
        with contextlib.suppress(ProblemError, OSError):
            return dataclasses.replace(options, ctx_size=model_facts(options.model, known).context_length)
    return options


def context_problems(options: Options, facts: ModelFacts) -> list[Problem]:
    """Return a problem if the context is unknown, or exceeds the model's training.

    A server only logs that it reduces it.
    """
    stretched = any(
        name in _STRETCHING or name.startswith("yarn-")
        for name in (str(key).replace("_", "-") for key in options.extra_options)
    )
    if not options.ctx_size:
        unknown = f"0, and a header of {pathlib.Path(options.model).name} that states no context"
        return [Problem("llama_server_ctx_size", unknown, "a number of tokens")]
    if not facts.context_length or options.ctx_size <= facts.context_length or stretched:
        return []
    wanted = f"at most {facts.context_length}, the context that {pathlib.Path(options.model).name} was trained with"
    fix = (
        f"set it to {facts.context_length} or less, or extend the model's context, for example with "
        f"rope-scaling: yarn in llama_server_extra_options"
    )
    return [Problem("llama_server_ctx_size", f"{options.ctx_size} tokens for each slot", wanted, fix)]


def prove(candidate: Candidate, run: Runner, facts: ModelFacts | None, held: typing.Mapping[str, int]) -> Assessment:
    """Let the release itself check configuration and memory. Raises ProblemError.

    ``held`` are the MiB of each device that the present process was planned to take.
    """
    problems = context_problems(candidate.options, facts) if facts else []
    if candidate.has_release:
        problem = checks.config_test(_without_key(candidate), candidate.tested, candidate.settings, run)
        problems += [problem] if problem else []
    raise_if_any(problems)
    if not (candidate.has_release and candidate.has_model):
        return memory.Assessment()
    unproved = workers.warning(candidate.variables)
    if unproved:
        return memory.Assessment(warnings=(unproved,))
    return _judged(candidate.options, _memory(candidate, run, held))


def prove_again(
    candidate: Candidate, run: Runner, need: typing.Mapping[str, int], held: typing.Mapping[str, int]
) -> Assessment:
    """Check a generation that was good before and whose ``need`` in MiB is recorded. Raises ProblemError."""
    problem = checks.config_test(_without_key(candidate), candidate.tested, candidate.settings, run)
    raise_if_any([problem] if problem else [])
    return _judged(candidate.options, memory.recorded(need, free_memory(candidate, run, held, list(need))))


def _judged(options: Options, assessment: Assessment) -> Assessment:
    """Raise the assessment's problem, or make it a warning if the memory check is switched off."""
    if assessment.problem is None:
        return assessment
    if options.memory_check:
        raise ProblemError(assessment.problem)
    warnings = (*assessment.warnings, str(assessment.problem))
    return dataclasses.replace(assessment, problem=None, warnings=warnings)


def _memory(candidate: Candidate, run: Runner, held: typing.Mapping[str, int]) -> Assessment:
    """Assess the candidate's memory with the release's own program, if it has one."""
    options = candidate.options
    release = pathlib.Path(options.release)
    if not os.access(release / "bin" / memory_plan.PROGRAM, os.X_OK):
        unknown = f"memory was not checked, because {release} has no {memory_plan.PROGRAM}"
        return memory.Assessment(warnings=(unknown,))

    @functools.cache
    def plan(ctx_size: int, parallel: int) -> memory_plan.MemoryPlan:
        sizes = {"LLAMA_ARG_CTX_SIZE": str(ctx_size * parallel), "LLAMA_ARG_N_PARALLEL": str(parallel)}
        return memory_plan.plan_served(run, release, candidate.command, {**candidate.variables, **sizes}, _RELEASE)

    try:
        devices = [device.name for device in plan(options.ctx_size, options.parallel).devices]
    except ProblemError as error:
        message = str(error)
        if "error loading model" in message:  # the server itself would fail with it after the switch
            fix = "fetch it again, or use a newer release"
            raise ProblemError(Problem(_MODEL, message, "a model that this release can load", fix)) from error
        return memory.Assessment(warnings=(f"memory was not checked: {message}",))
    return memory.assess(options, plan, free_memory(candidate, run, held, devices))


def free_memory(
    candidate: Candidate, run: Runner, held: typing.Mapping[str, int], devices: typing.Sequence[str]
) -> dict[str, int]:
    """Return the MiB of each device that the candidate can have once the present process has ended."""
    options = candidate.options
    free = server_memory_free.ram(candidate.own_control_group, options.memory_max, candidate.pids)
    if options.backend == CUDA:
        listing = run([str(options.server), "--list-devices"], env=candidate.tested, cwd="/", timeout=checks.TEST_LIMIT)
        gpus = server_memory_free.gpus(listing.stdout + listing.stderr)
        wanted = [name for name in devices if name != memory_plan.HOST]
        own = server_memory_free.own_gpus(run, candidate.pids, held, wanted)
        free.update({name: mib + own.get(name, 0) for name, mib in gpus.items()})
    return free


def _without_key(candidate: Candidate) -> list[str]:
    """Return the command without the key file and the folder for slots, which do not exist yet."""
    options = candidate.options
    later = {"--api-key-file", str(options.key_file)}
    slots = state_folder.used(options)
    if slots:
        later |= {f"--{state_folder.OPTION}", slots}
    return [word for word in candidate.command if word not in later]
