# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test one host for each reason why its driver cannot be used: that reason is reported, and no other."""

from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.kernel import Account
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.requirements import Requirements
from ansible_collections.llama_fleet.core.tests.unit.fakes.gpu_host import DEVICE, FakeGpuHost, check, codes

NO_CONTACT = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
    "NVIDIA driver is installed and running."
)


def unloaded(fake: FakeGpuHost, built: bool = True, driver: str = "") -> None:
    """Install the driver without loading its module."""
    fake.device(driver=driver)
    fake.module(loaded=False, built=built)
    fake.smi(NO_CONTACT, 9)


def test_nouveau_bound(fake: FakeGpuHost) -> None:
    unloaded(fake, driver="nouveau")
    found = f"the NVIDIA device {DEVICE}, bound to the kernel's own driver nouveau"
    check(fake.findings(), "nouveau_bound", "error", found, "bound to NVIDIA's driver", "blacklist nouveau")
    assert codes(fake.findings()) == [("nouveau_bound", "error")]
    (fake.root / "usr/bin/nvidia-smi").unlink()
    assert codes(fake.findings()) == [("nouveau_bound", "error"), ("no_driver", "error")]


def test_a_device_that_is_kept_for_virtual_machines(fake: FakeGpuHost) -> None:
    unloaded(fake, driver="vfio-pci")
    found = f"the NVIDIA device {DEVICE}, reserved for virtual machines"
    check(
        fake.findings(),
        "device_handed_on",
        "error",
        found,
        "this host uses itself",
        "take the device back from vfio-pci",
    )
    fake.device("0000:66:00.0", driver="")
    assert codes(fake.findings()) == [("driver_not_loaded", "error")], "the other one may be ours"


def test_module_not_loaded(fake: FakeGpuHost) -> None:
    unloaded(fake)
    found = f"nvidia-smi with exit code 9 ({NO_CONTACT})"
    check(fake.findings(), "driver_not_loaded", "error", found, "a loaded nvidia kernel module", "modprobe nvidia")
    assert len(fake.findings()) == 1


def test_module_not_built_for_the_running_kernel(fake: FakeGpuHost) -> None:
    unloaded(fake, built=False)
    found = "no nvidia kernel module for the running kernel 6.8.0-50-generic"
    check(
        fake.findings(),
        "module_not_built",
        "error",
        found,
        "built for this kernel",
        "headers of kernel 6.8.0-50-generic and run 'dkms autoinstall'",
    )
    assert len(fake.findings()) == 1


def test_module_and_user_space_of_different_versions(fake: FakeGpuHost) -> None:
    fake.device()
    fake.module("580.65.06")
    fake.nodes()
    fake.smi("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.95", 18)
    found = (
        "nvidia-smi with exit code 18 (Failed to initialize NVML: Driver/library version mismatch NVML library "
        "version: 580.95) and kernel module 580.65.06"
    )
    check(fake.findings(), "driver_mismatch", "error", found, "of the same version", "reboot the host")
    assert len(fake.findings()) == 1


@pytest.mark.parametrize(
    ("state", "what"), [("\x06\0\0\0\x01", "Secure Boot"), ("\x06\0\0\0\0", "a kernel that enforces signatures")]
)
def test_secure_boot_refuses_the_module(fake: FakeGpuHost, state: str, what: str) -> None:
    unloaded(fake)
    fake.write("sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", state)
    fake.kernel_log("Loading of module with unavailable key is rejected")
    check(
        fake.findings(),
        "secure_boot",
        "error",
        f"{what} that refused the nvidia kernel module",
        "the firmware trusts",
        "mokutil --import",
    )
    assert len(fake.findings()) == 1
    fake.kernel_log("nothing of the kind")
    assert codes(fake.findings()) == [("driver_not_loaded", "error")]


def test_no_device_files(fake: FakeGpuHost) -> None:
    fake.healthy()
    (fake.root / "dev/nvidiactl").unlink()
    (fake.root / "dev/nvidia0").unlink()
    check(
        fake.findings(),
        "device_nodes_missing",
        "warning",
        "no /dev/nvidiactl and no /dev/nvidia0",
        "device files",
        "nvidia-modprobe -c 0 -u",
    )
    fake.smi("Failed to initialize NVML: Insufficient Permissions", 4)
    assert codes(fake.findings()) == [("no_permission", "error"), ("device_nodes_missing", "error")]


@pytest.mark.parametrize(
    ("wanted", "account", "user"),
    [
        (Requirements(user="llama"), Account("llama", 4000, (4000,)), "the user llama may"),
        (Requirements(runtime="systemd"), None, "of the unit, which is in no group may"),
    ],
)
def test_wrong_rights_for_the_user_of_the_service(
    fake: FakeGpuHost, wanted: Requirements, account: Account | None, user: str
) -> None:
    fake.healthy()
    assert codes(fake.findings(wanted, account)) == []
    node = fake.root / "dev/nvidia0"
    node.chmod(0o660)
    state = node.stat()
    found = f"/dev/nvidia0 with mode 0660, owner {state.st_uid} and group {state.st_gid}"
    check(fake.findings(wanted, account), "device_rights", "error", found, user, "NVreg_DeviceFileMode=0666")
    assert codes(fake.findings(wanted, Account("member", 4000, (state.st_gid,)))) == []
    assert codes(fake.findings()) == [], "no requirement was given"


@pytest.mark.parametrize(
    ("helper", "container", "runtime", "severity", "fix"),
    [
        (True, False, "", "warning", "run 'nvidia-modprobe -c 0 -u' as root"),
        (True, False, "systemd", "warning", "run 'nvidia-modprobe -c 0 -u' as root"),
        (False, False, "", "warning", "install nvidia-modprobe, or run 'modprobe nvidia-uvm'"),
        (False, False, "systemd", "error", "install nvidia-modprobe"),
        (False, True, "", "error", "on the container's host, and start the container with /dev/nvidia-uvm"),
    ],
)
def test_nvidia_uvm_not_loaded(
    fake: FakeGpuHost, helper: bool, container: bool, runtime: str, severity: str, fix: str
) -> None:
    fake.healthy()
    (fake.root / "dev/nvidia-uvm").unlink()
    if helper:
        fake.program("nvidia-modprobe", "exit 0")
    if container:
        fake.write(".dockerenv", "")
    check(
        fake.findings(Requirements(runtime=runtime)),
        "uvm_missing",
        severity,
        "no /dev/nvidia-uvm",
        "without which CUDA sees no GPU",
        fix,
    )
    assert fake.calls("nvidia-modprobe") == [], "nothing is changed"


@pytest.mark.parametrize("smi", [True, False])
def test_a_container_without_gpus(fake: FakeGpuHost, smi: bool) -> None:
    fake.device()
    fake.module()
    fake.write("run/.containerenv", "")
    if smi:
        fake.smi("No devices were found", 6)
    found = f"a container (podman) on a host with the NVIDIA device {DEVICE}, and no /dev/nvidiactl in it"
    check(fake.findings(), "container_without_gpus", "error", found, "started with GPUs", "--device nvidia.com/gpu=all")
    assert len(fake.findings()) == 1


def test_a_container_with_some_of_the_hosts_gpus(fake: FakeGpuHost) -> None:
    fake.healthy()
    fake.device("0000:66:00.0")
    fake.write(".dockerenv", "")
    assert codes(fake.findings()) == []
    (fake.root / ".dockerenv").unlink()
    found = "the GPU at 0000:66:00.0, which nvidia-smi does not list"
    check(fake.findings(), "gpu_not_listed", "warning", found, "every GPU of the host", "'NVRM' in 'dmesg'")
