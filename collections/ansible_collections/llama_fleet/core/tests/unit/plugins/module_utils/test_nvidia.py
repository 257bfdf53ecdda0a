# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A host is a folder with sys, proc, dev and a real nvidia-smi script that replays what drivers print."""

from __future__ import annotations

import pathlib
import shlex
import time

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils import commands, nvidia

FIXTURES = pathlib.Path(__file__).parent / "fixtures/nvidia"
H100 = "GPU-5f3a9c1e-0b7d-4a52-9d0e-2c61f8b7e410"
RTX_4090 = "GPU-1b9e4b6a-7f0d-3c8a-b6a5-0d9f5b7c2e11"
T4 = "GPU-8c2d7f5e-6a1b-4e3c-9f80-7b6a5d4c3e22"
GB10 = "GPU-0f4f1b7d-2a6c-5e8b-8d3e-6c5b4a3f2e33"
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.95"
NO_CONTACT = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running."


def add_device(root: pathlib.Path, address: str = "0000:65:00.0", vendor: str = "0x10de", pci_class: str = "0x030200") -> None:
    device = root / "sys/bus/pci/devices" / address
    device.mkdir(parents=True)
    (device / "vendor").write_text(f"{vendor}\n")
    (device / "class").write_text(f"{pci_class}\n")


def add_kernel_module(root: pathlib.Path, line: str) -> None:
    (root / "proc/driver/nvidia").mkdir(parents=True)
    (root / "proc/driver/nvidia/version").write_text(f"NVRM version: {line}\nGCC version:  gcc version 12.2.0\n")


def add_smi(root: pathlib.Path, log: str = "", log_code: int = 0, table: str = "", table_code: int = 0) -> None:
    """A nvidia-smi that answers its two queries with these texts and exit codes."""
    (root / "usr/bin").mkdir(parents=True)
    script = root / "usr/bin/nvidia-smi"
    script.write_text(
        "#!/bin/sh\n"
        f'if [ "$1 $2" = "-q -x" ]; then printf "%s\\n" {shlex.quote(log)}; exit {log_code}; fi\n'
        f'if [ "$1" = "--query-gpu=uuid,compute_cap" ]; then printf "%s\\n" {shlex.quote(table)}; exit {table_code}; fi\n'
        "exit 3\n"
    )
    script.chmod(0o755)


def observe(root: pathlib.Path) -> nvidia.Observation:
    return nvidia.observe(nvidia.Host(commands.run, root, ("/usr/bin",)))


def codes(seen: nvidia.Observation) -> list[tuple[str, str]]:
    return [(finding.code, finding.severity) for finding in seen.findings]


def fixture(name: str) -> str:
    return (FIXTURES / name).read_text(encoding="utf-8")


def test_one_gpu(tmp_path: pathlib.Path) -> None:
    add_device(tmp_path)
    add_smi(tmp_path, fixture("h100_driver_580.xml"), table=f"{H100}, 9.0")
    seen = observe(tmp_path)
    assert seen.usable
    assert seen.findings == ()
    assert seen.driver == nvidia.Driver("580.95.05", "13.0")
    assert seen.gpus == (nvidia.Gpu(0, H100, "NVIDIA H100 80GB HBM3", "9.0", 81559, 81079, "00000000:65:00.0"),)
    assert seen.architectures == ["90-real"]


def test_two_different_gpus_keep_the_drivers_order_and_sort_their_architectures(tmp_path: pathlib.Path) -> None:
    add_device(tmp_path)
    # The table's order is not relied on, the UUID is.
    add_smi(tmp_path, fixture("ada_and_turing_driver_535.xml"), table=f"{T4}, 7.5\n{RTX_4090}, 8.9")
    seen = observe(tmp_path)
    assert [(gpu.index, gpu.name, gpu.compute_capability) for gpu in seen.gpus] == [(0, "NVIDIA GeForce RTX 4090", "8.9"), (1, "Tesla T4", "7.5")]
    assert seen.architectures == ["75-real", "89-real"]


def test_architectures_sort_by_number_and_are_unique() -> None:
    gpus = [nvidia.Gpu(index, f"GPU-{index}", "", capability, 0, 0, "") for index, capability in enumerate(["12.0", "9.0", "12.0", "10.3"])]
    assert nvidia.Observation(tuple(gpus)).architectures == ["90-real", "103-real", "120-real"]


def test_versions_of_driver_610_and_memory_that_is_not_told(tmp_path: pathlib.Path) -> None:
    add_device(tmp_path)
    add_smi(tmp_path, fixture("gb10_driver_610.xml"), table=f"{GB10}, 12.1")
    seen = observe(tmp_path)
    assert seen.driver == nvidia.Driver("610.43.02", "13.3")
    assert (seen.gpus[0].memory_total_mib, seen.gpus[0].memory_free_mib) == (0, 0)


