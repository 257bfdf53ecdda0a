# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Why nvidia-smi fails or misses a GPU, by what the kernel shows, and what a server will not get at although
nvidia-smi does.
"""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import access as nvidia_access
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import health as nvidia_health
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import kernel as nvidia_kernel
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.findings import (
    ERROR,
    OLDEST_DRIVER,
    WARNING,
    Finding,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.kernel import Account, Device, place
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.observe import find_program

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.observe import Host, Observation

_GENERIC = ("driver_not_loaded", "no_driver", "no_nvidia_smi", "no_usable_gpu", "smi_failed")
_WSL_LIBRARY = "usr/lib/wsl/lib/libcuda.so.1"


@dataclasses.dataclass(frozen=True)
class Kernel:
    """What the kernel shows; the log only where there is a device it could be about."""

    container: str = ""
    wsl: bool = False
    log: str = ""
    built: bool | None = None
    secure_boot: bool = False
    release: str = ""
    nodes: typing.Mapping[str, nvidia_kernel.Node] = dataclasses.field(default_factory=dict)
    linux_driver: bool = False


def look(host: Host, seen: Observation) -> Kernel:
    """Read it. Without a device only what tells a WSL from a host without a GPU."""
    root = host.root
    wsl = nvidia_kernel.is_wsl(root)
    linux_driver = wsl and any((root / "usr/lib").glob("*-linux-gnu/libcuda.so.*.*"))
    if not seen.devices and seen.driver is None:
        return Kernel(wsl=wsl, linux_driver=linux_driver)
    return Kernel(
        nvidia_kernel.container(root),
        wsl,
        nvidia_kernel.log(root),
        nvidia_kernel.has_module(root),
        nvidia_kernel.secure_boot(root),
        nvidia_kernel.kernel_release(root),
        nvidia_kernel.nodes(root),
        linux_driver,
    )


def explained(seen: Observation, kernel: Kernel) -> list[Finding]:
    """What was found so far, what says less than its cause replaced by it."""
    if kernel.wsl and not seen.devices:
        return _wsl(seen, kernel)
    if _bare_container(seen, kernel):
        return [_container(seen, kernel)]
    causes = [] if seen.gpus else [*_handed_on(seen.devices), *_module(seen, kernel)]
    kept = [
        finding
        for finding in seen.findings
        if not (causes and finding.code in _GENERIC and finding.code != "no_driver")
    ]
    return [*causes, *kept, *_unlisted(seen, kernel)]


def access(host: Host, seen: Observation, kernel: Kernel, by: str, account: Account | None) -> list[Finding]:
    """What a server cannot open, or only after something else was started. Not on WSL, which has other devices."""
    loaded = seen.driver is not None and (seen.driver.kernel_module_version or seen.gpus)
    if kernel.wsl or not loaded or not seen.devices or _bare_container(seen, kernel):
        return []
    found = []
    kinds = {name.rstrip("0123456789") for name in kernel.nodes}
    missing = [
        path for kind, path in (("nvidiactl", "/dev/nvidiactl"), ("nvidia", "/dev/nvidia0")) if kind not in kinds
    ]
    if missing:
        severity = WARNING if seen.gpus else ERROR
        fix = "run 'nvidia-modprobe -c 0 -u' as root, or start nvidia-persistenced, which makes them at each boot"
        found.append(
            Finding(
                "device_nodes_missing", severity, f"no {' and no '.join(missing)}", "the driver's device files", fix
            )
        )
    elif "nvidia-uvm" not in kernel.nodes:
        found.append(_uvm(host, kernel, by))
    if account is None and by == nvidia_access.UNIT:
        account = Account("of the unit, which is in no group")
    closed = (
        [
            node
            for name, node in kernel.nodes.items()
            if name.rstrip("0123456789") in ("nvidia", "nvidiactl", "nvidia-uvm")
        ]
        if account
        else []
    )
    closed = [node for node in closed if account and not account.may_open(node)]
    if account and closed:
        told = ", ".join(
            f"{node.path} with mode {node.mode:04o}, owner {node.uid} and group {node.gid}" for node in closed
        )
        fix = (
            f"add the user to the group {closed[0].gid}, or set NVreg_DeviceFileMode=0666 for the nvidia module in "
            f"/etc/modprobe.d and load it again"
        )
        found.append(
            Finding("device_rights", ERROR, told, f"device files that the user {account.name} may read and write", fix)
        )
    return [*found, *_fabric(host, seen, kernel)]


def _bare_container(seen: Observation, kernel: Kernel) -> bool:
    """The PCI bus of a container is that of its host, the device files are its own."""
    return bool(kernel.container and seen.devices and not seen.gpus) and "nvidiactl" not in kernel.nodes


def _container(seen: Observation, kernel: Kernel) -> Finding:
    devices = ", ".join(device.address for device in seen.devices)
    fix = (
        "start the container with its GPUs: --gpus all (docker), --device nvidia.com/gpu=all (podman), a resource "
        "nvidia.com/gpu (Kubernetes)"
    )
    found = f"a container ({kernel.container}) on a host with the NVIDIA device {devices}, and no /dev/nvidiactl in it"
    return Finding("container_without_gpus", ERROR, found, "a container that was started with GPUs", fix)


def _wsl(seen: Observation, kernel: Kernel) -> list[Finding]:
    """The driver of WSL is that of Windows; one for Linux takes its libraries' place and finds nothing."""
    found = list(seen.findings)
    if not seen.gpus:
        fix = "install NVIDIA's driver on Windows, none in WSL, and run 'wsl --update' and 'wsl --shutdown' there"
        found = [finding for finding in found if finding.code != "no_device"]
        found.append(
            Finding(
                "wsl_without_gpu",
                WARNING,
                "WSL without an NVIDIA GPU",
                "the GPU that the driver of Windows hands on",
                fix,
            )
        )
    if kernel.linux_driver:
        fix = "remove the packages of NVIDIA's Linux driver (libnvidia-compute-*, nvidia-driver-*)"
        found.append(
            Finding(
                "wsl_linux_driver",
                WARNING,
                "libraries of NVIDIA's Linux driver in WSL",
                f"none but those in /{_WSL_LIBRARY}",
                fix,
            )
        )
    return found


