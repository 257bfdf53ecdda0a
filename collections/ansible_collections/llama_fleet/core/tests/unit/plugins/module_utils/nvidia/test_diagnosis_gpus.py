# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test one host for each reason why a GPU of a working driver is not used: that reason is reported, and no other."""

from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import observe as nvidia
from ansible_collections.llama_fleet.core.tests.unit.fakes.gpu_host import FakeGpuHost, check, codes, document, edited

XID_79 = "NVRM: Xid (PCI:0000:65:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."


def test_a_gpu_fallen_off_the_bus(fake: FakeGpuHost) -> None:
    fake.healthy()
    fake.smi(
        (
            "Unable to determine the device handle for GPU0000:65:00.0: GPU is lost.  Reboot the system to recover "
            "this GPU"
        ),
        15,
    )
    fake.kernel_log(XID_79)
    found = "the GPU at 0000:65:00 with Xid 79 in the kernel log (fallen off the bus)"
    findings = fake.findings()
    assert codes(findings) == [("gpu_off_bus", "error")] * 2
    check(
        findings[1:] if findings[0].found != found else findings[:1],
        "gpu_off_bus",
        "error",
        found,
        "without errors",
        "reboot the host",
    )


def test_a_gpu_that_has_left_the_bus_for_good_is_an_error_and_no_cpu_host(fake: FakeGpuHost) -> None:
    fake.module()
    fake.smi("No devices were found", 6)
    fake.kernel_log(XID_79)
    findings = fake.findings()
    assert codes(findings) == [("gpu_off_bus", "error"), ("no_device", "warning"), ("no_usable_gpu", "warning")]
    assert (
        findings[0].found
        == "a GPU at 0000:65:00 that has left the bus with Xid 79 in the kernel log (fallen off the bus)"
    )
    assert nvidia.refusal("auto", fake.examine().seen)


def test_one_gpu_of_two_fallen_off_the_bus_is_a_warning(fake: FakeGpuHost) -> None:
    fake.healthy(document("h100_driver_580"))
    fake.device("0000:66:00.0")
    fake.kernel_log(XID_79.replace("65", "66"))
    assert codes(fake.findings()) == [("gpu_off_bus", "warning")]


def test_other_fatal_xids_of_a_gpu_that_answers_again(fake: FakeGpuHost) -> None:
    fake.healthy()
    fake.kernel_log(XID_79.replace(" 79,", " 119,"))
    found = (
        "GPU 0 (NVIDIA H100 80GB HBM3 at 00000000:65:00.0) with Xid 119 in the kernel log (a firmware that does "
        "not answer)"
    )
    check(fake.findings(), "gpu_xid", "warning", found, "without errors since the host started", "power supply")


@pytest.mark.parametrize(
    ("by", "fix"),
    [
        ("open nvidia.ko because it does not", "proprietary flavour of a driver from 525 to 580"),
        ("the NVIDIA 590.48.01 driver release.", "one up to 580 for Maxwell to Volta"),
    ],
)
def test_a_gpu_that_the_driver_does_not_support(fake: FakeGpuHost, by: str, fix: str) -> None:
    fake.healthy()
    fake.smi("No devices were found", 6)
    fake.kernel_log(
        "NVRM: The NVIDIA GPU 0000:65:00.0 (PCI ID: 10de:1bb3)",
        f"NVRM: installed in this system is not supported by {by}",
    )
    assert codes(fake.findings()) == [("no_usable_gpu", "error"), ("gpu_unsupported", "error")]
    name = by.partition(" because")[0].rstrip(".")
    check(
        fake.findings(),
        "gpu_unsupported",
        "error",
        f"the GPU 0000:65:00, not supported by {name}",
        "supports the GPU",
        fix,
    )


def test_a_gpu_that_does_not_start(fake: FakeGpuHost) -> None:
    fake.healthy()
    fake.smi("No devices were found", 6)
    fake.kernel_log("NVRM: GPU 0000:65:00.0: RmInitAdapter failed! (0x26:0x56:1474)")
    found = "the GPU at 0000:65:00, which the driver could not start"
    check(fake.findings(), "gpu_failed_start", "error", found, "a GPU that starts", "unplug the host's power")


def switches(fake: FakeGpuHost, state: str) -> None:
    fake.healthy(
        edited(document("h100_sxm_driver_580", 8).replace("<state>Completed<", f"<state>{state}<")), "0000:1b:00.0"
    )
    fake.device("0000:07:00.0", driver="nvidia-nvswitch", pci_class="0x068000")


def test_fabric_manager_missing(fake: FakeGpuHost) -> None:
    switches(fake, "In Progress")
    found = "NVSwitches without a running nv-fabricmanager"
    check(
        fake.findings(),
        "fabric_manager_missing",
        "error",
        found,
        "'system not yet initialized'",
        "start nvidia-fabricmanager in the driver's version",
    )
    fake.write(".dockerenv", "")
    findings = fake.findings()
    assert codes(findings) == [("fabric_not_ready", "warning")], "a container does not see the processes of its host"
    assert "GPU 7 (NVIDIA H100 80GB HBM3 at 00000000:A7:00.0) with the fabric in progress" in findings[0].found


@pytest.mark.parametrize("state", ["Completed", "N/A"])
def test_fabric_manager_runs(fake: FakeGpuHost, state: str) -> None:
    switches(fake, state)
    if state != "Completed":
        fake.write("proc/812/comm", "nv-fabricmanage\n")
    assert codes(fake.findings()) == []


def test_one_gpu_of_two_that_waits_for_the_fabric(fake: FakeGpuHost) -> None:
    fake.healthy(edited(document("h100_sxm_driver_580", 2), state="In Progress"), "0000:1b:00.0")
    found = "GPU 0 (NVIDIA H100 80GB HBM3 at 00000000:1B:00.0) with the fabric in progress"
    check(
        fake.findings(),
        "fabric_not_ready",
        "warning",
        found,
        "'system not yet initialized'",
        "start nvidia-fabricmanager",
    )


def test_no_fabric_manager_for_gpus_in_mig_mode(fake: FakeGpuHost) -> None:
    fake.healthy(address="0000:01:00.0")
    fake.device("0000:07:00.0", driver="nvidia-nvswitch", pci_class="0x068000")
    fake.smi(document("a100_mig_driver_535"), table="GPU-6e1f0a92-3d47-4c8b-b5e9-27d1c0f4a611, 8.0")
    assert codes(fake.findings()) == []
