# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test reading the kernel's files, whether they are there or not."""

from __future__ import annotations

import os
import threading

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import kernel as nvidia_kernel
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.kernel import Account, Node
from ansible_collections.llama_fleet.core.tests.unit.fakes.gpu_host import KERNEL, FakeGpuHost

XID = "NVRM: Xid (PCI:0000:65:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."


def test_version_of_each_kind_of_kernel_module(fake: FakeGpuHost) -> None:
    fake.module("580.65.06")
    assert nvidia_kernel.module_version(fake.root) == "580.65.06"
    fake.write(
        "proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.06  Wed Jun 26 06:46:07 UTC 2024\n",
    )
    assert nvidia_kernel.module_version(fake.root) == "535.183.06"
    fake.write("proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX\n")
    assert nvidia_kernel.module_version(fake.root) == ""


@pytest.mark.parametrize(
    ("file", "there"),
    [
        ("updates/dkms/nvidia.ko.zst", True),
        ("kernel/nvidia-580/nvidia.ko", True),
        ("updates/dkms/nvidia-current.ko", True),
        ("updates/dkms/nvidia-tesla-535.ko.xz", True),
        ("updates/dkms/nvidia-uvm.ko", False),
        ("updates/dkms/nvidia-current-modeset.ko", True),
        ("kernel/drivers/video/fbdev/nvidia/nvidiafb.ko", False),
        ("kernel/drivers/i2c/busses/i2c-nvidia-gpu.ko", False),
    ],
)
def test_a_module_for_the_running_kernel(fake: FakeGpuHost, file: str, there: bool) -> None:
    assert nvidia_kernel.has_module(fake.root) is None, "in a container"
    fake.write(f"lib/modules/{KERNEL}/modules.dep", f"kernel/fs/xfs.ko: kernel/lib/crc.ko\n{file}:\n")
    assert nvidia_kernel.has_module(fake.root) is there


@pytest.mark.parametrize(
    ("content", "on"), [(b"\x06\0\0\0\x01", True), (b"\x06\0\0\0\0", False), (b"", False), (None, False)]
)
def test_secure_boot(fake: FakeGpuHost, content: bytes | None, on: bool) -> None:
    if content is not None:
        fake.write("sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", "").write_bytes(content)
    assert nvidia_kernel.secure_boot(fake.root) is on


@pytest.mark.parametrize(
    ("file", "content", "kind"),
    [
        (".dockerenv", "", "docker"),
        ("run/.containerenv", "", "podman"),
        ("proc/1/environ", "PATH=/bin\0container=lxc\0TERM=linux", "lxc"),
        ("proc/1/environ", "KUBERNETES_SERVICE_HOST=10.0.0.1\0PATH=/bin", "kubernetes"),
        ("run/systemd/container", "systemd-nspawn\n", "systemd-nspawn"),
        ("proc/1/environ", "PATH=/bin\0HOME=/", ""),
    ],
)
def test_containers(fake: FakeGpuHost, file: str, content: str, kind: str) -> None:
    fake.write(file, content)
    assert nvidia_kernel.container(fake.root) == kind


def test_device_files_with_their_rights(fake: FakeGpuHost) -> None:
    fake.nodes("nvidia0", mode=0o660)
    (fake.root / "dev/nvidia-caps").mkdir()
    (fake.root / "dev/nvidia9").symlink_to("gone")
    assert nvidia_kernel.nodes(fake.root) == {"nvidia0": Node("/dev/nvidia0", 0o660, os.getuid(), os.getgid())}


@pytest.mark.parametrize(
    ("mode", "account", "may"),
    [
        (0o666, Account("anybody"), True),
        (0o660, Account("anybody"), False),
        (0o660, Account("member", 1000, (44, 1000)), True),
        (0o606, Account("member", 1000, (44,)), False),
        (0o066, Account("owner", 7), False),
        (0o600, Account("owner", 7), True),
        (0o640, Account("member", 1000, (44,)), False),
        (0o000, Account("root", 0), True),
    ],
)
def test_who_may_open_a_device_file(mode: int, account: Account, may: bool) -> None:
    assert account.may_open(Node("/dev/nvidia0", mode, 7, 44)) is may


def test_the_kernels_ring(fake: FakeGpuHost) -> None:
    fake.kernel_log("Linux version 6.8", XID)
    assert nvidia_kernel.log(fake.root) == f"Linux version 6.8\n{XID}\n"


def test_a_ring_that_never_ends_is_left_where_nothing_more_is_there(fake: FakeGpuHost) -> None:
    os.mkfifo(fake.root / "dev/kmsg")
    # The writer keeps it open, so that a read finds no data, as after the ring's last message.
    writer = os.open(fake.root / "dev/kmsg", os.O_RDWR)
    os.write(writer, f"4,1,1,-;{XID}\n".encode())
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(nvidia_kernel.log(fake.root)), daemon=True)
    reader.start()
    reader.join(10)
    os.close(writer)
    assert read == [f"{XID}\n"]