def _handed_on(devices: typing.Sequence[Device]) -> typing.Iterator[Finding]:
    """Another kernel driver holds them."""
    handed = [device.address for device in devices if device.driver in ("vfio-pci", "pci-stub", "xen-pciback")]
    if handed and len(handed) == len(devices):
        fix = "use the GPU in the virtual machine, or take the device back from vfio-pci"
        found = f"the NVIDIA device {', '.join(handed)}, which is kept for virtual machines"
        yield Finding("device_handed_on", ERROR, found, "a GPU that this host uses itself", fix)
    nouveau = [device.address for device in devices if device.driver in ("nouveau", "nova_core", "NovaCore")]
    if nouveau:
        fix = (
            "install NVIDIA's driver, which keeps nouveau out, or 'blacklist nouveau' in /etc/modprobe.d; then "
            "update-initramfs -u and reboot"
        )
        found = f"the NVIDIA device {', '.join(nouveau)}, bound to the kernel's own driver nouveau"
        yield Finding("nouveau_bound", ERROR, found, "a device bound to NVIDIA's driver", fix)


def _module(seen: Observation, kernel: Kernel) -> typing.Iterator[Finding]:
    """Why no nvidia module is loaded although the driver was installed."""
    if not seen.devices or (seen.driver and seen.driver.kernel_module_version) or kernel.container:
        return
    installed = all(finding.code != "no_driver" for finding in seen.findings)
    if kernel.built is False and installed:
        fix = (
            f"install the headers of kernel {kernel.release} and run 'dkms autoinstall', or boot the kernel that "
            f"the driver was built for"
        )
        found = f"no nvidia kernel module for the running kernel {kernel.release}"
        yield Finding("module_not_built", ERROR, found, "a module that was built for this kernel", fix)
    elif kernel.built and nvidia_kernel.refused_module(kernel.log):
        boot = "Secure Boot" if kernel.secure_boot else "a kernel that enforces signatures"
        fix = (
            "enrol the key that signs the module ('mokutil --import /var/lib/shim-signed/mok/MOK.der', reboot, "
            "'Enroll MOK'), or switch Secure Boot off"
        )
        yield Finding(
            "secure_boot",
            ERROR,
            f"{boot} that refused the nvidia kernel module",
            "a module signed with a key that the firmware trusts",
            fix,
        )


