# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the choice of the largest model that fits into memory."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import Candidate, ListedFile
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release.fitting import choose_fitting
from ansible_collections.llama_fleet.core.plugins.module_utils.release.memory_plan import (
    MemoryPlan,
    parse_plan,
)

MIB = 1 << 20


def problem(act: typing.Callable[[], object]) -> str:
    with pytest.raises(ProblemError) as caught:
        act()
    return str(caught.value)


def candidate(quant: str, size_mib: int, folder: str = "", **changes: typing.Any) -> Candidate:
    return Candidate(quant, (ListedFile(f"{folder}M-{quant}.gguf", size_mib * MIB),), **changes)


class Planner:
    """A fake planner whose plans take 200 MiB besides the files; it records its calls."""

    def __init__(self, text: str = "Host {} 150 50 \n") -> None:
        self.text = text
        self.asked: list[str] = []

    def __call__(self, candidate: Candidate) -> MemoryPlan:
        self.asked.append(candidate.path)
        return MemoryPlan(parse_plan(self.text.format(candidate.size // MIB)))


QUANTS = [candidate("Q4_K_M", 4000), candidate("F16", 16000), candidate("Q8_0", 8000), candidate("Q2_K", 2000)]


def test_the_largest_that_fits_is_chosen_and_no_more_is_planned_than_needed() -> None:
    planner = Planner()
    fitting = choose_fitting(QUANTS, 9200, planner, "o/r")
    assert (fitting.candidate, fitting.plan.total_mib) == (QUANTS[0], 4200)
    assert [(each.label, each.size, each.mib, each.fits) for each in fitting.considered] == [
        ("F16", 16000 * MIB, None, False),
        ("Q8_0", 8000 * MIB, 8200, False),
        ("Q4_K_M", 4000 * MIB, 4200, True),
    ]
    assert planner.asked == ["M-Q8_0.gguf", "M-Q4_K_M.gguf"]
    assert choose_fitting(QUANTS, 9224, Planner(), "o/r").candidate.quant == "Q8_0", "to the last MiB of the margin"
    assert choose_fitting(QUANTS, 9223, Planner(), "o/r").candidate.quant == "Q4_K_M"
    assert choose_fitting(QUANTS, 9223, Planner(), "o/r", margin_mib=0).candidate.quant == "Q8_0"


def test_on_gpus_their_part_decides() -> None:
    planner = Planner("CUDA0 3000 150 50 \nHost {} 0 9 \n")
    fitting = choose_fitting(QUANTS, 3200 + 1024, planner, "o/r")
    assert (fitting.candidate.quant, fitting.considered[-1].mib) == ("Q4_K_M", 3200)


def test_incomplete_models_and_drafts_are_no_candidates() -> None:
    odd = [
        candidate("Q8_0", 3000, missing=("x",)),
        candidate("F16", 2900, kind="draft"),
        candidate("Q4_K_M", 2000, "A/"),
        candidate("Q4_K_M", 2000),
    ]
    planner = Planner()
    assert choose_fitting(odd, 90_000, planner, "o/r").candidate.path == "M-Q4_K_M.gguf"
    assert planner.asked == ["M-Q4_K_M.gguf"]


def test_where_none_fits_every_candidate_is_told() -> None:
    message = problem(lambda: choose_fitting(QUANTS, 3100, Planner(), "o/r"))
    assert message == (
        "gguf_model_quant: expected one that fits, found no model in o/r that fits into 3100 MiB with "
        "1024 MiB kept free (F16: files of 16000 MiB; Q8_0: files of 8000 MiB; Q4_K_M: files "
        "of 4000 MiB; Q2_K: 2200 MiB). Fix: Take a smaller model, a shorter context or fewer slots, or "
        "name a quant to have it whether it fits or not."
    )
    assert "(none at all)" in problem(lambda: choose_fitting([], 3100, Planner(), "o/r"))
