# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Which generation a rollback goes to, and whether it is still whole."""

from __future__ import annotations

import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store as release_store
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import checks as server_checks

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.plan import Planner
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.store import Store

VARIABLE = "llama_server_to_generation"


def target(store: Store, wanted: int) -> Generation:
    """The good generation numbered ``wanted``, or with 0 the newest good one before the current: where an
    unfinished rollback was going, if there is one.
    """
    current = store.current()
    if wanted == 0:
        unfinished = store.unfinished_rollback()
        if unfinished is not None and unfinished.good:
            return unfinished
        older = [found for found in store.all() if found.good and (current is None or found.number < current.number)]
        if older:
            return older[-1]
        before = f"no good generation before {current.number}" if current else "no good generation"
        raise ProblemError(
            Problem(
                VARIABLE,
                f"{before}, of {_there(store)}",
                "one to go back to",
                "name another one, or change the options instead",
            )
        )
    generation = store.get(wanted)
    if generation is None:
        raise ProblemError(Problem(VARIABLE, f"{wanted}, of {_there(store)}", "a generation that is there"))
    if not generation.good:
        raise ProblemError(
            Problem(VARIABLE, f"{wanted}, which never passed its gate, of {_there(store)}", "a good generation")
        )
    return generation


def _there(store: Store) -> str:
    current = store.current()
    told = [
        (
            f"{each.number} "
            f"({'good' if each.good else 'not good'}{', current' if current and current.number == each.number else ''})"
        )
        for each in store.all()
    ]
    return f"the generations {', '.join(told)}" if told else "no generation at all"


def require_whole(planner: Planner, generation: Generation) -> None:
    """Raise where its release, its model, its files or its place on the host are not as they were."""
    found = []
    damaged = generation.damage()
    if damaged:
        what = f"{', '.join(damaged)} of generation {generation.number}, not as it was written"
        found.append(
            Problem(
                str(generation.path),
                what,
                "files that nobody changed",
                "go to another generation, or start the instance anew",
            )
        )
    found += planner.of(generation).host_problems(planner.own_processes())
    wanted = int(generation.manifest.get("model_size", 0))
    size = server_checks.model_size(generation.model)
    if wanted and size and size != wanted:
        found.append(
            Problem(
                "llama_server_model",
                f"{generation.model} of {size} bytes",
                f"{wanted} bytes, as generation {generation.number} has it",
            )
        )
    release = str(generation.manifest.get("release", ""))
    built = str((release_store.read_manifest(pathlib.Path(release)) or {}).get("fingerprint", ""))
    before = str(generation.manifest.get("release_fingerprint", ""))
    if before and built and before != built:
        found.append(
            Problem(
                "llama_server_release",
                f"another release in {release}",
                f"the one that generation {generation.number} was made with",
            )
        )
    raise_if_any(found)
