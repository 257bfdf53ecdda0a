# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The NVIDIA GPUs of a host that answer, their driver, and why there are none; what else may be wrong is
nvidia_host's.
"""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import capability as nvidia_capability
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import findings as nvidia_findings
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import kernel as nvidia_kernel
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.findings import (
    ERROR,
    OLDEST_DRIVER,
    VARIABLE,
    WARNING,
    Finding,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.smi import Driver, Gpu, Log, major, parse_log

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner

TIME_LIMIT = 15.0  # seconds that nvidia-smi gets; a healthy one needs about one
# Where drivers put nvidia-smi besides PATH, which is short under sudo, in containers and on WSL.
MORE_FOLDERS = (
    "/usr/bin",
    "/usr/local/bin",
    "/usr/local/nvidia/bin",
    "/opt/bin",
    "/usr/lib/wsl/lib",
    "/run/current-system/sw/bin",
)
# nvidia-smi answers in full, and ends so to tell that a GPU's identity is damaged.
_INFOROM_CORRUPT = 14


@dataclasses.dataclass(frozen=True)
class Host:
    """Where to look: every path below ``root``, every command through ``run``."""

    run: Runner
    root: pathlib.Path = pathlib.Path("/")
    folders: tuple[str, ...] = MORE_FOLDERS


@dataclasses.dataclass(frozen=True)
class Observation:
    """All that was seen on a host: the GPUs that can be used, all ``listed`` by the driver, and all ``devices``
    that are there.
    """

    gpus: tuple[Gpu, ...] = ()
    driver: Driver | None = None
    findings: tuple[Finding, ...] = ()
    listed: tuple[Gpu, ...] = ()
    devices: tuple[nvidia_kernel.Device, ...] = ()

    @property
    def usable(self) -> bool:
        return bool(self.gpus) and not any(finding.severity == ERROR for finding in self.findings)

    @property
    def architectures(self) -> list[str]:
        """CMake's names of what the GPUs run natively: ``90-real``."""
        return [
            f"{number}-real" for number in sorted({int(gpu.compute_capability.replace(".", "")) for gpu in self.gpus})
        ]


def find_program(host: Host, name: str) -> str:
    """Full path of a program; empty where there is none."""
    places = [str(host.root / folder.lstrip("/")) for folder in host.folders]
    return shutil.which(name, path=":".join(places)) or ""


def find_smi(host: Host) -> str:
    """Full path of nvidia-smi; empty where there is none."""
    return find_program(host, "nvidia-smi")


def observe(host: Host) -> Observation:
    """Look at the host, with one call of nvidia-smi; changes nothing and ends whatever hangs."""
    devices = tuple(nvidia_kernel.pci_devices(host.root))
    kernel_module = nvidia_kernel.module_version(host.root)
    absent = () if devices else (nvidia_findings.no_device(),)
    bare = Observation(
        driver=Driver("", "", kernel_module) if kernel_module else None, findings=absent, devices=devices
    )
    smi = find_smi(host)
    if not smi:
        return (
            bare
            if absent
            else _with(bare, nvidia_findings.no_smi([device.address for device in devices], kernel_module))
        )
    severity = ERROR if devices else WARNING
    result = host.run([smi, "-q", "-x"], timeout=TIME_LIMIT)
    if result.code not in (0, _INFOROM_CORRUPT) or "No devices were found" in result.stdout:
        return _with(bare, nvidia_findings.smi_failure(result, severity, kernel_module, TIME_LIMIT))
    try:
        log = parse_log(result.stdout, kernel_module)
    except ValueError as error:
        failed = result.code and nvidia_findings.smi_failure(result, severity, kernel_module, TIME_LIMIT)
        return _with(bare, failed or nvidia_findings.smi_unreadable(str(error), severity))
    seen = dataclasses.replace(bare, driver=log.driver, findings=() if log.gpus else absent, listed=tuple(log.gpus))
    if major(log.driver.version) < OLDEST_DRIVER:
        return _with(seen, nvidia_findings.driver_too_old(log.driver.version))
    return _answering(host, smi, log, seen if not result.code else _with(seen, _inforom_corrupt(result.stdout)))


def _answering(host: Host, smi: str, log: Log, seen: Observation) -> Observation:
    """Those of the GPUs that can be spoken to, with their compute capabilities."""
    asked = nvidia_capability.known(host, smi, [gpu for gpu in log.gpus if gpu.index not in log.lost])
    gpus = tuple(gpu for gpu in asked if gpu.compute_capability)
    silent = [
        f"{gpu.name or 'a GPU'} at {gpu.pci_address}"
        for gpu in log.gpus
        if gpu.index not in {answering.index for answering in gpus}
    ]
    completed = {gpu.index: gpu for gpu in asked}
    seen = dataclasses.replace(seen, gpus=gpus, listed=tuple(completed.get(gpu.index, gpu) for gpu in log.gpus))
    severity = ERROR if not gpus and (log.gpus or seen.devices) else WARNING
    return seen if gpus and not silent else _with(seen, nvidia_findings.gpu_lost(silent, log.driver.version, severity))


def judged(gpu: str, seen: Observation) -> Observation:
    """The same observation, the reasons among its warnings made errors where a GPU is required and there is none."""
    if gpu != "required" or seen.gpus:
        return seen
    return dataclasses.replace(
        seen, findings=nvidia_findings.worst_first(finding.as_error() for finding in seen.findings)
    )


def refusal(gpu: str, seen: Observation) -> str:
    """Why the play must not go on, every error in a line of its own; empty if it may."""
    errors = [finding for finding in seen.findings if finding.severity == ERROR]
    sentences = [str(finding) for finding in errors]
    if gpu == "auto" and any(not finding.unmet for finding in errors):
        sentences.append(
            f"A host with an NVIDIA device never serves from its CPU unasked; {VARIABLE}=none accepts the CPU."
        )
    return "\n".join(sentences)


def _inforom_corrupt(printed: str) -> Finding:
    warning = next((line.strip() for line in printed.splitlines() if "infoROM" in line), "a warning of nvidia-smi")
    fix = "have the board looked at; nvidia-smi still answers, but ECC and power settings may be lost"
    return Finding(
        "inforom_corrupt",
        WARNING,
        f"a GPU whose infoROM is corrupted ({warning[:200]})",
        "a GPU with a sound infoROM",
        fix,
    )


def _with(seen: Observation, *findings: Finding) -> Observation:
    return dataclasses.replace(seen, findings=(*seen.findings, *findings))
