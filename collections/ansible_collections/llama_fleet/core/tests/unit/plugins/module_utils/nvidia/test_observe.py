# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test observing GPUs and driver through a real nvidia-smi script that replays the output of real drivers."""

from __future__ import annotations

import re

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import observe as nvidia
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import smi as nvidia_smi
from ansible_collections.llama_fleet.core.tests.unit.fakes.gpu_host import (
    H100,
    ONE_CALL,
    FakeGpuHost,
    check,
    codes,
    document,
    edited,
)

RTX_4090 = "GPU-1b9e4b6a-7f0d-3c8a-b6a5-0d9f5b7c2e11"
T4 = "GPU-8c2d7f5e-6a1b-4e3c-9f80-7b6a5d4c3e22"
GB10 = "GPU-0f4f1b7d-2a6c-5e8b-8d3e-6c5b4a3f2e33"


def test_one_gpu_by_one_call(fake: FakeGpuHost) -> None:
    fake.healthy()
    seen = fake.observe()
    assert seen.usable
    assert seen.findings == ()
    assert seen.driver == nvidia_smi.Driver("580.95.05", "13.0", "580.95.05")
    (gpu,) = seen.gpus
    assert (gpu.index, gpu.uuid, gpu.name, gpu.compute_capability) == (0, H100, "NVIDIA H100 80GB HBM3", "9.0")
    assert (gpu.memory_total_mib, gpu.memory_free_mib, gpu.pci_address) == (81559, 81079, "00000000:65:00.0")
    assert seen.architectures == ["90-real"]
    assert fake.calls() == ONE_CALL


def test_eight_gpus_by_one_call(fake: FakeGpuHost) -> None:
    fake.healthy(document("h100_sxm_driver_580", 8), "0000:1b:00.0")
    seen = fake.observe()
    assert [(gpu.index, gpu.compute_capability) for gpu in seen.gpus] == [(index, "9.0") for index in range(8)]
    assert seen.architectures == ["90-real"]
    assert fake.calls() == ONE_CALL


def test_two_different_gpus_keep_the_drivers_order_and_sort_their_architectures(fake: FakeGpuHost) -> None:
    fake.healthy(
        document("ada_and_turing_driver_535").replace("<product_architecture>Ada Lovelace</product_architecture>", "")
    )
    # Lines are matched by UUID, not by their order, and the architecture's capability takes precedence.
    fake.smi(document("ada_and_turing_driver_535"), table=f"{T4}, 1.1\n{RTX_4090}, 8.9")
    seen = fake.observe()
    assert [(gpu.index, gpu.name, gpu.compute_capability) for gpu in seen.gpus] == [
        (0, "NVIDIA GeForce RTX 4090", "8.9"),
        (1, "Tesla T4", "7.5"),
    ]
    assert seen.architectures == ["75-real", "89-real"]


def test_architectures_sort_by_number_and_are_unique() -> None:
    gpus = [
        nvidia_smi.Gpu(index, f"GPU-{index}", "", capability, 0, 0, "")
        for index, capability in enumerate(["12.0", "9.0", "12.0", "10.3"])
    ]
    assert nvidia.Observation(tuple(gpus)).architectures == ["90-real", "103-real", "120-real"]


def test_warnings_around_the_document_are_no_harm(fake: FakeGpuHost) -> None:
    fake.healthy(f"WARNING: persistence mode is off\n{document('h100_driver_580')}\nWARNING: something")
    assert fake.observe().usable


def test_a_corrupt_inforom_is_a_warning_and_no_end(fake: FakeGpuHost) -> None:
    fake.healthy()
    fake.smi(f"{document('h100_driver_580')}\nWARNING: infoROM is corrupted at gpu 0000:65:00.0", 14)
    seen = fake.observe()
    assert seen.usable
    found = "a GPU with a corrupted infoROM (WARNING: infoROM is corrupted at gpu 0000:65:00.0)"
    check(seen.findings, "inforom_corrupt", "warning", found, "a sound infoROM", "have the board inspected")
    fake.smi("no document", 14)
    assert codes(fake.observe().findings) == [("smi_failed", "error")]


