# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Explain from the kernel's state why nvidia-smi fails or misses a GPU, and what a server cannot open."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import runtimes
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import health, platforms
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import kernel as nvidia_kernel
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.findings import (
    ERROR,
    OLDEST_DRIVER,
    WARNING,
    Finding,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.host import find_program
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.kernel import Account, Device, place

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.host import GpuHost
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.observe import Observation

_GENERIC = ("driver_not_loaded", "no_driver", "no_nvidia_smi", "no_usable_gpu", "smi_failed")


@dataclasses.dataclass(frozen=True)
class Kernel:
    """The state of a host's kernel; ``log`` is read only if there is an NVIDIA device or driver."""

    container: str = ""
    wsl: bool = False
    log: str = ""
    built: bool | None = None
    secure_boot: bool = False
    release: str = ""
    nodes: typing.Mapping[str, nvidia_kernel.Node] = dataclasses.field(default_factory=dict)
    linux_driver: bool = False
    wsl_library: bool = True
    jetson: bool = False


def look(host: GpuHost, seen: Observation) -> Kernel:
    """Read the kernel's state. Without a device or driver, read only the facts that identify WSL."""
    root = host.root
    wsl = nvidia_kernel.is_wsl(root)
    linux_driver = wsl and any((root / "usr/lib").glob("*-linux-gnu/libcuda.so.*.*"))
    wsl_library = not wsl or nvidia_kernel.finds_library(root, platforms.WSL_LIBRARY)
    jetson = nvidia_kernel.is_jetson(root)
    if not seen.devices and seen.driver is None:
        return Kernel(wsl=wsl, linux_driver=linux_driver, wsl_library=wsl_library, jetson=jetson)
    return Kernel(
        nvidia_kernel.container(root),
        wsl,
        nvidia_kernel.log(root),
        nvidia_kernel.has_module(root),
        nvidia_kernel.secure_boot(root),
        nvidia_kernel.kernel_release(root),
        nvidia_kernel.nodes(root),
        linux_driver,
        wsl_library,
        jetson,
    )


def explained(seen: Observation, kernel: Kernel) -> list[Finding]:
    """Return the findings of ``seen`` and the causes, which replace the generic findings that follow from them."""
    if kernel.wsl and not seen.devices:
        return platforms.wsl(seen, kernel.linux_driver, kernel.wsl_library)
    if kernel.jetson and not seen.gpus:
        return [platforms.jetson_without_gpu(seen)]
    if _bare_container(seen, kernel):
        return [_container(seen, kernel)]
    causes = [] if seen.gpus else [*_handed_on(seen.devices), *_module(seen, kernel)]
    kept = [
        finding
        for finding in seen.findings
        if not (causes and finding.code in _GENERIC and finding.code != "no_driver")
    ]
    return [*causes, *kept, *_unlisted(seen, kernel)]


def access(host: GpuHost, seen: Observation, kernel: Kernel, by: str, account: Account | None) -> list[Finding]:
    """List the devices that a server cannot open, or only after another program has run.

    Empty on WSL, which has one device that every user may open.
    """
    if kernel.jetson:
        return platforms.jetson_unit(by)
    loaded = seen.driver is not None and (seen.driver.kernel_module_version or seen.gpus)
    if kernel.wsl or not loaded or not seen.devices or _bare_container(seen, kernel):
        return []
    reasons = []
    kinds = {name.rstrip("0123456789") for name in kernel.nodes}
    paths = {"nvidiactl": "/dev/nvidiactl", "nvidia": "/dev/nvidia0"}
    missing = [path for kind, path in paths.items() if kind not in kinds]
    if missing:
        severity = WARNING if seen.gpus else ERROR
        fix = "run 'nvidia-modprobe -c 0 -u' as root, or start nvidia-persistenced, which makes them at each boot"
        absent = f"no {' and no '.join(missing)}"
        reasons.append(Finding("device_nodes_missing", severity, absent, "the driver's device files", fix))
    elif "nvidia-uvm" not in kernel.nodes:
        reasons.append(_uvm(host, kernel, by))
    if account is None and by == runtimes.UNIT:
        account = Account("of the unit, which is in no group")
    return [*reasons, *_rights(kernel, account), *_fabric(host, seen, kernel)]


def _rights(kernel: Kernel, account: Account | None) -> typing.Iterator[Finding]:
    """Yield one finding if ``account`` may not open all device files; without an account nothing is checked."""
    if account is None:
        return
    kinds = ("nvidia", "nvidiactl", "nvidia-uvm")
    nodes = [node for name, node in kernel.nodes.items() if name.rstrip("0123456789") in kinds]
    closed = [node for node in nodes if not account.may_open(node)]
    if closed:
        modes = ", ".join(
            f"{node.path} with mode {node.mode:04o}, owner {node.uid} and group {node.gid}" for node in closed
        )
        fix = (
            f"add the user to the group {closed[0].gid}, or set NVreg_DeviceFileMode=0666 for the nvidia module in "
            f"/etc/modprobe.d and load it again"
        )
        wanted = f"device files that the user {account.name} may read and write"
        yield Finding("device_rights", ERROR, modes, wanted, fix)


def _bare_container(seen: Observation, kernel: Kernel) -> bool:
    """Return whether a container shows its host's GPUs on the PCI bus but has no device files of its own."""
    return bool(kernel.container and seen.devices and not seen.gpus) and "nvidiactl" not in kernel.nodes


def _container(seen: Observation, kernel: Kernel) -> Finding:
    devices = ", ".join(device.address for device in seen.devices)
    fix = (
        "start the container with its GPUs: --gpus all (docker), --device nvidia.com/gpu=all (podman), a resource "
        "nvidia.com/gpu (Kubernetes)"
    )
    state = f"a container ({kernel.container}) on a host with the NVIDIA device {devices}, and no /dev/nvidiactl in it"
    return Finding("container_without_gpus", ERROR, state, "a container that was started with GPUs", fix)


def _handed_on(devices: typing.Sequence[Device]) -> typing.Iterator[Finding]:
    """Yield findings for devices that another kernel driver has claimed."""
    handed = [device.address for device in devices if device.driver in ("vfio-pci", "pci-stub", "xen-pciback")]
    if handed and len(handed) == len(devices):
        fix = "use the GPU in the virtual machine, or take the device back from vfio-pci"
        state = f"the NVIDIA device {', '.join(handed)}, reserved for virtual machines"
        yield Finding("device_handed_on", ERROR, state, "a GPU that this host uses itself", fix)
    nouveau = [device.address for device in devices if device.driver in ("nouveau", "nova_core", "NovaCore")]
    if nouveau:
        fix = (
            "install NVIDIA's driver, which keeps nouveau out, or 'blacklist nouveau' in /etc/modprobe.d; then "
            "update-initramfs -u and reboot"
        )
        state = f"the NVIDIA device {', '.join(nouveau)}, bound to the kernel's own driver nouveau"
        yield Finding("nouveau_bound", ERROR, state, "a device bound to NVIDIA's driver", fix)


def _module(seen: Observation, kernel: Kernel) -> typing.Iterator[Finding]:
    """Explain why no nvidia module is loaded although the driver is installed."""
    if not seen.devices or (seen.driver and seen.driver.kernel_module_version) or kernel.container:
        return
    installed = all(finding.code != "no_driver" for finding in seen.findings)
    if kernel.built is False and installed:
        fix = (
            f"install the headers of kernel {kernel.release} and run 'dkms autoinstall', or boot the kernel that "
            f"the driver was built for"
        )
        unloaded = f"no nvidia kernel module for the running kernel {kernel.release}"
        yield Finding("module_not_built", ERROR, unloaded, "a module that was built for this kernel", fix)
    elif kernel.built and nvidia_kernel.refused_module(kernel.log):
        boot = "Secure Boot" if kernel.secure_boot else "a kernel that enforces signatures"
        fix = (
            "enrol the key that signs the module ('mokutil --import /var/lib/shim-signed/mok/MOK.der', reboot, "
            "'Enroll MOK'), or switch Secure Boot off"
        )
        unloaded = f"{boot} that refused the nvidia kernel module"
        yield Finding("secure_boot", ERROR, unloaded, "a module signed with a key that the firmware trusts", fix)


def _unlisted(seen: Observation, kernel: Kernel) -> typing.Iterator[Finding]:
    """Explain GPUs that nvidia-smi does not list, whether still on the bus or gone from it.

    Skipped in a container, which sees all GPUs of its host on the bus and may have been given only some.
    """
    if kernel.container:
        return
    listed = {place(gpu.pci_address) for gpu in seen.gpus}
    severity = WARNING if seen.gpus else ERROR
    refused, xids = nvidia_kernel.unsupported(kernel.log), nvidia_kernel.fatal_xids(kernel.log)
    failed = nvidia_kernel.failed_starts(kernel.log)
    on_bus = {place(device.address): device for device in seen.devices}
    for where, number in xids.items():
        if where not in listed:
            name = f"the GPU at {where}" if where in on_bus else f"a GPU at {where} that has left the bus"
            yield health.xid(name, number, severity)
    yield from (_unsupported(name, by, severity) for name, by in refused.items() if name not in listed)
    for where in sorted(failed - listed - set(xids) - set(refused)):
        fix = (
            "read 'dmesg' around 'RmInitAdapter'; unplug the host's power for a minute, and check the seat and "
            "power of the GPU"
        )
        state = f"the GPU at {where}, which the driver could not start"
        yield Finding("gpu_failed_start", severity, state, "a GPU that starts", fix)
    explained_places = {place(gpu.pci_address) for gpu in seen.listed} | set(xids) | set(refused) | failed
    for where, device in on_bus.items():
        if where not in explained_places and seen.gpus and device.driver == "nvidia":
            state = f"the GPU at {device.address}, which nvidia-smi does not list"
            fix = "look for 'NVRM' in 'dmesg' and reboot the host"
            yield Finding("gpu_not_listed", WARNING, state, "every GPU of the host", fix)


def _unsupported(gpu: str, by: str, severity: str) -> Finding:
    """Return the finding for a GPU that the driver's log calls unsupported by ``by``."""
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


def _uvm(host: GpuHost, kernel: Kernel, by: str) -> Finding:
    """Explain a missing /dev/nvidia-uvm.

    CUDA creates it at start if nvidia-modprobe is installed and allowed, which it is not in a unit or a container.
    """
    helper = find_program(host, "nvidia-modprobe")
    severity = ERROR if not helper and (kernel.container or by == runtimes.UNIT) else WARNING
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


def _fabric(host: GpuHost, seen: Observation, kernel: Kernel) -> typing.Iterator[Finding]:
    """Check the fabric manager, which GPUs behind NVSwitches need unless they are in MIG mode.

    A container cannot see its process, so there only the state of the fabric is checked.
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
        yield Finding("fabric_manager_missing", ERROR, "NVSwitches without a running nv-fabricmanager", wanted, fix)
        return
    waiting = [gpu for gpu in whole if gpu.fabric_state in ("in_progress", "not_started")]
    if waiting:
        state = waiting[0].fabric_state.replace("_", " ")
        yield Finding(
            "fabric_not_ready", WARNING, f"{', '.join(map(str, waiting))} with the fabric {state}", wanted, fix
        )
