# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Which files of a listing are wanted: by quant, or the best that fits into the memory there is."""

from __future__ import annotations

import dataclasses
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf import header as gguf_header
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.projector import choose_projector, is_projector
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import (
    Candidate,
    ListedFile,
    candidates,
    choose,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.host.scratch import scratch
from ansible_collections.llama_fleet.core.plugins.module_utils.model.plan import Choose, Chosen, Read, quant_variable
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import memory_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.release.fitting import choose_fitting

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.request import Memory, Request
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.store import Model
    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

RELEASE = "gguf_model_release"


def has_release(memory: Memory) -> bool:
    """Whether there is a release that can plan. In a plan of the whole host it may not be built yet."""
    return bool(memory.release) and (pathlib.Path(memory.release) / "bin" / "llama-fit-params").is_file()


def require_release(memory: Memory) -> None:
    if not has_release(memory):
        found = (
            f"'{memory.release}', which has no bin/llama-fit-params"
            if memory.release
            else "nothing, and gguf_model_quant is fit"
        )
        raise ProblemError(Problem(RELEASE, found, "the folder of a release of llama.cpp", "use llama_cpp_result.path"))


def chooser(
    request: Request, progress: Progress, before: Model | None = None, run: commands.Runner = commands.run
) -> Choose:
    """How this request chooses.

    A choice by memory that was made ``before`` stands: the model itself may take that memory by now.
    """

    def choose_files(
        listing: typing.Sequence[ListedFile], where: str, reader: typing.Callable[[ListedFile], Read]
    ) -> Chosen:
        if request.fit and before:
            chosen = Chosen(choose(listing, before.files[0].name, where), memory=before.memory)
        elif request.fit:
            chosen = _fitting(request.fit, request.mmproj, listing, where, reader, progress, run)
        else:
            chosen = Chosen(choose(listing, request.asked, where, quant_variable(request.source, request.asked)))
        return (
            dataclasses.replace(chosen, mmproj=choose_projector(listing, chosen.model, where))
            if request.mmproj
            else chosen
        )

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
    """The largest model that fits, with what was planned on the way.

    A projector is loaded beside the model, so it counts too.
    """
    require_release(memory)
    release = pathlib.Path(memory.release)
    available = memory_plan.Available(memory.mib, "given") if memory.mib else memory_plan.memory_available(run, release)
    margin = 0 if memory.mib else available.margin_mib
    beside = max((file.size for file in listing if is_projector(file.path)), default=0) if mmproj else 0

    with scratch() as work:

        def plan_of(candidate: Candidate) -> memory_plan.MemoryPlan:
            progress.stage(f"planning the memory of {candidate.path}")
            shards = [
                (gguf_header.read_header(reader(file), file.size, file.path).content, file.size)
                for file in candidate.files
            ]
            return memory_plan.plan_memory(run, release, shards, memory.ctx_size, memory.parallel, work)

        fitting = choose_fitting(candidates(listing), available.mib - (beside >> 20), plan_of, where, margin)
    considered = [
        {"quant": each.label, "size": each.size, "mib": each.mib or 0, "fits": each.fits} for each in fitting.considered
    ]
    shown = {
        "available_mib": available.mib,
        "what": available.what,
        "margin_mib": margin,
        "needed_mib": fitting.plan.decisive_mib,
    }
    return Chosen(fitting.candidate, memory={**shown, "candidates": considered})
