# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Phase 5: how fast an instance reads and writes for 1 client and for 16, and llama-bench for comparison; with
flash attention and without, f16 and q8_0.
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
# A cache of the values in q8_0 is only to be had with flash attention.
WAYS = (("on", "f16"), ("off", "f16"), ("on", "q8_0"))


@dataclasses.dataclass(frozen=True)
class Case:
    """One figure to get: of a model, in one of the WAYS, by one of the two programs for so many clients."""

    model: Model
    flash_attn: str
    cache_type: str
    by: str
    clients: int

    @property
    def key(self) -> dict[str, typing.Any]:
        """What says in a result which case it is."""
        return {
            "model": self.model.name,
            "flash_attn": self.flash_attn,
            "cache_type": self.cache_type,
            "by": self.by,
            "clients": self.clients,
        }


def cases(models: typing.Sequence[Model], ways: typing.Sequence[tuple[str, str]]) -> list[Case]:
    """Return all cases, those first that say most: the larger model before the smaller one, one client before many.

    Those of one instance stand together, for each has to be started. llama-bench knows no second client.
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
        # It would share the GPU with a server that waits, which costs nothing but memory.
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


# First every model as most are served, which is a budget well spent; then what else can be set.
PHASE = _phase(NAME, WAYS[:1], 40)
OTHERS = _phase(MORE, WAYS[1:], 40)
