# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""An instance of each model: on which device it computes, how long it takes to be ready, and how fast it is."""

from __future__ import annotations

import typing

from tests.gpu import driver, gpus, speed
from tests.gpu.frame import Phase
from tests.gpu.phases import release
from tests.gpu.session import FailedError, Run, parameters

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.tiny_model import Model
    from tests.gpu.journal import Values


def run(run: Run) -> typing.Iterator[Values]:
    for model in run.models:
        yield from _served(run, model)


def _served(run: Run, model: Model) -> typing.Iterator[Values]:
    file = run.model_file(model)
    url = f"http://127.0.0.1:{run.port}"
    more = {"gguf_model_source": str(file), "llama_server_ctx_size": run.prompt + run.tokens + 64, "llama_server_parallel": 1}
    with speed.Readiness(url) as ready:
        results = run.play("tests/gpu/play.yml", more)
    server = results["server"]
    yield {
        "model": {"shape": model.name, "parameters": parameters(model), "bytes": file.stat().st_size},
        "device": server["device"],
        "time_to_ready_seconds": ready.seconds_of(server["pid"]),
    }
    if run.gpu and (wrong := driver.differences(results["gpu"], driver.query())):
        raise FailedError("nvidia_driver_info: " + "; ".join(wrong))
    if run.gpu and not server["device"].startswith("CUDA"):
        raise FailedError(f"the instance computes on {server['device']} and not on the GPU")
    with gpus.Watch(run.gpu) as watch:
        served = speed.ask(url, model.vocabulary, run.prompt, run.tokens, run.rounds)
    yield {"model": model.name, "server": served, "gpus_at_work": watch.busiest}
    with run.variables(more) as variables:
        run.ansible("playbooks/down.yml", "-e", f"@{variables}")
    yield {"model": model.name, "bench": speed.bench(release.path(run), file, run.prompt, run.tokens, run.rounds, run.gpu)}


PHASE = Phase("serving", run, 40, needs=("release",))
