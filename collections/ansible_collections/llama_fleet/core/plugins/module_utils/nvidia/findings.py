# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Findings: reasons why a GPU is not used, or soon will not be, each with the state found, wanted, and the fix."""

from __future__ import annotations

import dataclasses
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result

VARIABLE = "nvidia_driver_gpu"
OLDEST_DRIVER = 525  # the first that runs CUDA 12 and reports compute capabilities
ERROR = "error"
WARNING = "warning"

# Every code, worst first: a cause comes before its consequences.
CODES = (
    "container_without_gpus",
    "wsl_without_gpu",
    "wsl_library",
    "jetson_without_gpu",
    "jetson_unit",
    "no_device",
    "device_handed_on",
    "nouveau_bound",
    "secure_boot",
    "module_not_built",
    "no_driver",
    "driver_not_loaded",
    "driver_mismatch",
    "no_nvidia_smi",
    "smi_hangs",
    "smi_unreadable",
    "smi_failed",
    "no_permission",
    "gpu_revoked",
    "gpu_off_bus",
    "no_usable_gpu",
    "driver_too_old",
    "fabric_manager_missing",
    "gpu_lost",
    "gpu_unsupported",
    "gpu_failed_start",
    "gpu_reset_needed",
    "compute_prohibited",
    "mig_without_instances",
    "device_nodes_missing",
    "device_rights",
    "uvm_missing",
    "gpus_missing",
    "driver_below_minimum",
    "driver_too_old_for_toolkit",
    "gpu_dropped_by_toolkit",
    "gpu_unknown_to_toolkit",
    "capability_too_low",
    "memory_too_little",
    "cdi_missing",
    "cdi_stale",
    "container_toolkit_missing",
    "fabric_not_ready",
    "gpu_xid",
    "gpu_not_listed",
    "ecc_repair_failed",
    "ecc_repair_pending",
    "ecc_errors",
    "ecc_mode_pending",
    "mig_mode_pending",
    "recovery_recommended",
    "inforom_corrupt",
    "compute_exclusive",
    "gpu_slowed_down",
    "vgpu_profile",
    "vgpu_unlicensed",
    "ptx_too_new",
    "wsl_linux_driver",
    "unattended_upgrade",
)
# The role variable that asks for each requirement, by the code of the finding that reports it as unmet.
_ASKED_BY = {
    "gpus_missing": "nvidia_driver_gpus",
    "driver_below_minimum": "nvidia_driver_min_driver",
    "driver_too_old_for_toolkit": "nvidia_driver_toolkit_version",
    "ptx_too_new": "nvidia_driver_toolkit_version",
    "gpu_dropped_by_toolkit": "nvidia_driver_toolkit_version",
    "gpu_unknown_to_toolkit": "nvidia_driver_toolkit_version",
    "capability_too_low": "nvidia_driver_compute_capability",
    "memory_too_little": "nvidia_driver_min_free_memory",
    "cdi_missing": "nvidia_driver_runtime",
    "container_toolkit_missing": "nvidia_driver_runtime",
    "device_rights": "nvidia_driver_user",
}
# Codes that keep no GPU from being used today. They never become errors, even if a GPU is required and none is usable.
_ADVICE = frozenset(CODES[CODES.index("fabric_not_ready") :])


@dataclasses.dataclass(frozen=True)
class Finding:
    """One reason why a GPU is not used; an error stops the play, a warning does not."""

    code: str
    severity: str
    found: str
    wanted: str
    fix: str

    def __str__(self) -> str:
        return str(Problem(self.subject, self.found, self.wanted, self.fix))

    @property
    def subject(self) -> str:
        """Return the role variable whose requirement is not met, or the variable that asks for a GPU."""
        return _ASKED_BY.get(self.code, VARIABLE)

    @property
    def unmet(self) -> bool:
        """Return whether a requirement is not met, as opposed to a GPU that cannot be used."""
        return self.code in _ASKED_BY

    def as_error(self) -> Finding:
        """Return the finding with the severity it has if a GPU is required and none is usable."""
        return self if self.code in _ADVICE else dataclasses.replace(self, severity=ERROR)


