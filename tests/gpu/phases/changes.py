# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Phase 6: which options change an instance; it counts generations and restarts over changes, repeats and returns."""

from __future__ import annotations

import typing

from tests.gpu import instances, scene
from tests.gpu.frame import Phase

if typing.TYPE_CHECKING:
    from tests.gpu.journal import Values
    from tests.gpu.session import Run

INSTANCE = "gpu-changes"
# Each with the expected generation, whether anything changes, and whether the server restarts.
WANTED = (
    ("a first start", 1, True, True),
    ("the same again", 1, False, False),
    ("another option", 2, True, True),
    ("a rollback", 1, True, True),
    ("a rollback to what runs", 1, False, False),
    ("the other option again", 3, True, True),
)


def run(run: Run) -> typing.Iterator[Values]:
    with scene.opened(run, INSTANCE) as here:
        here.instances.remove(INSTANCE)
        plain: dict[str, typing.Any] = {"model": here.model(run.models[0]), **here.backend}
        other = {**plain, "batch_size": 1024}
        back: dict[str, typing.Any] = {"state": "rolled_back", "to_generation": 1}
        pids: list[int] = []
        for (what, generation, changed, restarted), given in zip(
            WANTED, (plain, plain, other, back, back, other), strict=True
        ):
            result = here.instances.apply(INSTANCE, given)
            found = (result["generation"], result["changed"], result["restarted"])
            here.expect(
                found == (generation, changed, restarted), f"{what}: generation, changed and restarted are {found}"
            )
            here.expect(
                not pids or (result["pid"] != pids[-1]) == restarted,
                f"{what}: the server {'is the old one' if restarted else 'is another one'}",
            )
            here.expect(instances.answers(here.port), f"{what}: the instance does not answer")
            pids.append(result["pid"])
            yield {
                "what": what,
                "generation": result["generation"],
                "changed": result["changed"],
                "restarted": result["restarted"],
                "device": result["device"],
            }
        yield {"starts": len(set(pids)), "runs": len(pids)}


PHASE = Phase("changes", run, 30, needs=("release",))
