# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Collect the parts of a build's fingerprint that are known without its compiler, and explain all parts."""

from __future__ import annotations

import platform
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.options import (
    CUDA,
    NATIVE,
    Origins,
    Target,
    cmake_options,
    cpu_features,
    libc,
    reasons,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.recipe import RECIPE
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import Archive, Revision

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import Request

Parts = dict[str, typing.Any]


def planned_parts(request: Request, revision: Revision, toolkit: str, openssl: bool, cpuinfo: str) -> Parts:
    """Return the parts of the release's fingerprint, without its compiler and the cures of that compiler's faults.

    ``toolkit`` is the version of the CUDA toolkit, ``cpuinfo`` the text of /proc/cpuinfo.
    """
    target = Target(request.backend, request.cpu, platform.machine(), tuple(sorted(request.cuda_architectures)))
    return {
        "source": request.source.sha256 if isinstance(request.source, Archive) else revision.commit,
        "build": revision.build,
        "backend": request.backend,
        "machine": target.machine,
        "libc": libc(),
        "cmake_options": cmake_options(target, revision.number, revision.commit, openssl, request.cmake_options),
        "cuda_architectures": list(target.cuda_architectures) if request.backend == CUDA else [],
        "cuda_toolkit": toolkit,
        "cpu_features": cpu_features(cpuinfo) if request.cpu == NATIVE else "",
        "recipe": RECIPE,
    }


def explain(request: Request, parts: Parts, compiler: str, cpuinfo: str) -> dict[str, str]:
    """Return the origin of each of ``parts``. ``compiler`` is the path of the host's, or empty."""
    origins = Origins(
        request.source_name,
        request.version,
        request.cpu,
        cpuinfo,
        compiler or "the compiler",
        request.cuda_toolkit or "the toolkit",
        request.cmake_options,
    )
    return reasons(parts, origins)