def worst_first(findings: typing.Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort findings: errors before warnings, and within each a cause before its consequences."""
    return tuple(sorted(findings, key=lambda finding: (finding.severity != ERROR, CODES.index(finding.code))))


# Messages of a failing nvidia-smi: pattern, code, wanted, fix. The first match counts.
_FAILURES: tuple[tuple[str, str, str, str], ...] = (
    (
        r"version mismatch",
        "driver_mismatch",
        "a kernel module and driver libraries of the same version",
        "reboot the host, or stop everything that uses the GPUs and reload the nvidia modules",
    ),
    (
        r"couldn't communicate with the NVIDIA driver|Driver Not Loaded",
        "driver_not_loaded",
        "a loaded nvidia kernel module",
        "run 'modprobe nvidia' as root and read 'dmesg'; rebuild the driver's kernel module after a kernel upgrade",
    ),
    (
        r"Insufficient Permissions",
        "no_permission",
        "a user that may open /dev/nvidia*",
        "run with become or sudo, or correct the rights of the device files",
    ),
    (
        r"NVML: Unknown Error",
        "gpu_revoked",
        "a container that still holds its GPUs",
        "restart the container; outside of one, reboot the host",
    ),
    (
        r"GPU is lost|Unable to determine the device handle",
        "gpu_off_bus",
        "a GPU that answers",
        "look for 'Xid' in 'dmesg' and reboot the host",
    ),
    (
        r"requires a? ?reset",
        "gpu_reset_needed",
        "a GPU that needs no reset",
        "stop everything that uses the GPU and run 'nvidia-smi --gpu-reset', or reboot the host",
    ),
    (
        r"No devices were found",
        "no_usable_gpu",
        "at least one GPU that the driver can use",
        "read 'dmesg'; the driver may be too new or too old for the GPU; start a container with its GPUs passed in",
    ),
)


def no_device() -> Finding:
    """Return the finding for a host without an NVIDIA device."""
    return Finding(
        "no_device",
        WARNING,
        "no NVIDIA device on the PCI bus",
        "an NVIDIA GPU",
        "install one, pass it through to the virtual machine, or use the CPU",
    )


def no_smi(devices: typing.Sequence[str], kernel_module: str) -> Finding:
    """Return the finding for a host with devices (PCI addresses) but without nvidia-smi."""
    names = ", ".join(devices)
    if kernel_module:
        return Finding(
            "no_nvidia_smi",
            ERROR,
            f"the NVIDIA device {names} and kernel module {kernel_module}, but no nvidia-smi",
            "the driver's user space",
            (
                "install the driver's libraries and nvidia-smi in the module's version; start a container with its "
                "GPUs passed in (--gpus all, or CDI)"
            ),
        )
    return Finding(
        "no_driver",
        ERROR,
        f"the NVIDIA device {names}, but no NVIDIA driver",
        f"NVIDIA driver {OLDEST_DRIVER} or newer, 580 for CUDA 13",
        "install it with the distribution's packages and reboot",
    )


def smi_failure(result: Result, severity: str, kernel_module: str, limit: float) -> Finding:
    """Return the finding for a failed nvidia-smi, by its message; exit code 124 means that ``limit`` seconds passed."""
    output = " ".join(f"{result.stdout}\n{result.stderr}".split())
    if result.code == 124:
        return Finding(
            "smi_hangs",
            severity,
            f"an nvidia-smi that did not end within {limit:g} s",
            "an answer from the driver",
            "look for 'Xid' in 'dmesg' and reboot the host; its driver or a GPU is stuck",
        )
    failure = f"nvidia-smi with exit code {result.code} ({output[:200] or 'no message'})"
    if kernel_module:
        failure += f" and kernel module {kernel_module}"
    for pattern, code, wanted, fix in _FAILURES:
        if re.search(pattern, output, re.IGNORECASE):
            return Finding(code, severity, failure, wanted, fix)
    return Finding(
        "smi_failed",
        severity,
        failure,
        "a working 'nvidia-smi -q -x'",
        "run it by hand and read 'dmesg'; reinstall the driver if it is damaged",
    )


def smi_unreadable(reason: str, severity: str) -> Finding:
    """Return the finding for an nvidia-smi that succeeded but did not print a readable document."""
    return Finding(
        "smi_unreadable",
        severity,
        f"output of nvidia-smi that cannot be read ({reason})",
        "the XML of 'nvidia-smi -q -x'",
        "run it by hand; a driver that was half upgraded needs a reboot or a new installation",
    )


def driver_too_old(version: str, gpus: typing.Sequence[str] = ()) -> Finding:
    """Return the finding for a driver too old for any CUDA that llama.cpp builds with.

    ``gpus`` are the ones that no newer driver supports.
    """
    if gpus:
        return Finding(
            "driver_too_old",
            ERROR,
            f"NVIDIA driver {version} and {', '.join(gpus)}, which no driver after 470 supports",
            f"a GPU of the Maxwell generation or newer, with driver {OLDEST_DRIVER} or newer",
            "use another GPU or the CPU; those of the generations Fermi and Kepler end with CUDA 11",
        )
    return Finding(
        "driver_too_old",
        ERROR,
        f"NVIDIA driver {version}",
        f"driver {OLDEST_DRIVER} or newer",
        "upgrade the driver; 580 or newer runs CUDA 13",
    )


def gpu_lost(names: typing.Sequence[str], driver: str, severity: str) -> Finding:
    """Return the finding for GPUs that the driver lists but cannot talk to."""
    return Finding(
        "gpu_lost",
        severity,
        f"no answer from {', '.join(names) or 'any GPU'} to driver {driver}",
        "GPUs that answer the driver",
        "look for 'Xid' in 'dmesg' and reboot the host",
    )