def test_one_gpu_of_two_that_does_not_answer_is_a_warning(fake: FakeGpuHost) -> None:
    fake.healthy(edited(document("h100_sxm_driver_580", 2), total="GPU is lost"))
    seen = fake.observe()
    assert seen.usable
    assert [gpu.index for gpu in seen.gpus] == [1]
    assert [gpu.index for gpu in seen.listed] == [0, 1]
    found = "no answer from NVIDIA H100 80GB HBM3 at 00000000:1B:00.0 to driver 580.105.08"
    check(seen.findings, "gpu_lost", "warning", found, "GPUs that answer the driver", "look for 'Xid' in 'dmesg'")


def test_a_gpu_without_a_compute_capability_is_no_gpu(fake: FakeGpuHost) -> None:
    fake.healthy()
    fake.smi(document("gb10_driver_610"), table=f"{GB10}, [N/A]")
    seen = fake.observe()
    assert codes(seen.findings) == [("gpu_lost", "error")]
    assert not seen.usable


def test_a_driver_that_lists_no_gpu(fake: FakeGpuHost) -> None:
    nothing = re.sub(r"\t<gpu .*</gpu>\n", "", document("h100_driver_580"), flags=re.DOTALL)
    fake.smi(nothing)
    assert codes(fake.observe().findings) == [("no_device", "warning"), ("gpu_lost", "warning")], "there is none"
    fake.smi(document("gb10_driver_610"), table=f"{GB10}, [N/A]")
    assert codes(fake.observe().findings) == [("gpu_lost", "error")], "there is one, though not on a bus that we see"
    fake.device()
    fake.smi(nothing)
    found = "no answer from any GPU to driver 580.95.05"
    check(fake.observe().findings, "gpu_lost", "error", found, "GPUs that answer the driver", "'Xid' in 'dmesg'")


def test_versions_of_driver_610_and_memory_that_is_not_told(fake: FakeGpuHost) -> None:
    fake.healthy()
    fake.smi(document("gb10_driver_610"), table=f"{GB10}, 12.1")
    seen = fake.observe()
    assert seen.driver == nvidia_smi.Driver("610.43.02", "13.3", "580.95.05")
    assert (seen.gpus[0].memory_total_mib, seen.gpus[0].memory_free_mib) == (0, 0)


def test_no_device(fake: FakeGpuHost) -> None:
    fake.device(vendor="0x8086", pci_class="0x030000")
    seen = fake.observe()
    assert (seen.usable, seen.driver) == (False, None)
    check(
        seen.findings,
        "no_device",
        "warning",
        "no NVIDIA device on the PCI bus",
        "an NVIDIA GPU",
        "install one, pass it through",
    )
    assert nvidia.refusal("auto", nvidia.judged("auto", seen)) == ""
    refusal = nvidia.refusal("required", nvidia.judged("required", seen))
    assert refusal.startswith("nvidia_driver_gpu: expected an NVIDIA GPU, found no NVIDIA device on the PCI bus.")


@pytest.mark.parametrize("pci_class", ["0x040300", "0x0c0330", "0x068000"], ids=["audio", "usb", "nvswitch"])
def test_other_functions_of_nvidia_are_no_gpu(fake: FakeGpuHost, pci_class: str) -> None:
    fake.device(pci_class=pci_class)
    assert codes(fake.observe().findings) == [("no_device", "warning")]


def test_a_device_file_counts_where_the_bus_is_not_visible(fake: FakeGpuHost) -> None:
    fake.nodes("nvidia0", "nvidiactl")
    seen = fake.observe()
    assert [device.address for device in seen.devices] == ["/dev/nvidia0"]
    assert codes(seen.findings) == [("no_driver", "error")]


def test_a_gpu_without_a_pci_bus_is_used_if_the_driver_lists_it(fake: FakeGpuHost) -> None:
    fake.smi(document("h100_driver_580"))  # as on WSL
    assert fake.observe().usable


def test_device_without_a_driver(fake: FakeGpuHost) -> None:
    fake.device(driver="")
    found = "the NVIDIA device 0000:65:00.0, but no NVIDIA driver"
    check(
        fake.observe().findings, "no_driver", "error", found, "525 or newer, 580 for CUDA 13", "distribution's packages"
    )


def test_device_and_kernel_module_without_user_space(fake: FakeGpuHost) -> None:
    fake.device()
    fake.module("535.183.06")
    seen = fake.observe()
    found = "the NVIDIA device 0000:65:00.0 and kernel module 535.183.06, but no nvidia-smi"
    check(seen.findings, "no_nvidia_smi", "error", found, "user space", "--gpus all")
    assert seen.driver == nvidia_smi.Driver("", "", "535.183.06")
