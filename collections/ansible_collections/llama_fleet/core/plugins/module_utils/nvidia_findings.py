# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Why a GPU is not used: what was found, what is wanted, and what mends it."""

from __future__ import annotations

import dataclasses
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.commands import Result

VARIABLE = "nvidia_driver_gpu"
OLDEST_DRIVER = 525  # the first that runs CUDA 12 and tells compute capabilities
ERROR = "error"
WARNING = "warning"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One reason why a GPU is not used; an error stops the play, a warning does not."""

    code: str
    severity: str
    found: str
    wanted: str
    fix: str

    def __str__(self) -> str:
        return str(Problem(VARIABLE, self.found, self.wanted, self.fix))


# What nvidia-smi says when it fails: pattern, code, wanted, fix. The first that matches counts.
_FAILURES: tuple[tuple[str, str, str, str], ...] = (
    (
        r"version mismatch",
        "driver_mismatch",
        "a kernel module and driver libraries of the same version",
        "reboot the host, or stop all that uses the GPUs and load the nvidia modules again",
    ),
    (
        r"couldn't communicate with the NVIDIA driver|Driver Not Loaded",
        "driver_not_loaded",
        "a loaded nvidia kernel module",
        "run 'modprobe nvidia' as root and read 'dmesg'; after a kernel upgrade the driver's kernel module has to be built again",
    ),
    (r"Insufficient Permissions", "no_permission", "a user that may open /dev/nvidia*", "run with become or sudo, or correct the rights of the device files"),
    (
        r"NVML: Unknown Error",
        "gpu_revoked",
        "a container that still holds its GPUs",
        "restart the container; outside of one, reboot the host",
    ),
    (r"GPU is lost|Unable to determine the device handle", "gpu_off_bus", "a GPU that answers", "look for 'Xid' in 'dmesg' and reboot the host"),
    (
        r"No devices were found",
        "no_usable_gpu",
        "at least one GPU that the driver can use",
        "read 'dmesg'; the driver may be too new or too old for the GPU; start a container with its GPUs passed in",
    ),
)


def no_device() -> Finding:
    """There is nothing to use."""
    return Finding(
        "no_device",
        WARNING,
        "no NVIDIA device on the PCI bus",
        "an NVIDIA GPU",
        "install one, pass it through to the virtual machine, or use the CPU",
    )


def no_smi(devices: typing.Sequence[str], kernel_module: str) -> Finding:
    """A device is there (their PCI addresses), but nothing that speaks to it."""
    names = ", ".join(devices)
    if kernel_module:
        return Finding(
            "no_nvidia_smi",
            ERROR,
            f"the NVIDIA device {names} and kernel module {kernel_module}, but no nvidia-smi",
            "the driver's user space",
            "install the driver's libraries and nvidia-smi in the module's version; start a container with its GPUs passed in (--gpus all, or CDI)",
        )
    return Finding(
        "no_driver",
        ERROR,
        f"the NVIDIA device {names}, but no NVIDIA driver",
        f"NVIDIA driver {OLDEST_DRIVER} or newer, 580 for CUDA 13",
        "install it with the distribution's packages and reboot",
    )


def smi_failure(result: Result, severity: str, kernel_module: str, limit: float) -> Finding:
    """What nvidia-smi says when it fails, and what that means."""
    said = " ".join(f"{result.stdout}\n{result.stderr}".split())
    if result.code == 124:
        return Finding(
            "smi_hangs",
            severity,
            f"an nvidia-smi that did not end within {limit:g} s",
            "an answer of the driver",
            "look for 'Xid' in 'dmesg' and reboot the host; its driver or a GPU is stuck",
        )
    found = f"nvidia-smi with exit code {result.code} ({said[:200] or 'no message'})"
    if kernel_module:
        found += f" and kernel module {kernel_module}"
    for pattern, code, wanted, fix in _FAILURES:
        if re.search(pattern, said, re.IGNORECASE):
            return Finding(code, severity, found, wanted, fix)
    return Finding("smi_failed", severity, found, "a working 'nvidia-smi -q -x'", "run it by hand and read 'dmesg'; install the driver again if it is damaged")