def test_a_log_file_counts_from_the_last_start_on(fake: FakeGpuHost) -> None:
    start = "Nov 22 11:00:00 gpu kernel: [    0.000000] Linux version 6.8.0"
    fake.write(
        "var/log/kern.log",
        f"{start}\nNov 22 11:00:09 gpu kernel: [    9.1] {XID}\n{start}\nNov 22 12:00:00 gpu kernel: [ 1.0] eth0: up\n",
    )
    assert XID not in nvidia_kernel.log(fake.root)
    assert "eth0: up" in nvidia_kernel.log(fake.root)
    fake.write("var/log/kern.log", f"x\n{XID}\n")
    assert XID in nvidia_kernel.log(fake.root)
    assert nvidia_kernel.log(fake.root / "proc") == ""


def test_a_gpu_that_fell_off_the_bus_before_its_driver_started_has_no_xid() -> None:
    lines = [
        "[ 1843.308145] NVRM: The NVIDIA GPU 0000:b3:00.0",
        "               NVRM: (PCI ID: 10de:26b5) installed in this system has",
        "               NVRM: fallen off the bus and is not responding to commands.",
        "[ 1843.439662] NVRM: The NVIDIA probe routine failed for 1 device(s).",
    ]
    assert nvidia_kernel.fatal_xids("\n".join(lines)) == {"0000:b3:00": 79}


def test_fatal_xids_are_the_last_of_each_gpu() -> None:
    lines = [
        XID.replace("79", "48"),
        XID,
        "NVRM: Xid (PCI:0000:0a:00 GPU-I:01): 94, pid=1",
        "NVRM: Xid (PCI:0000:0b:00): 31, pid=8, MMU Fault",
        "Xid (PCI:x): 79",
    ]
    assert nvidia_kernel.fatal_xids("\n".join(lines)) == {"0000:65:00": 79, "0000:0a:00": 94}


@pytest.mark.parametrize(
    ("lines", "by"),
    [
        (
            [
                "NVRM: The NVIDIA GPU 0000:17:00.0 (PCI ID: 10de:1bb3)",
                (
                    "NVRM: installed in this system is not supported by open nvidia.ko because it does not include the "
                    "required GPU"
                ),
                "NVRM: System Processor (GSP).",
            ],
            {"0000:17:00": "open nvidia.ko"},
        ),
        (
            [
                "NVRM: The NVIDIA GPU 0000:17:00.0 (PCI ID: 10de:1b80)",
                "NVRM: installed in this system is not supported by the",
                "NVRM: NVIDIA 590.48.01 driver release.",
            ],
            {"0000:17:00": "the NVIDIA 590.48.01 driver release"},
        ),
        (
            [
                "NVRM: The NVIDIA Quadro P400 GPU installed in this system is",
                "NVRM:  supported through the NVIDIA 580.xx Legacy drivers. Please",
                "NVRM:  visit http://www.nvidia.com/object/unix.html for more",
            ],
            {"Quadro P400": "this driver, but by the legacy drivers 580.xx"},
        ),
        (["NVRM: loading NVIDIA UNIX Open Kernel Module"], {}),
    ],
)
@pytest.mark.parametrize("prefix", ["", "Nov 22 11:00:09 gpu kernel: [    9.1] "])
def test_gpus_that_the_driver_refuses(lines: list[str], by: dict[str, str], prefix: str) -> None:
    assert nvidia_kernel.unsupported("\n".join(["first", *(f"{prefix}{line}" for line in lines)])) == by


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("Loading of module with unavailable key is rejected", True),
        ("Loading of unsigned module is rejected", True),
        ("Lockdown: modprobe: unsigned module loading is restricted; see man kernel_lockdown.7", True),
        ("nvidia: module verification failed: signature and/or required key missing - tainting kernel", False),
    ],
)
def test_refused_modules(line: str, refused: bool) -> None:
    assert nvidia_kernel.refused_module(f"x\n{line}\ny") is refused


def test_places_on_the_bus() -> None:
    assert {nvidia_kernel.place(address) for address in ("00000000:65:00.0", "0000:65:00.0", "0000:65:00")} == {
        "0000:65:00"
    }
    assert nvidia_kernel.place("0000000F:01:00.0") == "000f:01:00"
    assert nvidia_kernel.place("/dev/nvidia0") == "/dev/nvidia0"


def test_a_process_by_the_15_letters_that_the_kernel_keeps(fake: FakeGpuHost) -> None:
    assert not nvidia_kernel.runs(fake.root, "nv-fabricmanager")
    fake.write("proc/812/comm", "nv-fabricmanage\n")
    assert nvidia_kernel.runs(fake.root, "nv-fabricmanager")
