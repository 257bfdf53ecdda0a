# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Make false releases: one lists a GPU and computes on the CPU, and the GPU of the other is full."""

from __future__ import annotations

import json
import shlex
import shutil
import typing

if typing.TYPE_CHECKING:
    import pathlib

# The listing of a release for CUDA; only a host without a GPU gets this one.
LISTING = "Available devices:\n  CUDA0: NVIDIA H200 (143771 MiB, {free} MiB free)\n"
_SERVER = """#!/bin/sh
# Lists its devices truthfully, or as recorded, and hides every GPU from the server that it then starts.
case " $* " in *" --list-devices "*) {listing};; esac
export CUDA_VISIBLE_DEVICES= LLAMA_ARG_DEVICE=none
exec {server} "$@"
"""
_PLANNER = """#!/bin/sh
case " $* " in *" --help "*) exec {planner} "$@";; esac
echo "CUDA0 {model_mib} {context_mib} 300 "
echo "Host 100 0 20 "
"""


def falling_back(folder: pathlib.Path, release: pathlib.Path, gpu: bool) -> pathlib.Path:
    """Make a release below ``folder`` whose server silently computes on the CPU, as if CUDA failed to start."""
    server = shlex.quote(str(release / "bin/llama-server"))
    listing = f'exec {server} "$@"' if gpu else _told(143000)
    return _made(folder / "falling-back", release, {"llama-server": _SERVER.format(listing=listing, server=server)})


def full(folder: pathlib.Path, release: pathlib.Path, free_mib: int, model_mib: int, context_mib: int) -> pathlib.Path:
    """Make a release that lists a GPU with ``free_mib`` MiB free and plans to take more, for a host without one."""
    server, planner = (shlex.quote(str(release / "bin" / name)) for name in ("llama-server", "llama-fit-params"))
    programs = {
        "llama-server": _SERVER.format(listing=_told(free_mib), server=server),
        "llama-fit-params": _PLANNER.format(planner=planner, model_mib=model_mib, context_mib=context_mib),
    }
    return _made(folder / "full", release, programs)


def _told(free_mib: int) -> str:
    return f"printf %s {shlex.quote(LISTING.format(free=free_mib))}; exit 0"


def _made(place: pathlib.Path, release: pathlib.Path, programs: typing.Mapping[str, str]) -> pathlib.Path:
    shutil.rmtree(place, ignore_errors=True)
    (place / "bin").mkdir(parents=True)
    for file in (release / "bin").iterdir():
        if file.name not in programs:
            (place / "bin" / file.name).symlink_to(file)
    for name, text in programs.items():
        (place / "bin" / name).write_text(text, encoding="utf-8")
        (place / "bin" / name).chmod(0o755)
    manifest = json.loads((release / "manifest.json").read_text(encoding="utf-8"))
    (place / "manifest.json").write_text(json.dumps({**manifest, "fingerprint": place.name}), encoding="utf-8")
    return place
