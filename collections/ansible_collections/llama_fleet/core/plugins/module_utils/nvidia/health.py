# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Check GPUs that answer: some are unusable as configured, others are about to fail."""

from __future__ import annotations

import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.findings import ERROR, WARNING, Finding
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.kernel import FATAL_XIDS, place

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.smi import Gpu

_RESET = "stop everything that uses the GPU and run 'nvidia-smi --gpu-reset -i {}' as root, or reboot the host"
# Slowdowns by the hardware. A software power cap is normal and therefore not listed.
_SLOWED = {
    "hw_slowdown": "by its hardware",
    "hw_thermal_slowdown": "by its temperature",
    "sw_thermal_slowdown": "by its temperature",
    "hw_power_brake_slowdown": "by its power supply",
}


def usable(gpus: typing.Sequence[Gpu]) -> tuple[Gpu, ...]:
    """Return the GPUs that CUDA can compute on in their current configuration."""
    return tuple(gpu for gpu in gpus if not _unusable(gpu, ERROR))


def findings(
    gpus: typing.Sequence[Gpu], wanted: typing.Collection[str], xids: typing.Mapping[str, int]
) -> list[Finding]:
    """List the findings of all GPUs.

    An unusable GPU is an error if no GPU is usable or ``wanted`` names its UUID; otherwise it is a warning.
    """
    left = usable(gpus)
    reasons: list[Finding] = []
    for gpu in gpus:
        reasons += _unusable(gpu, ERROR if not left or gpu.uuid in wanted else WARNING)
        reasons += [*_waiting(gpu), *_memory(gpu), *_limits(gpu), *_virtual(gpu)]
        if place(gpu.pci_address) in xids:
            reasons.append(xid(str(gpu), xids[place(gpu.pci_address)], WARNING))
    return reasons


def xid(gpu: str, number: int, severity: str) -> Finding:
    """Return the finding for an Xid in the kernel log. Xid 79 (off the bus) means that the GPU is gone."""
    code = "gpu_off_bus" if severity == ERROR or number == 79 else "gpu_xid"
    fix = "reboot the host; if it recurs, check the GPU's power supply, seat and cooling"
    return Finding(
        code,
        severity,
        f"{gpu} with Xid {number} in the kernel log ({FATAL_XIDS[number]})",
        "a GPU without errors since the host started",
        fix,
    )


def _unusable(gpu: Gpu, severity: str) -> list[Finding]:
    """List the reasons why CUDA cannot compute on the GPU, each with the given ``severity``."""
    reasons = []
    if gpu.compute_mode == "prohibited":
        state, wanted = f"{gpu} in compute mode Prohibited", "a compute mode that lets programs compute"
        fix = f"run 'nvidia-smi -i {gpu.index} -c DEFAULT' as root"
        reasons.append(Finding("compute_prohibited", severity, state, wanted, fix))
    if gpu.mig_mode == "enabled" and not gpu.mig_devices:
        state, wanted = f"{gpu} in MIG mode without a compute instance", "a MIG device, or no MIG mode"
        fix = (
            f"create instances, for example with 'nvidia-smi mig -i {gpu.index} -cgi 0 -C', or turn MIG off with "
            f"'nvidia-smi -i {gpu.index} -mig 0'"
        )
        reasons.append(Finding("mig_without_instances", severity, state, wanted, fix))
    if gpu.recovery_action in ("reset", "reboot"):
        state, wanted = f"{gpu}, whose driver asks for a {gpu.recovery_action}", "a GPU that needs no reset"
        fix = _RESET.format(gpu.index) if gpu.recovery_action == "reset" else "reboot the host"
        reasons.append(Finding("gpu_reset_needed", severity, state, wanted, fix))
    return reasons


def _waiting(gpu: Gpu) -> typing.Iterator[Finding]:
    """Yield warnings about settings that take effect only after a reset, and about states that may become errors."""
    reset = _RESET.format(gpu.index)
    if gpu.ecc.mode_pending and gpu.ecc.mode_pending != gpu.ecc.mode:
        state = f"{gpu} with ECC {gpu.ecc.mode} and {gpu.ecc.mode_pending} after a reset"
        yield Finding("ecc_mode_pending", WARNING, state, "one ECC mode", reset)
    if gpu.mig_mode_pending and gpu.mig_mode_pending != gpu.mig_mode:
        state = f"{gpu} with MIG {gpu.mig_mode} and {gpu.mig_mode_pending} after a reset"
        yield Finding("mig_mode_pending", WARNING, state, "one MIG mode", reset)
    if gpu.recovery_action not in ("", "reset", "reboot"):
        state = f"{gpu}, whose driver recommends to {gpu.recovery_action.replace('_', ' ')}"
        yield Finding("recovery_recommended", WARNING, state, "a GPU that needs no recovery", reset)
    if gpu.compute_mode.startswith("exclusive"):
        fix = f"run 'nvidia-smi -i {gpu.index} -c DEFAULT' as root, or keep other programs off this GPU"
        holder = "; ".join(f"{process.name} (pid {process.pid})" for process in gpu.processes) or "no process yet"
        state = f"{gpu} in an exclusive compute mode, held by {holder}"
        yield Finding("compute_exclusive", WARNING, state, "a GPU that several programs may use", fix)


def _memory(gpu: Gpu) -> typing.Iterator[Finding]:
    """Yield warnings about the GPU's memory."""
    reset = _RESET.format(gpu.index)
    if gpu.ecc.repair_failed:
        state = f"{gpu} with memory rows that could not be replaced"
        yield Finding("ecc_repair_failed", WARNING, state, "sound memory", "have the board replaced")
    if gpu.ecc.repair_pending:
        state = f"{gpu} with a memory repair that waits for a reset"
        yield Finding("ecc_repair_pending", WARNING, state, "repaired memory", reset)
    if gpu.ecc.uncorrectable:
        state = f"{gpu} with {gpu.ecc.uncorrectable} uncorrectable memory errors since its driver was loaded"
        yield Finding("ecc_errors", WARNING, state, "no such error", f"{reset}; if they recur, have the board replaced")


def _limits(gpu: Gpu) -> typing.Iterator[Finding]:
    """Yield a warning if the GPU is slowed down by its hardware."""
    reasons = list(dict.fromkeys(_SLOWED[limit] for limit in gpu.limits_reached if limit in _SLOWED))
    if reasons:
        fix = "check the fans, the air flow and the power cables"
        slow_gpu = f"{gpu}, slowed down {' and '.join(reasons)}"
        yield Finding("gpu_slowed_down", WARNING, slow_gpu, "a GPU at its full speed", fix)


def _virtual(gpu: Gpu) -> typing.Iterator[Finding]:
    """Yield warnings about a vGPU that its driver slows down, or whose profile has no CUDA."""
    if gpu.license_status and not gpu.license_status.startswith("Licensed"):
        state = f"{gpu}, a vGPU whose licence status is {gpu.license_status}"
        wanted = "a licence, because without one the driver slows CUDA down after some minutes, to a few MB per second"
        fix = (
            "put the token of the licence server into /etc/nvidia/ClientConfigToken, restart nvidia-gridd and read "
            "'journalctl -u nvidia-gridd'"
        )
        yield Finding("vgpu_unlicensed", WARNING, state, wanted, fix)
    if gpu.virtualization == "vgpu" and re.search(r"-\d+[AB]$", gpu.name):
        state = f"{gpu}, a vGPU of a profile for desktops or applications"
        fix = "ask for a profile of the series Q or C, whose name ends in that letter"
        yield Finding("vgpu_profile", WARNING, state, "a profile with CUDA", fix)