def test_warnings_around_the_document_are_no_harm(tmp_path: pathlib.Path) -> None:
    add_device(tmp_path)
    log = f"WARNING: persistence mode is off\n{fixture('h100_driver_580.xml')}\nWARNING: infoROM is corrupted at gpu 0000:65:00.0"
    add_smi(tmp_path, log, table=f"{H100}, 9.0")
    assert observe(tmp_path).usable


def test_one_gpu_of_two_that_does_not_answer_is_a_warning(tmp_path: pathlib.Path) -> None:
    add_device(tmp_path)
    add_smi(tmp_path, fixture("ada_and_turing_driver_535.xml"), table=f"{RTX_4090}, 8.9\n{T4}, [GPU is lost]")
    seen = observe(tmp_path)
    assert seen.usable
    assert [gpu.uuid for gpu in seen.gpus] == [RTX_4090]
    assert codes(seen) == [("gpu_lost", "warning")]
    assert "Tesla T4 at 00000000:41:00.0" in seen.findings[0].found


def test_no_device(tmp_path: pathlib.Path) -> None:
    add_device(tmp_path, vendor="0x8086", pci_class="0x030000")
    seen = observe(tmp_path)
    assert not seen.usable
    assert codes(seen) == [("no_device", "warning")]
    assert nvidia.refusal("auto", nvidia.judged("auto", seen)) == ""
    refusal = nvidia.refusal("required", nvidia.judged("required", seen))
    assert refusal.startswith("nvidia_driver_gpu: found no NVIDIA device on the PCI bus, wanted an NVIDIA GPU; ")


@pytest.mark.parametrize("pci_class", ["0x040300", "0x0c0330", "0x068000"], ids=["audio", "usb", "nvswitch"])
def test_other_functions_of_nvidia_are_no_gpu(tmp_path: pathlib.Path, pci_class: str) -> None:
    add_device(tmp_path, pci_class=pci_class)
    assert codes(observe(tmp_path)) == [("no_device", "warning")]


