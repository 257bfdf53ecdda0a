# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test observing GPUs through a nvidia-smi that fails, hangs, is too old, or writes what is no document."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import observe as nvidia
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import smi as nvidia_smi
from ansible_collections.llama_fleet.core.tests.unit import waiting
from ansible_collections.llama_fleet.core.tests.unit.fakes.gpu_host import (
    ONE_CALL,
    FakeGpuHost,
    check,
    codes,
    document,
    edited,
)

if typing.TYPE_CHECKING:
    import pathlib


MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.95"
NO_CONTACT = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
    "NVIDIA driver is installed and running."
)


@pytest.mark.parametrize(
    ("text", "exit_code", "code", "wanted", "fix"),
    [
        (MISMATCH, 18, "driver_mismatch", "of the same version", "or stop everything that uses the GPUs"),
        (NO_CONTACT, 9, "driver_not_loaded", "loaded nvidia kernel module", "modprobe nvidia"),
        (
            "Failed to initialize NVML: Driver Not Loaded",
            9,
            "driver_not_loaded",
            "loaded nvidia kernel module",
            "modprobe nvidia",
        ),
        (
            "Failed to initialize NVML: Unknown Error",
            255,
            "gpu_revoked",
            "still holds its GPUs",
            "restart the container",
        ),
        ("Failed to initialize NVML: Insufficient Permissions", 4, "no_permission", "may open /dev/nvidia*", "sudo"),
        (
            "Unable to determine the device handle for GPU0000:65:00.0: Unknown Error",
            255,
            "gpu_off_bus",
            "a GPU that answers",
            "Xid",
        ),
        (
            "Unable to determine the device handle for GPU 0000:65:00.0: GPU requires reset",
            16,
            "gpu_off_bus",
            "a GPU that answers",
            "reboot",
        ),
        ("GPU requires a reset", 16, "gpu_reset_needed", "needs no reset", "--gpu-reset"),
        ("No devices were found", 6, "no_usable_gpu", "at least one GPU", "dmesg"),
        ("No devices were found", 0, "no_usable_gpu", "at least one GPU", "dmesg"),
        ("Segmentation fault", 139, "smi_failed", "a working 'nvidia-smi -q -x'", "by hand"),
        ("", 1, "smi_failed", "a working 'nvidia-smi -q -x'", "by hand"),
    ],
)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_failures_of_nvidia_smi(
    fake: FakeGpuHost, text: str, exit_code: int, code: str, wanted: str, fix: str, stream: str
) -> None:
    if stream == "stderr" and not exit_code:
        return
    fake.device()
    fake.module()
    fake.smi(*((text, exit_code) if stream == "stdout" else ("", exit_code, "", 0, text)))
    seen = fake.observe()
    said = " ".join(text.split()) or "no message"
    check(
        seen.findings,
        code,
        "error",
        f"nvidia-smi with exit code {exit_code} ({said}) and kernel module 580.95.05",
        wanted,
        fix,
    )
    assert len(seen.findings) == 1
    assert not seen.usable


def test_a_failing_nvidia_smi_without_a_device_does_not_stop_a_cpu_host(fake: FakeGpuHost) -> None:
    fake.smi(NO_CONTACT, 9)
    seen = fake.observe()
    assert codes(seen.findings) == [("no_device", "warning"), ("driver_not_loaded", "warning")]
    assert nvidia.refusal("auto", nvidia.judged("auto", seen)) == ""
    # With a required GPU both are reported.
    assert len(nvidia.refusal("required", nvidia.judged("required", seen)).splitlines()) == 2


def test_a_device_that_cannot_be_used_stops_auto_and_names_the_way_out(fake: FakeGpuHost) -> None:
    fake.device()
    fake.smi(MISMATCH, 18)
    refusal = nvidia.refusal("auto", nvidia.judged("auto", fake.observe()))
    assert "NVML library version: 580.95" in refusal
    assert refusal.endswith("nvidia_driver_gpu=none accepts the CPU.")


def test_a_hanging_nvidia_smi_is_left_within_the_limit(
    fake: FakeGpuHost, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(nvidia, "TIME_LIMIT", 0.3)
    fake.device()
    # The script's child keeps its output open, so that a plain kill would wait for it.
    fake.program("nvidia-smi", f"sleep 3600 &\necho $! > {tmp_path}/child\nsleep 3600")
    seen = fake.observe()
    child = int((tmp_path / "child").read_text(encoding="ascii"))
    waiting.until(lambda: not processes.find(child))
    check(
        seen.findings,
        "smi_hangs",
        "error",
        "an nvidia-smi that did not end within 0.3 s",
        "an answer from the driver",
        "reboot the host",
    )


@pytest.mark.parametrize(("version", "found"), [("524.255.99", ["driver_too_old"]), ("525.0.0", []), ("525.60.13", [])])
def test_the_oldest_driver_is_used(fake: FakeGpuHost, version: str, found: list[str]) -> None:
    fake.healthy(edited(document("h100_driver_580"), driver_version=version))
    seen = fake.observe()
    assert [finding.code for finding in seen.findings if finding.code == "driver_too_old"] == found
    assert bool(seen.gpus) is not bool(found)


def test_a_driver_too_old_to_be_used(fake: FakeGpuHost) -> None:
    fake.healthy(document("v100_driver_470"), "0000:3b:00.0")
    seen = fake.observe()
    check(
        seen.findings,
        "driver_too_old",
        "error",
        "NVIDIA driver 470.256.02",
        "525 or newer",
        "580 or newer runs CUDA 13",
    )
    assert seen.driver == nvidia_smi.Driver("470.256.02", "11.4", "580.95.05")
    assert (seen.gpus, [gpu.name for gpu in seen.listed]) == ((), ["Tesla V100S-PCIE-32GB"])
    assert fake.calls() == ONE_CALL


@pytest.mark.parametrize(
    ("name", "architecture", "ended"),
    [
        ("Tesla K80", "Kepler", True),
        ("NVIDIA GeForce GT 730", "Kepler", True),
        ("Tesla K40c", "", True),
        ("Quadro 6000", "Fermi", True),
        ("NVIDIA GeForce GTX 750 Ti", "Maxwell", False),
        ("Quadro P2000", "", False),
    ],
)
def test_a_gpu_that_no_newer_driver_supports(fake: FakeGpuHost, name: str, architecture: str, ended: bool) -> None:
    log = edited(document("v100_driver_470"), product_name=name)
    log = log.replace("<product_brand>", f"<product_architecture>{architecture}</product_architecture><product_brand>")
    fake.healthy(log, "0000:3b:00.0")
    (finding,) = [each for each in fake.observe().findings if each.code == "driver_too_old"]
    assert ("which no driver after 470 supports" in finding.found) is ended
    assert ("upgrade the driver" in finding.fix) is not ended


@pytest.mark.parametrize(
    "log",
    ["", "<nvidia_smi_log><gpu></nvidia_smi_log>", document("h100_driver_580")[:-40]],
    ids=["empty", "not well formed", "cut"],
)
def test_unreadable_output(fake: FakeGpuHost, log: str) -> None:
    fake.healthy()
    fake.smi(log)
    (finding,) = fake.observe().findings
    assert (finding.code, finding.severity, finding.wanted) == (
        "smi_unreadable",
        "error",
        "the XML of 'nvidia-smi -q -x'",
    )
    assert finding.found.startswith("output of nvidia-smi that cannot be read (")
    assert "half upgraded" in finding.fix
