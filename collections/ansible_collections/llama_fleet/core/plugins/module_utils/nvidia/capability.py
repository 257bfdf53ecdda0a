# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The compute capability of GPUs, which decides what a build is for.

No driver writes it into its XML. A second nvidia-smi would start the driver again, a second or more for each GPU
without persistence. So the architecture that the XML names tells it where all its GPUs have the same; else the driver's
library is asked, which takes some hundredths of a second, and also knows the UUIDs of MIG devices. Only where Python
has no ctypes or the library is nowhere to be found does nvidia-smi run again.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import sys
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import nvml as nvidia_nvml

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.observe import Host
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.smi import Gpu

# Families that are complete, of GPUs that nvidia-smi lists. Ampere and Blackwell have several, later ones may get some.
OF_ARCHITECTURE = {"Volta": "7.0", "Turing": "7.5", "Ada Lovelace": "8.9", "Hopper": "9.0"}
TIME_LIMIT = 10.0
LIBRARY = "libnvidia-ml.so.1"
_FOLDERS = ("/usr/lib/wsl/lib", "/run/opengl-driver/lib", "/usr/local/nvidia/lib64", "/opt/nvidia/lib64")


def known(host: Host, smi: str, gpus: typing.Sequence[Gpu]) -> list[Gpu]:
    """The same GPUs with their compute capabilities, as far as they can be known, and with the UUIDs of their MIG
    devices.
    """
    found = {gpu.uuid: OF_ARCHITECTURE[gpu.architecture] for gpu in gpus if gpu.architecture in OF_ARCHITECTURE}
    parts: dict[tuple[str, str, str], str] = {}
    if any(gpu.uuid not in found or any(not part.uuid for part in gpu.mig_devices) for gpu in gpus):
        result = host.run(
            [sys.executable, "-I", "-S", "-c", nvidia_nvml.source(), *_libraries(host, smi)], timeout=TIME_LIMIT
        )
        told, parts = parse_answer(result.stdout)
        found = {**found, **told}
    if any(gpu.uuid not in found for gpu in gpus):
        result = host.run([smi, "--query-gpu=uuid,compute_cap", "--format=csv,noheader"], timeout=TIME_LIMIT)
        found = {**parse_table(result.stdout), **found}
    return [_completed(gpu, found.get(gpu.uuid, ""), parts) for gpu in gpus]


def parse_answer(text: str) -> tuple[dict[str, str], dict[tuple[str, str, str], str]]:
    """Capabilities by UUID, and UUIDs of MIG devices by the GPU's UUID and both instances, out of what nvidia_nvml
    writes.
    """
    capabilities = dict(re.findall(r"^(GPU-[0-9a-fA-F-]+) ([0-9]{1,2}\.[0-9])$", text, re.MULTILINE))
    parts = re.findall(r"^(GPU-[0-9a-fA-F-]+) (\d+) (\d+) (MIG-\S+)$", text, re.MULTILINE)
    return capabilities, {(gpu, instance, compute): uuid for gpu, instance, compute, uuid in parts}


def parse_table(text: str) -> dict[str, str]:
    """UUID to compute capability, from ``--query-gpu=uuid,compute_cap --format=csv,noheader``."""
    return dict(re.findall(r"^(GPU-[0-9a-fA-F-]+),\s*([0-9]{1,2}\.[0-9])\s*$", text, re.MULTILINE))


def _completed(gpu: Gpu, capability: str, parts: typing.Mapping[tuple[str, str, str], str]) -> Gpu:
    devices = tuple(
        dataclasses.replace(
            part, uuid=part.uuid or parts.get((gpu.uuid, str(part.gpu_instance), str(part.compute_instance)), "")
        )
        for part in gpu.mig_devices
    )
    return dataclasses.replace(gpu, compute_capability=capability, mig_devices=devices)


def _libraries(host: Host, smi: str) -> list[str]:
    """Where the driver's library may be: as the loader finds it, beside nvidia-smi, and where drivers outside of
    the loader's path are.
    """
    beside = pathlib.Path(smi).parent
    folders = [
        beside,
        beside.parent / "lib64",
        beside.parent / "lib",
        *(host.root / folder.lstrip("/") for folder in _FOLDERS),
    ]
    by_loader = [LIBRARY] if host.root == pathlib.Path("/") else []
    return [*by_loader, *(str(folder / LIBRARY) for folder in folders if (folder / LIBRARY).exists())]