def _unlisted(seen: Observation, kernel: Kernel) -> typing.Iterator[Finding]:
    """GPUs of which nvidia-smi says nothing, on the bus or gone.

    A container sees all GPUs of its host on the bus, so it may lack some.
    """
    if kernel.container:
        return
    listed = {place(gpu.pci_address) for gpu in seen.gpus}
    severity = WARNING if seen.gpus else ERROR
    refused, xids = nvidia_kernel.unsupported(kernel.log), nvidia_kernel.fatal_xids(kernel.log)
    failed = nvidia_kernel.failed_starts(kernel.log)
    there = {place(device.address): device for device in seen.devices}
    for where, number in xids.items():
        if where not in listed:
            yield nvidia_health.xid(
                f"the GPU at {where}" if where in there else f"a GPU at {where} that has left the bus", number, severity
            )
    yield from (_unsupported(name, by, severity) for name, by in refused.items() if name not in listed)
    for where in sorted(failed - listed - set(xids) - set(refused)):
        fix = (
            "read 'dmesg' around 'RmInitAdapter'; take all power from the host for a minute, and look at the seat "
            "and power of the GPU"
        )
        yield Finding(
            "gpu_failed_start",
            severity,
            f"the GPU at {where}, which the driver could not start",
            "a GPU that starts",
            fix,
        )
    told = {place(gpu.pci_address) for gpu in seen.listed} | set(xids) | set(refused) | failed
    for where, device in there.items():
        if where not in told and seen.gpus and device.driver == "nvidia":
            found = f"the GPU at {device.address}, which nvidia-smi does not list"
            yield Finding(
                "gpu_not_listed",
                WARNING,
                found,
                "every GPU of the host",
                "look for 'NVRM' in 'dmesg' and reboot the host",
            )


def _unsupported(gpu: str, by: str, severity: str) -> Finding:
    if "open" in by:
        fix = (
            f"install the proprietary flavour of a driver from {OLDEST_DRIVER} to 580, not the one with open kernel "
            f"modules, which need Turing or newer"
        )
    else:
        fix = (
            "install a newer driver for a new GPU, one up to 580 for Maxwell to Volta, or the legacy driver that "
            "'dmesg' names"
        )
    return Finding(
        "gpu_unsupported", severity, f"the GPU {gpu}, not supported by {by}", "a driver that supports the GPU", fix
    )


def _uvm(host: Host, kernel: Kernel, by: str) -> Finding:
    """CUDA makes the file when it starts, if nvidia-modprobe is there and it may; a unit or a container may not do
    without.
    """
    helper = find_program(host, "nvidia-modprobe")
    severity = ERROR if not helper and (kernel.container or by == nvidia_access.UNIT) else WARNING
    fix = (
        "run 'nvidia-modprobe -c 0 -u' as root"
        if helper
        else "install nvidia-modprobe, or run 'modprobe nvidia-uvm' as root at each boot"
    )
    if kernel.container:
        fix = f"{fix} on the container's host, and start the container with /dev/nvidia-uvm"
    return Finding(
        "uvm_missing", severity, "no /dev/nvidia-uvm", "the module nvidia-uvm, without which CUDA sees no GPU", fix
    )


def _fabric(host: Host, seen: Observation, kernel: Kernel) -> typing.Iterator[Finding]:
    """GPUs behind NVSwitches wait for the fabric manager; those in MIG mode do not.

    From a container its process is not to be seen.
    """
    whole = [gpu for gpu in seen.gpus if gpu.mig_mode != "enabled"]
    if not whole or all(gpu.fabric_state == "completed" for gpu in whole):
        return
    wanted, fix = (
        "the fabric manager, without which CUDA answers 'system not yet initialized'",
        "install and start nvidia-fabricmanager in the driver's version",
    )
    if (
        not kernel.container
        and nvidia_kernel.has_switches(host.root)
        and not nvidia_kernel.runs(host.root, "nv-fabricmanager")
    ):
        yield Finding("fabric_manager_missing", ERROR, "NVSwitches, and no nv-fabricmanager that runs", wanted, fix)
        return
    waiting = [gpu for gpu in whole if gpu.fabric_state in ("in_progress", "not_started")]
    if waiting:
        state = waiting[0].fabric_state.replace("_", " ")
        yield Finding(
            "fabric_not_ready", WARNING, f"{', '.join(map(str, waiting))} with the fabric {state}", wanted, fix
        )
