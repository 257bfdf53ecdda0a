# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Compare an instance's files and processes with its current generation; each difference is one short sentence."""

from __future__ import annotations

import os
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store as release_store
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof.checks import model_size, shards
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import GENERATION_VARIABLE

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.status.seen import Seen


def drift_of(seen: Seen, proc: pathlib.Path = processes.PROC) -> list[str]:
    """Return all differences; empty if there are none or nothing can be read."""
    current = seen.current
    if current is None:
        return ["a process runs, but no generation is current"] if seen.own and not seen.number else []
    return [
        *_generation(current),
        *_release(current),
        *_model(current),
        *_process(seen, current, proc),
        *_service(seen, current),
    ]


def _generation(current: Generation) -> typing.Iterator[str]:
    if not current.good:
        yield f"generation {current.number} has not passed its gate"
    for name, (actual, wanted) in sorted(_sums(current).items()):
        if actual is None:
            yield f"the file {name} of generation {current.number} is missing"
        elif actual != wanted:
            yield f"the file {name} of generation {current.number} was changed by hand"


def _sums(current: Generation) -> dict[str, tuple[str | None, str]]:
    """Return the actual SHA-256 (None: missing) and the recorded one of each file; unreadable files are left out."""
    sums: dict[str, tuple[str | None, str]] = {}
    for name, wanted in current.files.items():
        path = current.path / name
        if not path.exists():
            sums[name] = (None, wanted)
        elif os.access(path, os.R_OK):
            sums[name] = (files.sha256_of(path), wanted)
    return sums


def _release(current: Generation) -> typing.Iterator[str]:
    release = str(current.manifest.get("release", ""))
    if not release or not os.access(release, os.X_OK):
        if release and not os.path.exists(release):
            yield f"the release is missing: {release}"
        return
    if not (pathlib.Path(release) / "bin" / "llama-server").is_file():
        yield f"the release has no llama-server: {release}"
    manifest = release_store.read_manifest(pathlib.Path(release)) or {}
    wanted = current.manifest.get("release_fingerprint")
    if wanted and manifest.get("fingerprint") and manifest["fingerprint"] != wanted:
        yield f"{release} holds another release than generation {current.number} was made with"


def _model(current: Generation) -> typing.Iterator[str]:
    model = str(current.manifest.get("model", ""))
    if not model:
        return
    missing = [shard.name for shard in shards(pathlib.Path(model)) if not shard.exists()]
    wanted = int(current.manifest.get("model_size") or 0)
    if missing:
        count = len(missing)
        yield f"{count} of the model's files {'is' if count == 1 else 'are'} missing: {', '.join(missing)}"
    elif wanted and model_size(model) != wanted:
        yield f"the model's files have {model_size(model)} bytes, not {wanted}"


def _process(seen: Seen, current: Generation, proc: pathlib.Path) -> typing.Iterator[str]:
    if len(seen.own) > 1:
        yield f"{len(seen.own)} processes run, not one: {', '.join(str(process.pid) for process in seen.own)}"
    for process in seen.own[:1]:
        number = processes.environment(process.pid, proc).get(GENERATION_VARIABLE)
        if number and number != str(current.number):
            yield f"the process runs generation {number}, not {current.number}"
        if _executable(process.pid, proc).endswith(" (deleted)"):
            yield "the release's program was replaced while it runs"


def _executable(pid: int, proc: pathlib.Path) -> str:
    try:
        return os.readlink(proc / str(pid) / "exe")
    except OSError:
        return ""


def _service(seen: Seen, current: Generation) -> typing.Iterator[str]:
    runtime = seen.runtime
    if runtime.needs_gate_port or seen.hidden:
        return
    if seen.own and seen.stopped:
        yield "it runs, although it was stopped"
    if not runtime.installs:
        if seen.own and not seen.recorded:
            yield "it runs, although it is recorded as stopped"
        if not seen.own and not seen.stopped:
            yield "it does not run, although it was not stopped"
        return
    if (seen.own or seen.recorded) and not runtime.settled(current):
        yield f"what is installed is not the {runtime.installs} of generation {current.number}"
    if seen.own and not seen.recorded:
        yield "it runs, but would not start at boot"
    if seen.recorded and not seen.own:
        yield "it was stopped, but starts at boot" if seen.stopped else "it does not run, although it starts at boot"
    if not (seen.recorded or seen.own or seen.stopped):
        yield "it neither runs nor starts at boot, although it was not stopped"
