# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Observe a host's driver and its responding GPUs. ``examine`` adds what else may be wrong."""

from __future__ import annotations

import dataclasses
import re

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import capability, findings, kernel
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.findings import (
    ERROR,
    OLDEST_DRIVER,
    VARIABLE,
    WARNING,
    Finding,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.host import TIME_LIMIT, GpuHost, find_smi
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.smi import Driver, Gpu, Log, major, parse_log

# nvidia-smi answers in full and exits with this code if the infoROM of a GPU is corrupted.
_INFOROM_CORRUPT = 14
# Generations that no driver after 470 supports. Older drivers do not name the generation.
_ENDED = ("Fermi", "Kepler")
_KEPLER = re.compile(r"Tesla K\d|GRID K\d|Quadro K\d")


@dataclasses.dataclass(frozen=True)
class Observation:
    """The GPUs of a host: ``gpus`` are usable, ``listed`` are all the driver lists, ``devices`` all on the PCI bus."""

    gpus: tuple[Gpu, ...] = ()
    driver: Driver | None = None
    findings: tuple[Finding, ...] = ()
    listed: tuple[Gpu, ...] = ()
    devices: tuple[kernel.Device, ...] = ()

    @property
    def usable(self) -> bool:
        return bool(self.gpus) and not any(finding.severity == ERROR for finding in self.findings)

    @property
    def architectures(self) -> list[str]:
        """Return CMake's names of the architectures that the GPUs run natively, such as ``90-real``."""
        return [
            f"{number}-real" for number in sorted({int(gpu.compute_capability.replace(".", "")) for gpu in self.gpus})
        ]


def observe(host: GpuHost) -> Observation:
    """Observe the host with one run of nvidia-smi, which ends after TIME_LIMIT seconds. Nothing is changed."""
    devices = tuple(kernel.pci_devices(host.root))
    kernel_module = kernel.module_version(host.root)
    absent = () if devices else (findings.no_device(),)
    bare = Observation(
        driver=Driver("", "", kernel_module) if kernel_module else None, findings=absent, devices=devices
    )
    smi = find_smi(host)
    if not smi:
        addresses = [device.address for device in devices]
        return bare if absent else _with(bare, findings.no_smi(addresses, kernel_module))
    severity = ERROR if devices else WARNING
    result = host.run([smi, "-q", "-x"], timeout=TIME_LIMIT)
    if result.code not in (0, _INFOROM_CORRUPT) or "No devices were found" in result.stdout:
        return _with(bare, findings.smi_failure(result, severity, kernel_module, TIME_LIMIT))
    try:
        log = parse_log(result.stdout, kernel_module, kernel.jetson_driver(host.root))
    except ValueError as error:
        failed = result.code and findings.smi_failure(result, severity, kernel_module, TIME_LIMIT)
        return _with(bare, failed or findings.smi_unreadable(str(error), severity))
    seen = dataclasses.replace(bare, driver=log.driver, findings=() if log.gpus else absent, listed=tuple(log.gpus))
    if major(log.driver.version) < OLDEST_DRIVER:
        ended = [str(gpu) for gpu in log.gpus if gpu.architecture in _ENDED or _KEPLER.search(gpu.name)]
        return _with(seen, findings.driver_too_old(log.driver.version, ended))
    return _answering(host, smi, log, seen if not result.code else _with(seen, _inforom_corrupt(result.stdout)))


def _answering(host: GpuHost, smi: str, log: Log, seen: Observation) -> Observation:
    """Add the GPUs that answer, with their compute capabilities, and a finding for those that do not."""
    queried = capability.known(host, smi, [gpu for gpu in log.gpus if gpu.index not in log.lost])
    gpus = tuple(gpu for gpu in queried if gpu.compute_capability)
    silent = [
        f"{gpu.name or 'a GPU'} at {gpu.pci_address}"
        for gpu in log.gpus
        if gpu.index not in {answering.index for answering in gpus}
    ]
    completed = {gpu.index: gpu for gpu in queried}
    seen = dataclasses.replace(seen, gpus=gpus, listed=tuple(completed.get(gpu.index, gpu) for gpu in log.gpus))
    severity = ERROR if not gpus and (log.gpus or seen.devices) else WARNING
    return seen if gpus and not silent else _with(seen, findings.gpu_lost(silent, log.driver.version, severity))


def judged(gpu: str, seen: Observation) -> Observation:
    """Turn the warnings that explain a missing GPU into errors if ``gpu`` is ``required`` and there is none."""
    if gpu != "required" or seen.gpus:
        return seen
    return dataclasses.replace(seen, findings=findings.worst_first(finding.as_error() for finding in seen.findings))


def refusal(gpu: str, seen: Observation) -> str:
    """Return why the play must stop, one error per line, or an empty string."""
    errors = [finding for finding in seen.findings if finding.severity == ERROR]
    sentences = [str(finding) for finding in errors]
    if gpu == "auto" and any(not finding.unmet for finding in errors):
        sentences.append(
            f"A host with an NVIDIA device does not fall back to its CPU by itself; {VARIABLE}=none accepts the CPU."
        )
    return "\n".join(sentences)


def _inforom_corrupt(printed: str) -> Finding:
    warning = next((line.strip() for line in printed.splitlines() if "infoROM" in line), "a warning of nvidia-smi")
    corrupted = f"a GPU with a corrupted infoROM ({warning[:200]})"
    fix = "have the board inspected; nvidia-smi still answers, but ECC and power settings may be lost"
    return Finding("inforom_corrupt", WARNING, corrupted, "a GPU with a sound infoROM", fix)


def _with(seen: Observation, *added: Finding) -> Observation:
    return dataclasses.replace(seen, findings=(*seen.findings, *added))
