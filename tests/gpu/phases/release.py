# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Phase 3: the release, compiled for this GPU alone with all cores, or taken from the packed one that travels in the parcel."""

from __future__ import annotations

import concurrent.futures
import json
import pathlib
import re
import time
import typing

from tests.gpu.frame import Phase
from tests.gpu.session import PACKED, RELEASE, Run

if typing.TYPE_CHECKING:
    from tests.gpu.journal import Values

PERIOD = 5.0  # seconds between two looks at how far the compilers are
# Of the one that travels packed: it is unpacked and decodes tokens.
_PACKED_SECONDS, _COMPILED_SECONDS = 25.0, 60.0


def run(run: Run) -> typing.Iterator[Values]:
    packed = run.source.startswith(PACKED)
    yield {"way": "packed" if packed else "compiled"}
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        playing = pool.submit(run.play, "tests/gpu/release.yml")
        told = (0, 0)
        while not concurrent.futures.wait([playing], PERIOD).done:
            if not packed and (seen := compiled(run.root)) != told:
                told = seen
                yield {"objects": seen[0], "of": seen[1], "seconds": round(time.monotonic() - began, 1)}
        returned = playing.result()
    release = returned["release"]
    (run.work / RELEASE).write_text(json.dumps(returned), encoding="utf-8")
    yield {
        "release": {name: release[name] for name in ("path", "build", "fingerprint", "origin", "compiled", "cured")},
        "toolkit": {name: returned["toolkit"].get(name, "") for name in ("version", "origin", "path")},
        "cmake_options": run.cmake_options,
        "seconds": round(time.monotonic() - began, 1),
    }


def compiled(root: pathlib.Path) -> tuple[int, int]:
    """How many of how many objects the build that runs has made, by its log; 0 of 0 before it compiles."""
    logs = sorted((root / "builds").glob("*.log"), key=lambda file: file.stat().st_mtime)
    steps = re.findall(r"^\[(\d+)/(\d+)\]", logs[-1].read_text(encoding="utf-8", errors="replace"), re.MULTILINE) if logs else []
    return (int(steps[-1][0]), int(steps[-1][1])) if steps else (0, 0)


def path(run: Run) -> pathlib.Path:
    """The folder of the release, for the phases after this one."""
    return pathlib.Path(json.loads((run.work / RELEASE).read_text(encoding="utf-8"))["release"]["path"])


def there(run: Run) -> bool:
    return (run.work / RELEASE).exists() and (path(run) / "manifest.json").exists()


def least(run: Run) -> float:
    return _PACKED_SECONDS if run.source.startswith(PACKED) else _COMPILED_SECONDS


PHASE = Phase("release", run, least, there=there)
