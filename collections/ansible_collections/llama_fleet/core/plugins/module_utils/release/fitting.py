# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Choose the largest of several models that fits into the available memory."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release.memory_plan import MARGIN_MIB

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import Candidate
    from ansible_collections.llama_fleet.core.plugins.module_utils.release.memory_plan import MemoryPlan

_MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class Considered:
    """One candidate model, and whether it fits.

    ``size`` is in bytes. ``mib`` is None if its files alone are too large, so that it was not planned.
    """

    label: str
    size: int
    mib: int | None
    fits: bool

    def __str__(self) -> str:
        return f"{self.label}: {f'{self.mib} MiB' if self.mib is not None else f'files of {self.size // _MIB} MiB'}"


@dataclasses.dataclass(frozen=True)
class Fitting:
    """The chosen candidate, its plan, and all candidates that were considered, largest first."""

    candidate: Candidate
    plan: MemoryPlan
    considered: tuple[Considered, ...]


def choose_fitting(
    candidates: typing.Sequence[Candidate],
    available_mib: int,
    plan_of: typing.Callable[[Candidate], MemoryPlan],
    where: str,
    margin_mib: int = MARGIN_MIB,
) -> Fitting:
    """Choose the largest of ``candidates`` that leaves ``margin_mib`` of ``available_mib`` free.

    Skips candidates with missing shards, and draft models if there are others. ``where`` names the listing in messages.
    Raises ProblemError with all candidates if none fits.
    """
    whole = [candidate for candidate in candidates if not candidate.missing]
    models = [candidate for candidate in whole if not candidate.draft] or whole
    room = available_mib - margin_mib
    considered: list[Considered] = []
    for candidate in sorted(models, key=lambda candidate: (-candidate.size, candidate.rank, candidate.path)):
        label = candidate.label or candidate.quant or candidate.path
        # With GPUs the token embeddings stay in RAM: rarely more than a quarter of a model.
        if candidate.size * 3 // 4 > room * _MIB:
            considered.append(Considered(label, candidate.size, None, fits=False))
            continue
        plan = plan_of(candidate)
        considered.append(Considered(label, candidate.size, plan.decisive_mib, plan.decisive_mib <= room))
        if considered[-1].fits:
            return Fitting(candidate, plan, tuple(considered))
    too_large = (
        f"no model in {where} that fits into {available_mib} MiB with {margin_mib} MiB kept free "
        f"({'; '.join(map(str, considered)) or 'none at all'})"
    )
    fix = "take a smaller model, a shorter context or fewer slots, or name a quant to have it whether it fits or not"
    raise ProblemError(Problem("gguf_model_quant", too_large, "one that fits", fix))
