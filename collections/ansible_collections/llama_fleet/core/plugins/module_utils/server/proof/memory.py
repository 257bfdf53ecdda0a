# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Whether an instance fits into the memory that is free, and what of it would fit where it does not.

Only the release itself knows what its server allocates, so every figure is its own (memory_plan); here they are
compared.
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

Plan = typing.Callable[[int, int], MemoryPlan]  # of so many tokens for each of so many slots

STEP = 256  # tokens; llama.cpp rounds a context up to these
_TRIES = 5  # runs of the release's program, of which each takes up to a second
_MIB = 1 << 20
_DRAFTS = ("spec-draft-model", "model-draft")


@dataclasses.dataclass(frozen=True)
class Figure:
    """What one device must hold, in MiB, and what is free of it; None where nobody tells."""

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
        """MiB too few; negative where some are left."""
        return self.need_mib - self.free_mib if self.free_mib is not None else -(1 << 40)

    def __str__(self) -> str:
        name = "RAM" if self.device == HOST else self.device
        parts = f"model {self.model_mib}, context {self.context_mib}, computing {self.compute_mib}"
        return f"{self.need_mib} MiB of {name} ({parts}), of which {self.free_mib} MiB are free"


@dataclasses.dataclass(frozen=True)
class Assessment:
    """The figures, why they cannot be, and what else is to be said of them."""

    figures: tuple[Figure, ...] = ()
    problem: Problem | None = None
    warnings: tuple[str, ...] = ()

    @property
    def described(self) -> list[dict[str, typing.Any]]:
        return [dataclasses.asdict(figure) for figure in self.figures]

    @property
    def by_device(self) -> dict[str, int]:
        return {figure.device: figure.need_mib for figure in self.figures}


def assess(options: Options, plan: Plan, free: typing.Mapping[str, int]) -> Assessment:
    """Compare what ``plan`` tells of the options with what is ``free`` of each device; looks for what would fit
    where they do not.
    """
    figures = _figures(options, plan(options.ctx_size, options.parallel), free)
    lacking = _lacking(options, figures)
    if lacking:
        return Assessment(figures, _problem(options, plan, free, lacking))
    warnings = [
        f"of the model only a part will be on the GPU, which is slower: it wants {figure}"
        for figure in figures
        if figure.lacking_mib > 0
    ]
    return Assessment(figures, None, (*warnings, *_cache_warnings(options, figures)))


def recorded(need: typing.Mapping[str, int], free: typing.Mapping[str, int]) -> Assessment:
    """The same for a generation whose need was written down when it was made."""
    figures = tuple(Figure(name, mib, 0, 0, free.get(name)) for name, mib in need.items())
    lacking = "; ".join(
        f"{figure.need_mib} MiB of {figure.device}, of which {figure.free_mib} MiB are free"
        for figure in figures
        if figure.lacking_mib > 0
    )
    fix = "make room, or set llama_server_memory_check: false"
    return Assessment(figures, Problem("memory", lacking, "memory for that generation", fix) if lacking else None)


def _figures(options: Options, plan: MemoryPlan, free: typing.Mapping[str, int]) -> tuple[Figure, ...]:
    beside = _beside(options)
    # What comes beside the model goes where the model goes, which is the first GPU if there is one.
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
    """MiB of files that are loaded beside the model and that the plan does not know."""
    paths = [options.mmproj, *(path for path, _scale in adapters(options))]
    paths += [str(options.extra_options[name]) for name in _DRAFTS if name in options.extra_options]
    return sum(os.path.getsize(path) for path in paths if path and os.path.isfile(path)) // _MIB


def _spills(options: Options) -> bool:
    """Whether the server itself puts into RAM what the GPUs cannot hold."""
    return (
        options.backend == CUDA
        and options.n_gpu_layers == "auto"
        and options.extra_options.get("fit", True) not in (False, "off")
    )


def _lacking(options: Options, figures: typing.Sequence[Figure]) -> str:
    """What cannot be held, in words; empty where everything can."""
    short = [figure for figure in figures if figure.lacking_mib > 0]
    if short and _spills(options) and sum(figure.lacking_mib for figure in figures) <= 0:
        return ""
    return " and ".join(map(str, short))


def _problem(options: Options, plan: Plan, free: typing.Mapping[str, int], lacking: str) -> Problem:
    def excess(ctx_size: int, parallel: int) -> int:
        figures = _figures(options, plan(ctx_size, parallel), free)
        lacks = [figure.lacking_mib for figure in figures]
        return sum(lacks) if _spills(options) else max(lacks)

    slots = f"{options.parallel} slots of {options.ctx_size} tokens"
    override = "llama_server_memory_check: false starts it all the same"
    try:
        ctx_size = largest_context(excess, options.ctx_size, options.parallel)
        parallel = _fewer_slots(excess, options, ctx_size)
    except ProblemError:  # it cannot plan so small a context; what was asked for does not fit either way
        ctx_size = parallel = 0
    smaller = [f"set llama_server_ctx_size to {ctx_size}"] if ctx_size else []
    smaller += [f"{'or ' if smaller else 'set '}llama_server_parallel to {parallel}"] if parallel else []
    if not smaller:
        return Problem(
            "llama_server_model",
            f"a model that wants {lacking}",
            "one that fits",
            f"take a smaller model or quant, or make room; {override}",
        )
    return Problem(
        "llama_server_ctx_size", f"{slots}, which want {lacking}", "what fits", f"{', '.join(smaller)}; {override}"
    )


def largest_context(excess: typing.Callable[[int, int], int], ctx_size: int, parallel: int) -> int:
    """The largest context of each slot that leaves nothing lacking, in steps; 0 where there is none.

    Few runs: memory grows in proportion.
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
    """How many slots of the wanted context fit; 0 where not even one does."""
    most = ctx_size * options.parallel // options.ctx_size if ctx_size else 1
    for parallel in dict.fromkeys((most, most - 1, 1)):
        if 1 <= parallel < options.parallel and excess(options.ctx_size, parallel) <= 0:
            return parallel
    return 0


def _cache_warnings(options: Options, figures: typing.Sequence[Figure]) -> list[str]:
    """The prompt cache grows with use: it keeps nobody from starting, and ends a server weeks later.

    It is not counted as a need: with the size that releases have for it, 8 GiB, most small hosts would be refused, and
    a server with few different prompts never comes near it.
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
        f"llama_server_cache_ram lets the prompt cache grow to {options.cache_ram} MiB, and beside the model "
        f"{left} MiB of RAM are left"
    )
    end = "; the kernel ends a server that goes beyond llama_server_memory_max" if options.memory_max else ""
    return [f"{grows}: set it to {left // 2 // 64 * 64} or less{end}"]
