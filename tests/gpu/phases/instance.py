# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Phase 4: an instance of each model: its device, its memory against the plan, and its time to ready."""

from __future__ import annotations

import typing

from tests.gpu import instances, scene, speed, taken
from tests.gpu.frame import Phase
from tests.gpu.journal import Journal, Values

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.tiny_model import Model
    from tests.gpu.session import Run

NAME = "instance"
INSTANCE = "gpu-memory"
NOT_SEEN = (
    "that an instance computes on a GPU",
    "GPU memory against its plan",
    "the device nodes that a server opens against its unit",
)


def run(run: Run) -> typing.Iterator[Values]:
    done = {values["model"]["shape"] for values in Journal(run.work).values(NAME) if "model" in values}
    with scene.opened(run, INSTANCE) as here:
        # The larger one says more, so it comes first in case the budget ends.
        for model in reversed(run.models):
            if model.name not in done:
                found = _one(here, model)
                yield found
                unknown = [
                    node
                    for node in taken.unknown(found.get("nodes", {}), found.get("opened", []))
                    if node not in found["allowed"]
                ]
                if unknown:
                    yield {
                        "not_seen": (
                            f"whether a unit allows {', '.join(unknown)}, of whose driver the kernel does not tell"
                        )
                    }
        if not run.gpu:
            yield from ({"not_seen": what} for what in NOT_SEEN)


def _one(here: scene.Scene, model: Model) -> dict[str, typing.Any]:
    file = here.model(model)
    here.instances.remove(INSTANCE)
    before = taken.memory() if here.run.gpu else None
    context = taken.fixed(before, taken.listed_free(here.release / "bin/llama-server")) if here.run.gpu else 0
    with speed.Readiness(here.url) as ready:
        result = here.instances.apply(INSTANCE, {"model": file, **here.backend})
    pid = result["pid"]
    # The first request makes a server allocate memory that it postponed.
    here.expect(instances.answers(here.port), f"{model.name}: the instance that passed its gate does not answer")
    device = result["device"]
    here.expect(not here.run.gpu or device.startswith("CUDA"), f"{model.name}: it computes on {device}, not on a GPU")
    here.expect(result["generation"] == 1, f"{model.name}: a first generation has the number {result['generation']}")
    return {
        "model": here.described(model),
        "device": device,
        "slots": scene.SLOTS,
        "context": result["context"],
        "ready_seconds": ready.seconds_of(pid),
        "gate_tokens_per_second": result["speed"],
        "memory": taken.compare(result["memory"], pid, before, context),
        "warnings": result.get("warnings", []),
        **(_nodes(here, file, pid) if here.run.gpu else {}),
    }


def _nodes(here: scene.Scene, file: str, pid: int) -> dict[str, typing.Any]:
    return {"nodes": taken.nodes(), "opened": taken.opened(pid), "allowed": taken.allowed(str(here.release), file)}


PHASE = Phase(NAME, run, 45, needs=("release",))
