# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Replay a recorded H100's answers of nvidia-smi and NVML, so that a run can be tried without a GPU."""

from __future__ import annotations

import os
import shlex
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import smi as nvidia_smi
from ansible_collections.llama_fleet.core.tests.unit.fakes import gpu_host as fake_gpu_host
from tests.gpu.session import NotHereError, Run

if typing.TYPE_CHECKING:
    import pathlib

DOCUMENT = "h100_driver_580"
CAPABILITY = "9.0"


def root(run: Run) -> pathlib.Path:
    """Return the recorded host's root folder."""
    return run.work / "recorded"


def install(work: pathlib.Path) -> None:
    """Make the host below ``work`` and put its programs first on this process's PATH."""
    if not fake_gpu_host.has_compiler():
        raise NotHereError("the recorded GPU's library wants a C compiler")
    place = work / "recorded"
    place.mkdir(parents=True, exist_ok=True)
    host = fake_gpu_host.FakeGpuHost(place)
    log = fake_gpu_host.document(DOCUMENT)
    if not (place / "usr/bin/nvidia-smi").exists():
        fake_gpu_host.add_library(host, {fake_gpu_host.H100: CAPABILITY})
        host.device()
        host.module()
        host.nodes()
        host.write("smi.xml", log)
        host.program("nvidia-smi", _script(place, rows(log)))
    os.environ["PATH"] = f"{place / 'usr/bin'}{os.pathsep}{os.environ['PATH']}"


def rows(log: str) -> dict[str, str]:
    """Return what ``--query-gpu`` reports of the recorded GPU, by name."""
    seen = nvidia_smi.parse_log(log)
    (gpu,) = seen.gpus
    return {
        "index": "0",
        "name": gpu.name,
        "driver_version": seen.driver.version,
        "uuid": gpu.uuid,
        "pci.bus_id": gpu.pci_address,
        "compute_cap": CAPABILITY,
        "memory.total": str(gpu.memory_total_mib),
        "memory.used": str(gpu.memory_total_mib - gpu.memory_free_mib),
        "memory.free": str(gpu.memory_free_mib),
        "utilization.gpu": "0",
        "mig.mode.current": "Enabled" if gpu.mig_mode == "enabled" else "Disabled",
        "compute_mode": gpu.compute_mode,
        "ecc.mode.current": "Enabled" if gpu.ecc.mode == "enabled" else "Disabled",
        "persistence_mode": "Enabled" if gpu.persistence else "Disabled",
    }


def _script(place: pathlib.Path, values: typing.Mapping[str, str]) -> str:
    """Return a script that answers ``-q -x`` and ``--query-gpu=NAMES`` with known names, and nothing else."""
    cases = "\n".join(f"{name}) value={shlex.quote(value)};;" for name, value in values.items())
    return f"""case $1 in
-q) cat {shlex.quote(str(place / "smi.xml"))};;
--query-gpu=*)
    row=
    for name in $(echo "${{1#*=}}" | tr , ' '); do
        case $name in
{cases}
*) echo "Field \\"$name\\" is not a valid field to query." >&2; exit 2;;
        esac
        row="$row${{row:+, }}$value"
    done
    echo "$row";;
*) exit 3;;
esac"""
