# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Phase 3: the release, compiled for this GPU alone with all cores, or the packed one of the parcel."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import parse_pinned
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv as tools_venv
from tests.gpu import packed as packed_release
from tests.gpu.frame import Phase
from tests.gpu.session import PACKED, RELEASE, FailedError, Run

if typing.TYPE_CHECKING:
    from tests.gpu.journal import Values

PERIOD = 5.0  # seconds between two checks of the compilers' progress
# Seconds to unpack a packed release and decode tokens; seconds below which compiling is pointless.
_PACKED_SECONDS, _COMPILED_SECONDS = 25.0, 60.0


def run(run: Run) -> typing.Iterator[Values]:
    source = run.wanted
    packed = source.startswith(PACKED)
    yield {"way": "packed" if packed else "compiled"}
    began = time.monotonic()
    if packed and run.parcel.get("toolkit_libraries"):
        source = completed(run)
        yield {"toolkit_libraries": run.parcel["toolkit_libraries"], "seconds": round(time.monotonic() - began, 1)}
    if not packed and not list((run.folder / "simple").glob("cmake-*.whl")):
        yield {"tools": host_tools(run)}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        playing = pool.submit(run.play, "tests/gpu/release.yml", {"llama_cpp_source": source})
        told = (0, 0)
        while not concurrent.futures.wait([playing], PERIOD).done:
            if not packed and (seen := compiled(run.root)) != told:
                told = seen
                yield {"objects": seen[0], "of": seen[1], "seconds": round(time.monotonic() - began, 1)}
        returned = playing.result()
    release = returned["release"]
    (run.work / RELEASE).write_text(json.dumps({**returned, "source": source}), encoding="utf-8")
    yield {
        "release": {name: release[name] for name in ("path", "build", "fingerprint", "origin", "compiled", "cured")},
        "toolkit": {name: returned["toolkit"].get(name, "") for name in ("version", "origin", "path")},
        "cmake_options": run.cmake_options,
        "seconds": round(time.monotonic() - began, 1),
    }


def completed(run: Run) -> str:
    """Return the packed release with the libraries of the host's toolkit, as a source."""
    found = run.toolkit()
    if not found:
        raise FailedError(
            "the packed release wants libcudart and libcublas, and this host has no CUDA toolkit with them"
        )
    archive = pathlib.Path(parse_pinned(run.wanted[len(PACKED) :], "release").reference)
    whole = packed_release.complete(
        archive, pathlib.Path(found), run.work, lambda: contextlib.nullcontext(run.borrow("zstandard"))
    )
    return f"{PACKED}{whole}"


def host_tools(run: Run) -> dict[str, str]:
    """Put the host's CMake and Ninja where the role keeps its own; return where they are."""
    found = {name: shutil.which(name) or "" for name in ("cmake", "ninja")}
    if missing := [name for name, place in found.items() if not place]:
        raise FailedError(
            f"this host has no {' and no '.join(missing)}, and neither has the parcel; collect it without --slim"
        )
    if not tools_venv.tools_ready(run.root, tools_venv.BUILD_TOOLS):
        venv = tools_venv.folder(run.root)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--clear", venv], check=True)
        for name, place in found.items():
            (venv / "bin" / name).symlink_to(place)
        python = str((venv / "bin/python").resolve())
        (venv / tools_venv.STAMP).write_text(
            json.dumps({"python": python, "requirements": list(tools_venv.BUILD_TOOLS)}), encoding="utf-8"
        )
    return found


def compiled(root: pathlib.Path) -> tuple[int, int]:
    """Return how many of how many objects the running build has made, from its log; 0 of 0 before it compiles."""
    logs = sorted((root / "builds").glob("*.log"), key=lambda file: file.stat().st_mtime)
    steps = (
        re.findall(r"^\[(\d+)/(\d+)\]", logs[-1].read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        if logs
        else []
    )
    return (int(steps[-1][0]), int(steps[-1][1])) if steps else (0, 0)


def path(run: Run) -> pathlib.Path:
    """Return the folder of the release, for later phases."""
    return pathlib.Path(run.returned()["release"]["path"])


def there(run: Run) -> bool:
    return bool(run.returned()) and (path(run) / "manifest.json").exists()


def least(run: Run) -> float:
    return _PACKED_SECONDS if run.wanted.startswith(PACKED) else _COMPILED_SECONDS


PHASE = Phase("release", run, least, there=there)
