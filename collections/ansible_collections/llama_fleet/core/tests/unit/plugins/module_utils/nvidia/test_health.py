# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the findings about GPUs that answer."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import health as nvidia_health
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import smi as nvidia_smi
from ansible_collections.llama_fleet.core.tests.unit.fakes.gpu_host import check, codes, document, edited

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.findings import Finding

NAME = "GPU 0 (NVIDIA A100-SXM4-40GB at 00000000:06:00.0)"


def gpus(values: dict[str, str], name: str = "a100_driver_570", count: int = 1) -> list[nvidia_smi.Gpu]:
    return nvidia_smi.parse_log(edited(document(name, count), **values)).gpus


def findings(listed: list[nvidia_smi.Gpu], wanted: tuple[str, ...] = ()) -> list[Finding]:
    return nvidia_health.findings(listed, wanted, {})


@pytest.mark.parametrize(
    ("values", "code", "severity", "found", "wanted", "fix"),
    [
        (
            {"compute_mode": "Prohibited"},
            "compute_prohibited",
            "error",
            f"{NAME} in compute mode Prohibited",
            "lets programs compute",
            "-c DEFAULT",
        ),
        (
            {"current_mig": "Enabled", "pending_mig": "Enabled"},
            "mig_without_instances",
            "error",
            f"{NAME} in MIG mode without a compute instance",
            "a MIG device",
            "nvidia-smi mig -i 0 -cgi 0 -C",
        ),
        (
            {"gpu_recovery_action": "Reset"},
            "gpu_reset_needed",
            "error",
            f"{NAME}, whose driver asks for a reset",
            "needs no reset",
            "--gpu-reset -i 0",
        ),
        (
            {"gpu_recovery_action": "Reboot"},
            "gpu_reset_needed",
            "error",
            f"{NAME}, whose driver asks for a reboot",
            "needs no reset",
            "reboot the host",
        ),
        (
            {"gpu_recovery_action": "Drain and Reset"},
            "recovery_recommended",
            "warning",
            f"{NAME}, whose driver recommends to drain and reset",
            "needs no recovery",
            "--gpu-reset",
        ),
        (
            {"compute_mode": "Exclusive_Process"},
            "compute_exclusive",
            "warning",
            f"{NAME} in an exclusive compute mode, held by no process yet",
            "several programs",
            "-c DEFAULT",
        ),
        (
            {"pending_mig": "Enabled"},
            "mig_mode_pending",
            "warning",
            f"{NAME} with MIG disabled and enabled after a reset",
            "one MIG mode",
            "--gpu-reset",
        ),
        (
            {"pending_ecc": "Disabled"},
            "ecc_mode_pending",
            "warning",
            f"{NAME} with ECC enabled and disabled after a reset",
            "one ECC mode",
            "--gpu-reset",
        ),
        (
            {"remapped_row_pending": "Yes"},
            "ecc_repair_pending",
            "warning",
            f"{NAME} with a memory repair that waits for a reset",
            "repaired memory",
            "--gpu-reset",
        ),
        (
            {"remapped_row_failure": "Yes"},
            "ecc_repair_failed",
            "warning",
            f"{NAME} with memory rows that could not be replaced",
            "sound memory",
            "board replaced",
        ),
        (
            {"dram_uncorrectable": "4"},
            "ecc_errors",
            "warning",
            f"{NAME} with 4 uncorrectable memory errors since its driver was loaded",
            "no such error",
            "have the board replaced",
        ),
        (
            {"clocks_event_reason_hw_thermal_slowdown": "Active", "clocks_event_reason_sw_power_cap": "Active"},
            "gpu_slowed_down",
            "warning",
            f"{NAME}, slowed down by its temperature",
            "full speed",
            "the fans",
        ),
    ],
)
def test_one_gpu(values: dict[str, str], code: str, severity: str, found: str, wanted: str, fix: str) -> None:
    listed = gpus(values)
    assert len(findings(listed)) == 1
    check(findings(listed), code, severity, found, wanted, fix)
    assert bool(nvidia_health.usable(listed)) is (severity == "warning")


def test_nothing_is_wrong_with_a_gpu_that_only_keeps_to_its_power_limit() -> None:
    assert findings(gpus({"clocks_event_reason_sw_power_cap": "Active"})) == []
    assert findings(gpus({}, "a100_mig_driver_535")) == [], "MIG mode with instances"


@pytest.mark.parametrize(
    ("status", "warned"),
    [
        ("Unlicensed (Restricted)", True),
        ("Unlicensed (Unrestricted)", True),
        ("Unlicensed", True),
        ("Licensed (Expiry: 2026-7-7 16:1:44 GMT)", False),
        ("Licensed (Expiry: Permanent)", False),
        ("", False),
    ],
)
def test_a_vgpu_without_a_licence_is_slowed_down_after_minutes(status: str, warned: bool) -> None:
    (gpu,) = gpus({"product_name": "NVIDIA L40S-24C"})
    listed = [dataclasses.replace(gpu, virtualization="vgpu", license_status=status)]
    assert codes(findings(listed)) == [("vgpu_unlicensed", "warning")] * warned
    assert nvidia_health.usable(listed) == tuple(listed)
    if warned:
        found = f"GPU 0 (NVIDIA L40S-24C at 00000000:06:00.0), a vGPU whose licence status is {status}"
        check(findings(listed), "vgpu_unlicensed", "warning", found, "slows CUDA down", "nvidia-gridd")


@pytest.mark.parametrize(
    ("name", "mode", "warned"),
    [
        ("GRID P40-2B", "vgpu", True),
        ("NVIDIA A40-8A", "vgpu", True),
        ("GRID P40-24Q", "vgpu", False),
        ("NVIDIA L40S-24C", "vgpu", False),
        ("NVIDIA A100-SXM4-40GB", "pass-through", False),
        ("NVIDIA A40-8A", "", False),
    ],
)
def test_a_vgpu_for_desktops_has_no_cuda(name: str, mode: str, warned: bool) -> None:
    (gpu,) = gpus({"product_name": name})
    listed = [dataclasses.replace(gpu, virtualization=mode)]
    assert codes(findings(listed)) == [("vgpu_profile", "warning")] * warned


def test_who_holds_an_exclusive_gpu() -> None:
    (finding,) = findings(gpus({"compute_mode": "Exclusive_Process"}, "rtx3090_desktop_driver_550"))
    assert "held by /usr/lib/xorg/Xorg (pid 1873); /opt/browser/browser (pid 2210);" in finding.found
    assert "token" not in finding.found


def test_of_two_gpus_the_one_that_cannot_be_used_is_left_out_with_a_warning() -> None:
    listed = gpus({"compute_mode": "Prohibited"}, "h100_sxm_driver_580", 2)
    assert [gpu.index for gpu in nvidia_health.usable(listed)] == [1]
    assert codes(findings(listed)) == [("compute_prohibited", "warning")]
    assert codes(findings(listed, (listed[0].uuid,))) == [("compute_prohibited", "error")], (
        "it is asked for by its name"
    )
    assert codes(findings(listed, (listed[1].uuid,))) == [("compute_prohibited", "warning")]
