# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Define the known faults of compilers and assemblers that break llama.cpp, with a probe and the cures of each.

A probe exits with 0 if the build is safe. The probe for AMX exits with 2 if the kernel refuses AMX, with 3 if the
compiler removes stores, and dies by an illegal instruction otherwise. Every new fault needs a source and a test.
"""

from __future__ import annotations

import dataclasses
import typing

# Includes the header before every C++ file of ggml-cpu. Clang's intrinsic is right.
_AMX_SHIM = """/* GCC 12.2's _tile_loadconfig names 8 of its 64 input bytes, so the stores to the rest are removed. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__AMX_TILE__)
#include <immintrin.h>
#undef _tile_loadconfig
#define _tile_loadconfig(config) __asm__ volatile("ldtilecfg %0" : : "m"(*(const char (*)[64])(config)))
#endif
"""
_AMX_PROBE = """#ifdef __AMX_TILE__
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
struct alignas(64) config {
    unsigned char palette, start, reserved[14];
    unsigned short colsb[16];
    unsigned char rows[16];
};
int main() {
    if (syscall(SYS_arch_prctl, 0x1023, 18)) return 2;      // ARCH_REQ_XCOMP_PERM, XTILEDATA: the kernel refuses
    config wanted = {};
    wanted.palette = 1; wanted.rows[0] = 16; wanted.colsb[0] = 64;
    _tile_loadconfig(&wanted);
    alignas(64) config got = {};
    __asm__ volatile("sttilecfg %0" : "=m"(got));
    if (got.rows[0] != 16 || got.colsb[0] != 64) return 3;  // the compiler has removed the stores
    _tile_zero(0);
    _tile_release();
    return 0;
}
#else
int main() { return 0; }
#endif
"""
# The instruction is assembled and never run.
_ASSEMBLER_PROBE = """#ifdef {macro}
void instruction() {{ __asm__ volatile("{instruction}"); }}
#endif
int main() {{ return 0; }}
"""


@dataclasses.dataclass(frozen=True)
class Cure:
    """A change of how ggml-cpu is compiled: more ``flags``, and the text of a ``header`` that is included first.

    In builds for several kinds of CPU it applies to the variants whose flags match the regular expression ``targets``.
    """

    name: str
    targets: str
    flags: tuple[str, ...] = ()
    header: str = ""


@dataclasses.dataclass(frozen=True)
class Fault:
    """A known fault of a compiler or an assembler, with its ``reason`` and its public ``source``.

    It matters only for CPUs with one of ``features``, as named in /proc/cpuinfo. ``cures`` are tried in order: the
    first that makes the ``probe`` exit with 0 is taken. A probe that is not ``run`` only has to compile.
    """

    name: str
    reason: str
    source: str
    features: tuple[str, ...]
    probe: str
    cures: tuple[Cure, ...]
    run: bool = True


_AMX = r"-mamx|-march="
AMX_SHIM = Cure("amx-shim", _AMX, header=_AMX_SHIM)
NO_AMX = Cure("no-amx", _AMX, ("-mno-amx-tile", "-mno-amx-int8", "-mno-amx-bf16"))


def _unknown_instruction(feature: str, flag: str, macro: str, instruction: str, source: str) -> Fault:
    return Fault(
        f"assembler-{flag}",
        f"The compiler uses {feature}, and the assembler beside it is too old for these instructions.",
        source,
        (feature,),
        _ASSEMBLER_PROBE.format(macro=macro, instruction=instruction),
        (Cure(f"no-{flag}", rf"-m{flag}|-march=", (f"-mno-{flag}",)),),
        run=False,
    )


FAULTS: typing.Final = (
    Fault(
        "amx",
        "GCC removes the stores to a tile configuration, so that the first AMX instruction is an illegal one; or the "
        "kernel or the hypervisor refuses AMX.",
        "https://github.com/ggml-org/llama.cpp/pull/26954",
        ("amx_tile",),
        _AMX_PROBE,
        (AMX_SHIM, NO_AMX),
    ),
    _unknown_instruction(
        "avx512_vnni",
        "avx512vnni",
        "__AVX512VNNI__",
        "vpdpbusd %zmm0, %zmm0, %zmm0",
        "https://github.com/ggml-org/llama.cpp/issues/11787",
    ),
    _unknown_instruction(
        "avx_vnni",
        "avxvnni",
        "__AVXVNNI__",
        "{vex} vpdpbusd %ymm0, %ymm0, %ymm0",
        "https://github.com/ollama/ollama/issues/8942",
    ),
)
CURES: typing.Final = {cure.name: cure for fault in FAULTS for cure in fault.cures}
