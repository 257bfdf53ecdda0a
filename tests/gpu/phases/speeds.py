# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Phase 5: speed of an instance for 1 and for 16 clients, and of llama-bench, with various options.

With and without flash attention, with f16 and q8_0.
"""

from __future__ import annotations

import dataclasses
import typing

from tests.gpu import crowd, gpus, scene, speed
from tests.gpu.frame import Phase
from tests.gpu.journal import Journal, Values

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.tiny_model import Model
    from tests.gpu.session import Run

NAME, MORE = "speed", "speed-ways"
INSTANCE = "gpu-speed"
SERVER, BENCH = "llama-server", "llama-bench"
CLIENTS = 16
KEYS = ("model", "flash_attn", "cache_type", "by", "clients")
# A q8_0 cache of the values needs flash attention.
WAYS = (("on", "f16"), ("off", "f16"), ("on", "q8_0"))


@dataclasses.dataclass(frozen=True)
class Case:
    """A figure to measure: a model in one of the WAYS, by one of the two programs, for a number of clients."""

    model: Model
    flash_attn: str
    cache_type: str
    by: str
    clients: int

    @property
    def key(self) -> dict[str, typing.Any]:
        """Return what identifies the case in a result."""
        return {
            "model": self.model.name,
            "flash_attn": self.flash_attn,
            "cache_type": self.cache_type,
            "by": self.by,
            "clients": self.clients,
        }


def cases(models: typing.Sequence[Model], ways: typing.Sequence[tuple[str, str]]) -> list[Case]:
    """Return all cases, the most important first: the larger model first, and one client before many.

    Cases of one instance are together, because each instance must be started. llama-bench has no second client.
    """
    programs = ((SERVER, 1), (BENCH, 1), (SERVER, CLIENTS))
    larger_first = list(reversed(models))
    return [Case(model, *way, *program) for way in ways for model in larger_first for program in programs]


def _phase(name: str, ways: typing.Sequence[tuple[str, str]], least: float) -> Phase:
    def run(run: Run) -> typing.Iterator[Values]:
        known = [{key: values.get(key) for key in KEYS} for values in Journal(run.work).values(name)]
        with scene.opened(run, INSTANCE) as here:
            for case in cases(run.models, ways):
                if case.key not in known:
                    yield {**case.key, **_measured(here, case)}
            if not run.gpu:
                yield {"not_seen": "the speed of a GPU"}

    return Phase(name, run, least, needs=("release",))


def _measured(here: scene.Scene, case: Case) -> dict[str, typing.Any]:
    run = here.run
    if case.by == BENCH:
        device = "CUDA0" if run.gpu else "none"
        options = ("-fa", case.flash_attn, "-ctk", case.cache_type, "-ctv", case.cache_type)
        # It would share the GPU with a waiting server, which costs only memory.
        found = speed.bench(
            here.release, run.model_file(case.model), run.prompt, run.tokens, run.rounds, run.gpu, options
        )
        return {
            "device": device,
            "prompt_tokens": run.prompt,
            "generated_tokens": run.tokens,
            "rounds": run.rounds,
            **found,
        }
    way = {"flash_attn": case.flash_attn, "cache_type_k": case.cache_type, "cache_type_v": case.cache_type}
    result = here.instances.apply(INSTANCE, {"model": here.model(case.model), **way, **here.backend})
    with gpus.Watch(run.gpu) as watch:
        if case.clients == 1:
            found = speed.ask(here.url, case.model.vocabulary, run.prompt, run.tokens, run.rounds)
        else:
            found = crowd.ask(here.url, case.model.vocabulary, case.clients, run.prompt, run.tokens)
    return {"device": result["device"], **found, "busiest": watch.busiest}


# First every model with the usual options, in case the budget ends; then the other options.
PHASE = _phase(NAME, WAYS[:1], 40)
OTHERS = _phase(MORE, WAYS[1:], 40)
