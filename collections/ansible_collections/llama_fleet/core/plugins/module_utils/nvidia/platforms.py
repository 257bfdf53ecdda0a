# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Explain hosts whose GPU is no PCI card with NVIDIA's usual device files: WSL and Jetson boards."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import runtimes
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.findings import ERROR, WARNING, Finding

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.observe import Observation

WSL_LIBRARY = "/usr/lib/wsl/lib/libcuda.so.1"


def wsl(seen: Observation, linux_driver: bool, finds_library: bool) -> list[Finding]:
    """Explain a WSL host. Its driver is Windows'; a Linux driver would replace its libraries and find no GPU."""
    reasons = list(seen.findings)
    if not seen.gpus:
        fix = "install NVIDIA's driver on Windows, none in WSL, and run 'wsl --update' and 'wsl --shutdown' there"
        reasons = [finding for finding in reasons if finding.code != "no_device"]
        reasons.append(
            Finding("wsl_without_gpu", WARNING, "WSL without an NVIDIA GPU", "a GPU passed on by Windows' driver", fix)
        )
    if seen.gpus and not finds_library:
        state = f"WSL whose loader does not know {WSL_LIBRARY}"
        fix = "run as root: echo /usr/lib/wsl/lib > /etc/ld.so.conf.d/ld.wsl.conf && ldconfig"
        reasons.append(Finding("wsl_library", ERROR, state, "a driver library that a server finds", fix))
    if linux_driver:
        fix = "remove the packages of NVIDIA's Linux driver (libnvidia-compute-*, nvidia-driver-*)"
        wanted = f"none but those in {WSL_LIBRARY}"
        reasons.append(Finding("wsl_linux_driver", WARNING, "libraries of NVIDIA's Linux driver in WSL", wanted, fix))
    return reasons


def jetson_without_gpu(seen: Observation) -> Finding:
    """Explain a Jetson without nvidia-smi, or whose nvidia-smi does not report its GPU."""
    said = next((finding.found for finding in seen.findings if finding.code != "no_device"), "no GPU that is reported")
    fix = (
        "install JetPack 6 or newer; boards before Orin end with JetPack 5, whose CUDA 11 llama.cpp cannot be built "
        "with: set nvidia_driver_gpu=none to use their CPU"
    )
    wanted = "an nvidia-smi that reports the GPU, as in JetPack 6 or newer"
    return Finding("jetson_without_gpu", ERROR, f"an NVIDIA Jetson with {said}", wanted, fix)


def jetson_unit(by: str) -> list[Finding]:
    """Return a finding for a unit, which opens the device files of NVIDIA's cards only."""
    if by != runtimes.UNIT:
        return []
    fix = "set llama_server_runtime to process, with a user of the groups video and render"
    state = "an NVIDIA Jetson, whose device files a unit does not open"
    return [Finding("jetson_unit", ERROR, state, "a runtime with the Jetson's device files", fix)]
