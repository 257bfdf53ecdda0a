# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Phase 6: two instances on one GPU, and a GPU whose memory another process holds."""

from __future__ import annotations

import concurrent.futures
import os
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import examine as nvidia_host
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.host import MORE_FOLDERS, GpuHost
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.requirements import Requirements
from ansible_collections.llama_fleet.core.plugins.module_utils.release.memory_plan import HOST
from tests.gpu import disguise, hold, instances, scene, taken
from tests.gpu.frame import Phase
from tests.gpu.parcel import ROOT
from tests.gpu.session import FailedError

if typing.TYPE_CHECKING:
    from tests.gpu.journal import Values
    from tests.gpu.session import Run

FIRST, SECOND = "gpu-first", "gpu-second"
_TOO_LITTLE = "MiB free. Fix: "
_SHOWN = 300


def run(run: Run) -> typing.Iterator[Values]:
    with scene.opened(run, FIRST, SECOND) as here:
        here.instances.remove(FIRST, SECOND)
        yield _two(here)
        here.instances.remove(SECOND)
        if run.gpu:
            yield _held(here)
        else:
            yield {"not_seen": "two instances on one GPU"}
            yield _recorded(here)
            yield {"not_seen": "a GPU whose memory another process holds"}


def _two(here: scene.Scene) -> dict[str, typing.Any]:
    """Both serve, at the same time, and starting the second is no business of the first's."""
    larger, smaller = here.run.models[-1], here.run.models[0]
    first = here.instances.apply(FIRST, {"model": here.model(larger), **here.backend})
    second = here.instances.apply(SECOND, {"model": here.model(smaller), "port": here.port + 1, **here.backend})
    again = here.instances.apply(FIRST, {"model": here.model(larger), **here.backend})
    here.expect(again["pid"] == first["pid"] and not again["changed"], "starting a second instance restarts the first")
    here.expect(first["pid"] != second["pid"], "both instances are the same process")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answer = list(pool.map(instances.answers, (here.port, here.port + 1)))
    here.expect(all(answer), f"asked at the same time, the instances answer: {answer}")
    pids = {name: result["pid"] for name, result in ((FIRST, first), (SECOND, second))}
    return {
        "case": "two instances",
        "devices": [first["device"], second["device"]],
        "answered": sum(answer),
        "taken_mib": [taken.of_process(pid) for pid in pids.values()] if here.run.gpu else [],
    }


def _held(here: scene.Scene) -> dict[str, typing.Any]:
    """Another process takes nearly all of the GPU: an instance that does not fit is refused with figures, and the
    one that runs goes on.
    """
    larger = {"model": here.model(here.run.models[-1]), **here.backend}
    before = here.instances.apply(FIRST, larger)
    given = {"model": here.model(here.run.models[0]), "port": here.port + 1, **here.backend}
    left = _half(here, given)
    try:
        with hold.held(-left, str(ROOT)) as (pid, mib):
            said = here.instances.refused(SECOND, given)
            told = _holders()
            lists_it = str(pid) in told
    except hold.HoldError as error:
        raise FailedError(f"the GPU's memory cannot be held: {error}") from None
    here.expect(
        _TOO_LITTLE in said,
        f"an instance for which there is no memory is not refused for that: {said[:_SHOWN] or 'it is taken'}",
    )
    here.expect("free, held by" in told, f"nvidia_driver_info does not tell of the memory: {told[:_SHOWN]}")
    after = here.instances.apply(FIRST, larger)
    here.expect(after["pid"] == before["pid"], "the instance that runs was restarted while the memory was held")
    return {
        "case": "memory held by another process",
        "held_mib": mib,
        "refused": _TOO_LITTLE in said,
        "holder_named": lists_it,
        "said": said[:_SHOWN],
    }


def _half(here: scene.Scene, given: typing.Mapping[str, typing.Any]) -> int:
    """MiB to leave free so that any program can still use the GPU, and the instance has half of what it is planned
    to take.
    """
    planned = here.instances.apply(SECOND, given, check=True)["memory"]
    wanted: int = sum(
        row["model_mib"] + row["context_mib"] + row["compute_mib"] for row in planned if row["device"] != HOST
    )
    return taken.fixed(taken.memory(), taken.listed_free(here.release / "bin/llama-server")) + wanted // 2


def _holders() -> str:
    """Return the finding of nvidia_driver_info for a request of more memory than any GPU has."""
    host = GpuHost(commands.run, folders=tuple(os.environ.get("PATH", "").split(os.pathsep)) + MORE_FOLDERS)
    seen = nvidia_host.examine(host, Requirements(min_free_memory=10**7)).seen
    return " ".join(finding.found for finding in seen.findings if finding.code == "memory_too_little")


def _recorded(here: scene.Scene) -> dict[str, typing.Any]:
    """Return the outcome of the memory check for a full GPU that only the release reports."""
    release = disguise.full(here.run.work, here.release, free_mib=100, model_mib=1200, context_mib=512)
    given = {"model": here.model(here.run.models[0]), "port": here.port + 1, "backend": "cuda", "n_gpu_layers": "all"}
    said = here.instances.refused(SECOND, {**given, "release": str(release)})
    here.expect(
        f"with 100 {_TOO_LITTLE}" in said,
        f"a recorded GPU that is full is not told: {said[:_SHOWN] or 'it is taken'}",
    )
    return {"case": "memory of a recorded GPU", "refused": _TOO_LITTLE in said, "said": said[:_SHOWN]}


PHASE = Phase("sharing", run, 40, needs=("release",))
