# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Read the compute capability of GPUs, which decides the architectures of a build.

The driver's XML does not contain it, and a second nvidia-smi run starts the driver again (a second or more per GPU
without persistence). Three sources are tried in turn: the architecture's name, where all its GPUs share one capability;
the driver's library, which takes some hundredths of a second and also knows the UUIDs of MIG devices; and nvidia-smi,
where Python has no ctypes or the library is missing.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import sys
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import nvml

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.host import GpuHost
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.smi import Gpu

# Architectures with one compute capability. Ampere and Blackwell have several, and later ones may have several.
OF_ARCHITECTURE = {"Volta": "7.0", "Turing": "7.5", "Ada Lovelace": "8.9", "Hopper": "9.0"}
TIME_LIMIT = 10.0
# A Jetson's has no prefix.
UUID = r"(?:GPU-)?[0-9a-fA-F][0-9a-fA-F-]+"
LIBRARY = "libnvidia-ml.so.1"
_FOLDERS = ("/usr/lib/wsl/lib", "/run/opengl-driver/lib", "/usr/local/nvidia/lib64", "/opt/nvidia/lib64")


def known(host: GpuHost, smi: str, gpus: typing.Sequence[Gpu]) -> list[Gpu]:
    """Return ``gpus`` with their compute capabilities and the UUIDs of their MIG devices.

    A value that no source knows stays empty.
    """
    capabilities = {gpu.uuid: OF_ARCHITECTURE[gpu.architecture] for gpu in gpus if gpu.architecture in OF_ARCHITECTURE}
    mig_uuids: dict[tuple[str, str, str], str] = {}
    if any(gpu.uuid not in capabilities or any(not part.uuid for part in gpu.mig_devices) for gpu in gpus):
        result = host.run([sys.executable, "-I", "-S", "-c", nvml.source(), *_libraries(host, smi)], timeout=TIME_LIMIT)
        from_library, mig_uuids = parse_answer(result.stdout)
        capabilities = {**capabilities, **from_library}
    if any(gpu.uuid not in capabilities for gpu in gpus):
        result = host.run([smi, "--query-gpu=uuid,compute_cap", "--format=csv,noheader"], timeout=TIME_LIMIT)
        capabilities = {**parse_table(result.stdout), **capabilities}
    return [_completed(gpu, capabilities.get(gpu.uuid, ""), mig_uuids) for gpu in gpus]


def parse_answer(text: str) -> tuple[dict[str, str], dict[tuple[str, str, str], str]]:
    """Parse the output of ``nvml.py``.

    Return the capabilities by GPU UUID, and the UUIDs of MIG devices by (GPU UUID, GPU instance, compute instance).
    """
    capabilities = dict(re.findall(rf"^({UUID}) ([0-9]{{1,2}}\.[0-9])$", text, re.MULTILINE))
    parts = re.findall(r"^(GPU-[0-9a-fA-F-]+) (\d+) (\d+) (MIG-\S+)$", text, re.MULTILINE)
    return capabilities, {(gpu, instance, compute): uuid for gpu, instance, compute, uuid in parts}


def parse_table(text: str) -> dict[str, str]:
    """Parse ``--query-gpu=uuid,compute_cap --format=csv,noheader`` into compute capabilities by UUID."""
    return dict(re.findall(rf"^({UUID}),\s*([0-9]{{1,2}}\.[0-9])\s*$", text, re.MULTILINE))


def _completed(gpu: Gpu, capability: str, parts: typing.Mapping[tuple[str, str, str], str]) -> Gpu:
    devices = tuple(
        dataclasses.replace(
            part, uuid=part.uuid or parts.get((gpu.uuid, str(part.gpu_instance), str(part.compute_instance)), "")
        )
        for part in gpu.mig_devices
    )
    return dataclasses.replace(gpu, compute_capability=capability, mig_devices=devices)


def _libraries(host: GpuHost, smi: str) -> list[str]:
    """List candidates for the driver library: by the loader, beside nvidia-smi, and outside the loader path."""
    beside = pathlib.Path(smi).parent
    folders = [
        beside,
        beside.parent / "lib64",
        beside.parent / "lib",
        *(host.root / folder.lstrip("/") for folder in _FOLDERS),
    ]
    by_loader = [LIBRARY] if host.root == pathlib.Path("/") else []
    return [*by_loader, *(str(folder / LIBRARY) for folder in folders if (folder / LIBRARY).exists())]
