# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Phase 6: a release that would compute on the CPU instead of the GPU is refused, or fails its gate."""

from __future__ import annotations

import typing

from tests.gpu import disguise, instances, scene
from tests.gpu.frame import Phase

if typing.TYPE_CHECKING:
    from tests.gpu.journal import Values
    from tests.gpu.session import Run

INSTANCE = "gpu-fallback"
NO_DEVICE, NO_GPU_OPEN, BACK = (
    "the release sees no CUDA device",
    "it has no GPU open, though llama_server_backend is cuda",
    "generation 1 is back in service",
)
_SHOWN = 300


def run(run: Run) -> typing.Iterator[Values]:
    with scene.opened(run, INSTANCE) as here:
        here.instances.remove(INSTANCE)
        given = {"model": here.model(run.models[0])}
        first = here.instances.apply(INSTANCE, {**given, **here.backend})
        yield {"served_by": first["device"], "generation": first["generation"]}
        yield _hidden(here, given, first["pid"])
        yield _disguised(here, given)


def _hidden(here: scene.Scene, given: dict[str, str], pid: int) -> dict[str, typing.Any]:
    """Hide every GPU: nothing is switched, so the running server continues unchanged."""
    said = here.instances.refused(INSTANCE, {**given, "backend": "cuda", "batch_size": 1024}, hidden=True)
    here.expect(
        NO_DEVICE in said, f"a release without a GPU in sight is not refused for that: {said[:_SHOWN] or 'it is taken'}"
    )
    after = here.instances.apply(INSTANCE, {**given, **here.backend})
    here.expect(
        after["pid"] == pid and not after["changed"], "a release that is refused before the switch costs a restart"
    )
    return {"case": "no GPU in sight", "refused": NO_DEVICE in said, "restarts": int(after["pid"] != pid)}


def _disguised(here: scene.Scene, given: dict[str, str]) -> dict[str, typing.Any]:
    """Start a release that lists a GPU, is healthy and answers, but computes on the CPU: only the gate can notice."""
    release = disguise.falling_back(here.run.work, here.release, here.run.gpu)
    said = here.instances.refused(INSTANCE, {**given, "backend": "cuda", "release": str(release)})
    here.expect(
        NO_GPU_OPEN in said,
        f"a server that falls back to the CPU does not fail its gate for that: {said[:_SHOWN] or 'it passes'}",
    )
    here.expect(BACK in said, f"the old generation is not back in service: {said[:_SHOWN]}")
    after = here.instances.apply(INSTANCE, {**given, **here.backend})
    here.expect(
        after["generation"] == 1 and not after["changed"],
        f"after the failure generation {after['generation']} is in service, not 1",
    )
    here.expect(instances.answers(here.port), "the old generation does not answer after the failure")
    return {"case": "a server that falls back", "refused": NO_GPU_OPEN in said, "back_in_service": after["generation"]}


PHASE = Phase("fallback", run, 40, needs=("release",))
