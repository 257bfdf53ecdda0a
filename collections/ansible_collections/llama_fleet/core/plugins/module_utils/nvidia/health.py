# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What is wrong with GPUs that answer: some cannot be used as they are, others will not be for long."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.findings import ERROR, WARNING, Finding
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.kernel import FATAL_XIDS, place

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.smi import Gpu

_RESET = "stop all that uses the GPU and run 'nvidia-smi --gpu-reset -i {}' as root, or reboot the host"
# A GPU that its hardware slows down; that software keeps to a power limit is everyday life.
_SLOWED = {
    "hw_slowdown": "by its hardware",
    "hw_thermal_slowdown": "by its temperature",
    "sw_thermal_slowdown": "by its temperature",
    "hw_power_brake_slowdown": "by its power supply",
}


def usable(gpus: typing.Sequence[Gpu]) -> tuple[Gpu, ...]:
    """Those that CUDA can compute on as they are."""
    return tuple(gpu for gpu in gpus if not _unusable(gpu, ERROR))


def findings(
    gpus: typing.Sequence[Gpu], wanted: typing.Collection[str], xids: typing.Mapping[str, int]
) -> list[Finding]:
    """All of them. One GPU that cannot be used is an error where it is the only one, or ``wanted`` by its UUID."""
    left = usable(gpus)
    found: list[Finding] = []
    for gpu in gpus:
        found += _unusable(gpu, ERROR if not left or gpu.uuid in wanted else WARNING)
        found += [*_waiting(gpu), *_memory(gpu), *_limits(gpu)]
        if place(gpu.pci_address) in xids:
            found.append(xid(str(gpu), xids[place(gpu.pci_address)], WARNING))
    return found


def xid(gpu: str, number: int, severity: str) -> Finding:
    """What the kernel log says of a GPU since the host started; ``off the bus`` is no warning but the end of it."""
    code = "gpu_off_bus" if severity == ERROR or number == 79 else "gpu_xid"
    fix = "reboot the host; where it comes back, look at the power supply, the seat and the cooling of the GPU"
    return Finding(
        code,
        severity,
        f"{gpu} with Xid {number} in the kernel log ({FATAL_XIDS[number]})",
        "a GPU without errors since the host started",
        fix,
    )


def _unusable(gpu: Gpu, severity: str) -> list[Finding]:
    found = []
    if gpu.compute_mode == "prohibited":
        fix = f"run 'nvidia-smi -i {gpu.index} -c DEFAULT' as root"
        found.append(
            Finding(
                "compute_prohibited",
                severity,
                f"{gpu} in compute mode Prohibited",
                "a compute mode that lets programs compute",
                fix,
            )
        )
    if gpu.mig_mode == "enabled" and not gpu.mig_devices:
        fix = (
            f"make instances, such as with 'nvidia-smi mig -i {gpu.index} -cgi 0 -C', or switch MIG off with "
            f"'nvidia-smi -i {gpu.index} -mig 0'"
        )
        found.append(
            Finding(
                "mig_without_instances",
                severity,
                f"{gpu} in MIG mode without a compute instance",
                "a MIG device, or no MIG mode",
                fix,
            )
        )
    if gpu.recovery_action in ("reset", "reboot"):
        fix = _RESET.format(gpu.index) if gpu.recovery_action == "reset" else "reboot the host"
        found.append(
            Finding(
                "gpu_reset_needed",
                severity,
                f"{gpu}, whose driver asks for a {gpu.recovery_action}",
                "a GPU that needs no reset",
                fix,
            )
        )
    return found


def _waiting(gpu: Gpu) -> typing.Iterator[Finding]:
    """What somebody has changed and only a reset makes true, and what may soon be an error."""
    reset = _RESET.format(gpu.index)
    if gpu.ecc.mode_pending and gpu.ecc.mode_pending != gpu.ecc.mode:
        yield Finding(
            "ecc_mode_pending",
            WARNING,
            f"{gpu} with ECC {gpu.ecc.mode} and {gpu.ecc.mode_pending} after a reset",
            "one ECC mode",
            reset,
        )
    if gpu.mig_mode_pending and gpu.mig_mode_pending != gpu.mig_mode:
        yield Finding(
            "mig_mode_pending",
            WARNING,
            f"{gpu} with MIG {gpu.mig_mode} and {gpu.mig_mode_pending} after a reset",
            "one MIG mode",
            reset,
        )
    if gpu.recovery_action not in ("", "reset", "reboot"):
        action = gpu.recovery_action.replace("_", " ")
        yield Finding(
            "recovery_recommended",
            WARNING,
            f"{gpu}, whose driver recommends to {action}",
            "a GPU that needs no recovery",
            reset,
        )
    if gpu.compute_mode.startswith("exclusive"):
        fix = f"run 'nvidia-smi -i {gpu.index} -c DEFAULT' as root, or keep everything else off this GPU"
        holder = "; ".join(f"{process.name} (pid {process.pid})" for process in gpu.processes) or "no process yet"
        yield Finding(
            "compute_exclusive",
            WARNING,
            f"{gpu} in an exclusive compute mode, held by {holder}",
            "a GPU that several programs may use",
            fix,
        )


def _memory(gpu: Gpu) -> typing.Iterator[Finding]:
    reset = _RESET.format(gpu.index)
    if gpu.ecc.repair_failed:
        yield Finding(
            "ecc_repair_failed",
            WARNING,
            f"{gpu} with memory rows that could not be replaced",
            "sound memory",
            "have the board replaced",
        )
    if gpu.ecc.repair_pending:
        yield Finding(
            "ecc_repair_pending",
            WARNING,
            f"{gpu} with a memory repair that waits for a reset",
            "repaired memory",
            reset,
        )
    if gpu.ecc.uncorrectable:
        found = f"{gpu} with {gpu.ecc.uncorrectable} uncorrectable memory errors since its driver was loaded"
        yield Finding("ecc_errors", WARNING, found, "none", f"{reset}; where they come back, have the board replaced")


def _limits(gpu: Gpu) -> typing.Iterator[Finding]:
    reasons = list(dict.fromkeys(_SLOWED[limit] for limit in gpu.limits_reached if limit in _SLOWED))
    if reasons:
        fix = "look at the fans, the air flow and the power cables"
        yield Finding(
            "gpu_slowed_down", WARNING, f"{gpu}, slowed down {' and '.join(reasons)}", "a GPU at its full speed", fix
        )
