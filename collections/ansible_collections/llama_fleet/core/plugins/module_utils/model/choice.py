# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Choose the files of a listing: by quant, or the best quant that fits into memory."""

from __future__ import annotations

import dataclasses
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf import header as gguf_header
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.choice import choose, settled
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.companion import (
    choose_companion,
    choose_projector,
    is_projector,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import (
    MODEL,
    Candidate,
    ListedFile,
    candidates,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.kind import kind_reader
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.names import Index
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.host.scratch import scratch
from ansible_collections.llama_fleet.core.plugins.module_utils.model.plan import Choose, Chosen, Read, quant_variable
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import free_memory, memory_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.release.fitting import choose_fitting

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.request import Memory, Request
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.store import Model
    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
    from ansible_collections.llama_fleet.core.plugins.module_utils.release.fitting import Fitting

RELEASE = "gguf_model_release"


def has_release(memory: Memory) -> bool:
    """Return whether there is a release that can plan memory. When a whole host is planned it may not be built yet."""
    return bool(memory.release) and (pathlib.Path(memory.release) / "bin" / "llama-fit-params").is_file()


def require_release(memory: Memory) -> None:
    """Raise ProblemError unless the release contains llama-fit-params."""
    if not has_release(memory):
        lack = (
            f"'{memory.release}', which has no bin/llama-fit-params"
            if memory.release
            else "no folder, and gguf_model_quant is fit"
        )
        raise ProblemError(Problem(RELEASE, lack, "the folder of a release of llama.cpp", "use llama_cpp_result.path"))


def chooser(
    request: Request, progress: Progress, before: Model | None = None, run: commands.Runner = commands.run
) -> Choose:
    """Return the function that chooses files for this request.

    A choice by memory that was made ``before`` is kept, because the model itself may occupy that memory now.
    """

    def choose_files(
        listing: typing.Sequence[ListedFile], where: str, reader: typing.Callable[[ListedFile], Read]
    ) -> Chosen:
        kind_of = kind_reader(reader, where)
        if request.kind != MODEL:
            return Chosen(choose_companion(request.kind, candidates(listing), request.label, where, kind_of))
        if request.fit and before:
            chosen = Chosen(choose(listing, before.files[0].name, where), memory=before.memory)
        elif request.fit:
            chosen = _fitting(request.fit, bool(request.mmproj), listing, where, reader, progress, run)
        else:
            variable = quant_variable(request.source, request.label)
            chosen = Chosen(choose(listing, request.label, where, variable, kind_of))
        if not request.mmproj:
            return chosen
        projector = choose_projector(listing, chosen.model, where, request.mmproj, kind_of)
        return dataclasses.replace(chosen, mmproj=projector)

    return choose_files


def _fitting(
    memory: Memory,
    mmproj: bool,
    listing: typing.Sequence[ListedFile],
    where: str,
    reader: typing.Callable[[ListedFile], Read],
    progress: Progress,
    run: commands.Runner,
) -> Chosen:
    """Return the largest model that fits, and the memory plan of every candidate.

    The size of a projector is subtracted from the available memory, because it is loaded next to the model.
    """
    require_release(memory)
    release = pathlib.Path(memory.release)
    available = free_memory.Available(memory.mib, "given") if memory.mib else free_memory.memory_available(run, release)
    margin = 0 if memory.mib else available.margin_mib
    beside = max((file.size for file in listing if is_projector(file.path)), default=0) if mmproj else 0

    with scratch() as work:

        def plan_of(candidate: Candidate) -> memory_plan.MemoryPlan:
            progress.stage(f"planning the memory of {candidate.path}")
            headers = [gguf_header.read_header(reader(file), file.size, file.path) for file in candidate.files]
            shards = [(header.content, file.size) for header, file in zip(headers, candidate.files)]
            context = memory.ctx_size or headers[0].context_length
            return memory_plan.plan_memory(run, release, shards, context, memory.parallel, work)

        labelled = Index(settled(candidates(listing), kind_reader(reader, where))).labelled()
        fitting = choose_fitting(labelled, available.mib - ((beside + memory.beside) >> 20), plan_of, where, margin)
    return Chosen(fitting.candidate, memory=_shown(fitting, available, margin))


def _shown(fitting: Fitting, available: free_memory.Available, margin: int) -> dict[str, typing.Any]:
    """Return the record of a choice by memory; sizes are in bytes, memory in MiB."""
    return {
        "available_mib": available.mib,
        "what": available.what,
        "margin_mib": margin,
        "needed_mib": fitting.plan.decisive_mib,
        "candidates": [
            {"quant": each.label, "size": each.size, "mib": each.mib or 0, "fits": each.fits}
            for each in fitting.considered
        ],
    }
