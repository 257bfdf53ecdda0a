# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Probe the compiler of a build for known faults before the build, and choose the cure of each."""

from __future__ import annotations

import dataclasses
import os
import shlex
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import build_user
from ansible_collections.llama_fleet.core.plugins.module_utils.host.scratch import scratch
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.faults import FAULTS, Cure, Fault
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.options import X86, cpu_flags, flags_of_cpu

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner

_COMPILE_LIMIT = 60  # seconds; compiling a probe takes half a second
_RUN_LIMIT = 10  # seconds
_NOTHING = "int main() { return 0; }\n"
# The default of CMake's Release, which every build gets unless the user sets CMAKE_CXX_FLAGS_RELEASE.
_RELEASE_FLAGS = "-O3 -DNDEBUG"
_NOT_COMPILED = -1000  # no exit code and no signal


@dataclasses.dataclass(frozen=True)
class _Bench:
    """A compiler with the flags of the build, in a folder of its own; ``run`` runs commands as the build user.

    ``decides`` is False if the result on this host says nothing about the hosts that the release is for.
    """

    work: pathlib.Path
    compiler: str
    flags: tuple[str, ...]
    run: Runner
    decides: bool = True

    def code(self, program: str, cure: Cure | None = None, run: bool = True) -> int:
        """Compile ``program`` and ``run`` it; return its exit code, or _NOT_COMPILED."""
        source, header, binary = self.work / "probe.cpp", self.work / "cure.h", self.work / "build" / "probe"
        source.write_text(program, encoding="utf-8")
        header.write_text(cure.header if cure else "", encoding="utf-8")
        more = [*(cure.flags if cure else ()), "-include", str(header)]
        command = [self.compiler, *self.flags, *more, str(source), "-o", str(binary)]
        if not self.run(command, cwd=str(self.work), timeout=_COMPILE_LIMIT).ok:
            return _NOT_COMPILED
        if not run:
            return 0
        return self.run([str(binary)], cwd=str(self.work), timeout=_RUN_LIMIT).code

    def accepts(self, fault: Fault, cure: Cure | None = None) -> bool:
        """Return whether the build is safe from ``fault``. Where running proves nothing, a cure must only compile."""
        code = self.code(fault.probe, cure, fault.run)
        return code == 0 or (not self.decides and cure is not None and code != _NOT_COMPILED)


def find_cures(
    compiler: str, options: typing.Mapping[str, str], machine: str, cpuinfo: str, run: Runner
) -> tuple[Cure, ...]:
    """Return the cures that a build with ``compiler`` and the CMake ``options`` needs.

    Compiles and runs small programs as the build user in a temporary folder; nothing else changes. Takes about a second
    on a CPU with AMX, and no time on one without any feature of a known fault. A compiler that cannot compile an empty
    program gets no cure, because the build itself will show why.
    """
    every = options.get("GGML_CPU_ALL_VARIANTS") == "ON"
    relevant = [fault for fault in FAULTS if every or set(fault.features) & set(cpu_flags(cpuinfo))]
    flags = _flags(options)
    if machine not in X86 or not relevant or flags is None:
        return ()
    with scratch() as work:
        work.chmod(0o755)
        builder = build_user.builder_of(work, [], run)
        (work / "build").mkdir(exist_ok=True)
        bench = _Bench(work, options.get("CMAKE_CXX_COMPILER", compiler), flags, builder.run)
        code = bench.code(_NOTHING)
        if code == _NOT_COMPILED:
            return ()
        # A temporary folder may be mounted without the right to run programs.
        bench = dataclasses.replace(bench, decides=code == 0 and not every)
        probed = (_cure(fault, bench) for fault in relevant)
        return tuple(cure for cure in probed if cure is not None)


def _cure(fault: Fault, bench: _Bench) -> Cure | None:
    """Return the first cure that removes the fault; None without the fault, the last if none is proven."""
    if bench.accepts(fault):
        return None
    return next((cure for cure in fault.cures if bench.accepts(fault, cure)), fault.cures[-1])


def _flags(options: typing.Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the flags that CMake passes to the C++ compiler for ggml-cpu; None if the user's cannot be split."""
    general = options.get("CMAKE_CXX_FLAGS", os.environ.get("CXXFLAGS", ""))
    release = options.get("CMAKE_CXX_FLAGS_RELEASE", _RELEASE_FLAGS)
    try:
        return (*shlex.split(general), *shlex.split(release), *flags_of_cpu(options))
    except ValueError:
        return None
