# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The host's CUDA toolkit for a run that brings none: a whole one, or its nvcc with what nvidia's wheels have
beside Python.
"""

from __future__ import annotations

import os
import pathlib
import platform
import re
import shutil
import sys
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import plan as cuda
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import run as run_command
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.host import MORE_FOLDERS


def host() -> cuda.ToolkitHost:
    """Return this host, with the folders of its PATH."""
    return cuda.ToolkitHost(
        run_command, platform.machine(), (*os.environ.get("PATH", "").split(os.pathsep), *MORE_FOLDERS)
    )


def find(
    work: pathlib.Path, where: cuda.ToolkitHost | None = None, paths: typing.Sequence[str] = tuple(sys.path)
) -> pathlib.Path | None:
    """Return the newest complete toolkit, or make one below ``work`` from a nvcc and the wheels in Python's ``paths``.

    Return None if neither is possible.
    """
    where = where or host()
    found, _reasons = cuda.search(cuda.Wanted(work), where)
    if found:
        return found.path
    wheels = [
        folder
        for path in paths
        for folder in sorted(pathlib.Path(path).glob("nvidia/cu*"))
        if (folder / "include/cublas_v2.h").exists()
    ]
    homes = cuda.candidates(where)
    return joined(work / "toolkit", homes[0], wheels[0]) if homes and wheels else None


def joined(folder: pathlib.Path, home: pathlib.Path, wheels: pathlib.Path) -> pathlib.Path:
    """One folder of links: the compiler of ``home``, and headers and libraries of both, the first one's where both
    have them.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("bin", "include", "lib64"):
        (folder / name).mkdir(parents=True)
    for program in (home / "bin").iterdir():
        if program.name != "nvcc":
            (folder / "bin" / program.name).symlink_to(program)
    nvcc = folder / "bin/nvcc"  # which looks for its own parts beside itself
    nvcc.write_text(f'#!/bin/sh\nexec "{home}/bin/nvcc" -I"{folder}/include" "$@"\n', encoding="utf-8")
    nvcc.chmod(0o755)
    _link(folder / "include", [home / "include", *sorted(home.glob("targets/*/include")), wheels / "include"])
    _link(folder / "lib64", [home / "lib64", *sorted(home.glob("targets/*/lib")), wheels / "lib"])
    for library in sorted((folder / "lib64").iterdir()):
        plain = re.sub(r"\.so\.\d+$", ".so", library.name)
        if not (folder / "lib64" / plain).exists():
            (folder / "lib64" / plain).symlink_to(library.name)
    return folder


def _link(target: pathlib.Path, sources: typing.Iterable[pathlib.Path]) -> None:
    for source in sources:
        for entry in source.iterdir() if source.is_dir() else ():
            if not (target / entry.name).is_symlink():
                (target / entry.name).symlink_to(entry)