def test_a_device_file_counts_where_the_bus_is_not_visible(tmp_path: pathlib.Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidia0").touch()
    (tmp_path / "dev/nvidiactl").touch()
    assert nvidia.pci_devices(tmp_path) == ["/dev/nvidia0"]
    assert codes(observe(tmp_path)) == [("no_driver", "error")]


def test_a_gpu_without_a_pci_bus_is_used_if_the_driver_lists_it(tmp_path: pathlib.Path) -> None:
    add_smi(tmp_path, fixture("h100_driver_580.xml"), table=f"{H100}, 9.0")  # as on WSL
    assert observe(tmp_path).usable


def test_device_without_a_driver(tmp_path: pathlib.Path) -> None:
    add_device(tmp_path)
    seen = observe(tmp_path)
    assert codes(seen) == [("no_driver", "error")]
    assert "0000:65:00.0" in seen.findings[0].found
    assert "580" in seen.findings[0].wanted


def test_device_and_kernel_module_without_user_space(tmp_path: pathlib.Path) -> None:
    add_device(tmp_path)
    add_kernel_module(tmp_path, "NVIDIA UNIX x86_64 Kernel Module  535.183.06  Wed Jun 26 06:46:07 UTC 2024")
    seen = observe(tmp_path)
    assert codes(seen) == [("no_nvidia_smi", "error")]
    assert "kernel module 535.183.06" in seen.findings[0].found
    assert "--gpus all" in seen.findings[0].fix


def test_version_of_the_open_kernel_module(tmp_path: pathlib.Path) -> None:
    add_kernel_module(tmp_path, "NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (root@host)  Sun Jul 27 07:12:13 UTC 2025")
    assert nvidia.kernel_module_version(tmp_path) == "580.65.06"


@pytest.mark.parametrize(
    ("text", "exit_code", "code", "fix"),
    [
        (MISMATCH, 18, "driver_mismatch", "reboot"),
        (NO_CONTACT, 9, "driver_not_loaded", "modprobe nvidia"),
        ("Failed to initialize NVML: Driver Not Loaded", 9, "driver_not_loaded", "modprobe nvidia"),
        ("Failed to initialize NVML: Unknown Error", 255, "gpu_revoked", "restart the container"),
        ("Failed to initialize NVML: Insufficient Permissions", 4, "no_permission", "sudo"),
        ("Unable to determine the device handle for GPU0000:65:00.0: Unknown Error", 255, "gpu_off_bus", "Xid"),
        ("No devices were found", 6, "no_usable_gpu", "dmesg"),
        ("No devices were found", 0, "no_usable_gpu", "dmesg"),
        ("Segmentation fault", 139, "smi_failed", "by hand"),
        ("", 1, "smi_failed", "by hand"),
    ],
)
def test_failures_of_nvidia_smi(tmp_path: pathlib.Path, text: str, exit_code: int, code: str, fix: str) -> None:
    add_device(tmp_path)
    add_kernel_module(tmp_path, "NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 07:12:13 UTC 2025")
    add_smi(tmp_path, text, exit_code)
    seen = observe(tmp_path)
    assert codes(seen) == [(code, "error")]
    assert not seen.usable
    assert f"exit code {exit_code}" in seen.findings[0].found
    assert "kernel module 580.65.06" in seen.findings[0].found
    assert fix in seen.findings[0].fix


def test_a_failing_nvidia_smi_without_a_device_does_not_stop_a_cpu_host(tmp_path: pathlib.Path) -> None:
    add_smi(tmp_path, NO_CONTACT, 9)
    seen = observe(tmp_path)
    assert codes(seen) == [("no_device", "warning"), ("driver_not_loaded", "warning")]
    assert nvidia.refusal("auto", nvidia.judged("auto", seen)) == ""
    # A host that has to have a GPU hears of both at once.
    assert len(nvidia.refusal("required", nvidia.judged("required", seen)).splitlines()) == 2


def test_a_device_that_cannot_be_used_stops_auto_and_names_the_way_out(tmp_path: pathlib.Path) -> None:
    add_device(tmp_path)
    add_smi(tmp_path, MISMATCH, 18)
    refusal = nvidia.refusal("auto", nvidia.judged("auto", observe(tmp_path)))
    assert "NVML library version: 580.95" in refusal
    assert refusal.endswith("nvidia_driver_gpu=none accepts the CPU.")


def test_a_hanging_nvidia_smi_is_left_within_the_limit(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "TIME_LIMIT", 0.3)
    add_device(tmp_path)
    add_smi(tmp_path)
    # The child of the script holds its output open and would be waited for by a plain kill.
    (tmp_path / "usr/bin/nvidia-smi").write_text("#!/bin/sh\nsleep 20 &\nsleep 20\n")
    began = time.monotonic()
    seen = observe(tmp_path)
    assert time.monotonic() - began < 5
    assert codes(seen) == [("smi_hangs", "error")]
    assert "0.3 s" in seen.findings[0].found


def test_a_driver_too_old_to_be_used(tmp_path: pathlib.Path) -> None:
    add_device(tmp_path)
    log = fixture("h100_driver_580.xml").replace("580.95.05", "470.256.02").replace("13.0", "11.4")
    add_smi(tmp_path, log, table='Field "compute_cap" is not a valid field to query.', table_code=2)
    seen = observe(tmp_path)
    assert codes(seen) == [("driver_too_old", "error")]
    assert "470.256.02" in seen.findings[0].found
    assert "525" in seen.findings[0].wanted
    assert seen.driver == nvidia.Driver("470.256.02", "11.4")


def test_gpus_without_a_compute_capability(tmp_path: pathlib.Path) -> None:
    add_device(tmp_path)
    add_smi(tmp_path, fixture("h100_driver_580.xml"), table=f"{H100}, [N/A]")
    seen = observe(tmp_path)
    assert codes(seen) == [("gpu_lost", "error")]
    assert not seen.usable


@pytest.mark.parametrize("name", ["h100_driver_580.xml", "ada_and_turing_driver_535.xml", "gb10_driver_610.xml"])
def test_output_cut_short_anywhere_is_a_problem_and_never_a_traceback(name: str) -> None:
    whole = fixture(name)
    end = whole.rindex("</nvidia_smi_log>") + len("</nvidia_smi_log>")
    for length in range(0, end - 1, 7):
        with pytest.raises(ValueError, match="no whole"):
            nvidia.parse_log(whole[:length])
    assert nvidia.parse_log(whole[:end])[1]


@pytest.mark.parametrize(
    "log",
    ["", "| NVIDIA-SMI 580.95.05 |", "<nvidia_smi_log><gpu></nvidia_smi_log>", "<nvidia_smi_log></nvidia_smi_log>", "<nvidia_smi_log>\x01</nvidia_smi_log>"],
    ids=["empty", "table", "not well formed", "no version", "control character"],
)
def test_unreadable_output(tmp_path: pathlib.Path, log: str) -> None:
    add_device(tmp_path)
    add_smi(tmp_path, log)
    assert codes(observe(tmp_path)) == [("smi_unreadable", "error")]


@pytest.mark.parametrize(("version", "number"), [("580.95.05", 580), ("470", 470), ("", 0), ("[N/A]", 0)])
def test_major(version: str, number: int) -> None:
    assert nvidia.major(version) == number
