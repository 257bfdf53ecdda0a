# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Judge whether an instance fits into the free memory, and find what would fit if it does not.

The figures come from the release itself (see ``memory_plan``), because only it knows what its server allocates.
"""

from __future__ import annotations

import dataclasses
import os
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release.memory_plan import HOST, MemoryPlan
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.table import CUDA, adapters

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

PlanMemory = typing.Callable[[int, int], MemoryPlan]  # arguments: tokens per slot, slots

STEP = 256  # tokens; llama.cpp rounds a context up to a multiple
_TRIES = 5  # runs of the release's program, which take up to a second each
_MIB = 1 << 20
_DRAFTS = ("spec-draft-model", "model-draft")


@dataclasses.dataclass(frozen=True)
class Figure:
    """The MiB that one device must hold, and the MiB free on it (None if unknown)."""

    device: str
    model_mib: int
    context_mib: int
    compute_mib: int
    free_mib: int | None

    @property
    def need_mib(self) -> int:
        return self.model_mib + self.context_mib + self.compute_mib

    @property
    def lacking_mib(self) -> int:
        """Return the MiB missing; negative if some are left."""
        return self.need_mib - self.free_mib if self.free_mib is not None else -(1 << 40)

    def __str__(self) -> str:
        name = "RAM" if self.device == HOST else self.device
        parts = f"model {self.model_mib}, context {self.context_mib}, computing {self.compute_mib}"
        return f"{self.need_mib} MiB of {name} ({parts}) with {self.free_mib} MiB free"


@dataclasses.dataclass(frozen=True)
class Assessment:
    """The figures of all devices, a problem if they do not fit, and warnings."""

    figures: tuple[Figure, ...] = ()
    problem: Problem | None = None
    warnings: tuple[str, ...] = ()

    @property
    def described(self) -> list[dict[str, typing.Any]]:
        return [dataclasses.asdict(figure) for figure in self.figures]

    @property
    def by_device(self) -> dict[str, int]:
        return {figure.device: figure.need_mib for figure in self.figures}


def assess(options: Options, plan: PlanMemory, free: typing.Mapping[str, int]) -> Assessment:
    """Compare the plan for the options with the MiB ``free`` of each device; if they do not fit, find what would."""
    figures = _figures(options, plan(options.ctx_size, options.parallel), free)
    lacking = _lacking(options, figures)
    if lacking:
        return Assessment(figures, _problem(options, plan, free, lacking))
    warnings = [
        f"only a part of the model will be on the GPU, which is slower, because it needs {figure}"
        for figure in figures
        if figure.lacking_mib > 0
    ]
    return Assessment(figures, None, (*warnings, *_cache_warnings(options, figures)))


def recorded(need: typing.Mapping[str, int], free: typing.Mapping[str, int]) -> Assessment:
    """Assess a generation by the need in MiB that was recorded when it was made."""
    figures = tuple(Figure(name, mib, 0, 0, free.get(name)) for name, mib in need.items())
    lacking = "; ".join(
        f"{figure.need_mib} MiB of {figure.device} with {figure.free_mib} MiB free"
        for figure in figures
        if figure.lacking_mib > 0
    )
    fix = "make room, or set llama_server_memory_check: false"
    return Assessment(figures, Problem("memory", lacking, "memory for that generation", fix) if lacking else None)


def _figures(options: Options, plan: MemoryPlan, free: typing.Mapping[str, int]) -> tuple[Figure, ...]:
    """Combine the plan with the free memory and the files that the plan does not know."""
    beside = _beside(options)
    # Files besides the model are loaded where the model is, which is the first GPU if there is one.
    first = plan.devices[0].name
    return tuple(
        Figure(
            device.name,
            device.model_mib + (beside if device.name == first else 0),
            device.context_mib,
            device.compute_mib,
            free.get(device.name),
        )
        for device in plan.devices
    )


def _beside(options: Options) -> int:
    """Return the MiB of files that are loaded besides the model and are missing from the plan."""
    paths = [options.mmproj, options.draft, *(path for path, _scale in adapters(options))]
    paths += [str(options.extra_options[name]) for name in _DRAFTS if name in options.extra_options]
    return sum(os.path.getsize(path) for path in paths if path and os.path.isfile(path)) // _MIB


def _spills(options: Options) -> bool:
    """Return whether the server moves layers that do not fit on the GPUs into RAM by itself."""
    return (
        options.backend == CUDA
        and options.n_gpu_layers == "auto"
        and options.extra_options.get("fit", True) not in (False, "off")
    )


def _lacking(options: Options, figures: typing.Sequence[Figure]) -> str:
    """Describe the devices that are too small, or return an empty string."""
    short = [figure for figure in figures if figure.lacking_mib > 0]
    if short and _spills(options) and sum(figure.lacking_mib for figure in figures) <= 0:
        return ""
    return " and ".join(map(str, short))


def _problem(options: Options, plan: PlanMemory, free: typing.Mapping[str, int], lacking: str) -> Problem:
    """Return the problem of options that do not fit, with a smaller context or fewer slots as the fix."""

    def excess(ctx_size: int, parallel: int) -> int:
        figures = _figures(options, plan(ctx_size, parallel), free)
        lacks = [figure.lacking_mib for figure in figures]
        return sum(lacks) if _spills(options) else max(lacks)

    slots = f"{options.parallel} slots of {options.ctx_size} tokens"
    override = "llama_server_memory_check: false starts it anyway"
    try:
        ctx_size = largest_context(excess, options.ctx_size, options.parallel)
        parallel = _fewer_slots(excess, options, ctx_size)
    except ProblemError:  # so small a context cannot be planned; the requested one does not fit in any case
        ctx_size = parallel = 0
    smaller = [f"set llama_server_ctx_size to {ctx_size}"] if ctx_size else []
    smaller += [f"{'or ' if smaller else 'set '}llama_server_parallel to {parallel}"] if parallel else []
    if not smaller:
        too_large, fix = f"a model that needs {lacking}", f"take a smaller model or quant, or make room; {override}"
        return Problem("llama_server_model", too_large, "one that fits", fix)
    fix = f"{', '.join(smaller)}; {override}"
    return Problem("llama_server_ctx_size", f"{slots}, which need {lacking}", "a context that fits", fix)


def largest_context(excess: typing.Callable[[int, int], int], ctx_size: int, parallel: int) -> int:
    """Return the largest multiple of STEP tokens per slot that fits, or 0.

    ``excess`` returns the MiB missing for tokens per slot and slots. It grows linearly, so few runs are needed.
    """
    low, high = STEP, ctx_size
    if high <= low:
        return 0
    at_low, at_high = excess(low, parallel), excess(high, parallel)
    if at_low > 0:
        return 0
    for _try in range(_TRIES):
        if high - low <= STEP:
            break
        guess = low + (high - low) * -at_low // max(1, at_high - at_low)
        guess = min(max(guess // STEP * STEP, low + STEP), (high - 1) // STEP * STEP)
        lacks = excess(guess, parallel)
        if lacks > 0:
            high, at_high = guess, lacks
        else:
            low, at_low = guess, lacks
    return low


def _fewer_slots(excess: typing.Callable[[int, int], int], options: Options, ctx_size: int) -> int:
    """Return how many slots of the requested context fit; 0 if not even one does."""
    most = ctx_size * options.parallel // options.ctx_size if ctx_size else 1
    for parallel in dict.fromkeys((most, most - 1, 1)):
        if 1 <= parallel < options.parallel and excess(options.ctx_size, parallel) <= 0:
            return parallel
    return 0


def _cache_warnings(options: Options, figures: typing.Sequence[Figure]) -> list[str]:
    """Warn about a prompt cache that may outgrow the RAM: it does not prevent a start, but ends a server weeks later.

    It does not count as needed memory, because its default of 8 GiB would make most small hosts fail, although a server
    with few different prompts never comes near it.
    """
    ram = next((figure for figure in figures if figure.device == HOST and figure.free_mib is not None), None)
    if ram is None or 0 <= options.cache_ram <= -ram.lacking_mib:
        return []
    if options.cache_ram < 0:
        return (
            ["llama_server_cache_ram is -1, so the prompt cache may take all RAM: set a limit"]
            if options.memory_max
            else []
        )
    left = -ram.lacking_mib
    grows = (
        f"llama_server_cache_ram lets the prompt cache grow to {options.cache_ram} MiB, and only {left} MiB of RAM are "
        f"left beside the model"
    )
    end = "; the kernel ends a server that goes beyond llama_server_memory_max" if options.memory_max else ""
    return [f"{grows}: set it to {left // 2 // 64 * 64} or less{end}"]
