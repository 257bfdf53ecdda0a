# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test WSL and Jetson boards. What a Jetson's nvidia-smi prints is from public reports of JetPack 6.0 to 7.2."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import observe as nvidia
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.requirements import Requirements
from ansible_collections.llama_fleet.core.tests.unit.fakes.gpu_host import FakeGpuHost, check, codes, document, edited

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.findings import Finding

ORIN = "ddae9891-aaa8-5edd-bbf3-3a33c5adc75f"
NO_CONTACT = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
UNIT = Requirements(runtime="systemd")


def test_wsl(fake: FakeGpuHost) -> None:
    fake.write("proc/sys/kernel/osrelease", "6.6.87.2-microsoft-standard-WSL2\n")
    check(
        fake.findings(),
        "wsl_without_gpu",
        "warning",
        "WSL without an NVIDIA GPU",
        "a GPU passed on by Windows",
        "wsl --update",
    )
    assert len(fake.findings()) == 1
    assert nvidia.judged("required", fake.examine().seen).findings[0].severity == "error"
    fake.smi(document("h100_driver_580"))
    assert codes(fake.findings()) == []
    fake.write("usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05", "")
    found = "libraries of NVIDIA's Linux driver in WSL"
    check(fake.findings(), "wsl_linux_driver", "warning", found, "/usr/lib/wsl/lib/libcuda.so.1", "remove the packages")
    assert fake.examine().seen.usable


@pytest.mark.parametrize(("named", "expected"), [(True, []), (False, [("wsl_library", "error")])])
def test_wsl_whose_loader_knows_the_library_of_windows_or_not(
    fake: FakeGpuHost, named: bool, expected: list[tuple[str, str]]
) -> None:
    fake.write("proc/sys/kernel/osrelease", "6.6.87.2-microsoft-standard-WSL2\n")
    fake.smi(document("h100_driver_580"))
    fake.write("etc/ld.so.cache", "libcuda.so.1\0/usr/lib/wsl/lib/libcuda.so.1\0" if named else "libc.so.6\0")
    assert codes(fake.findings(UNIT)) == expected
    assert fake.examine(UNIT).seen.usable is named


def jetson(fake: FakeGpuHost, release: str, **values: str) -> None:
    """Make the host a Jetson, with or without a version of its driver and its CUDA."""
    fake.write("proc/device-tree/compatible", "nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0")
    fake.write("etc/nv_tegra_release", f"# R{release} (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n")
    fake.nodes("nvidia0", "nvidiactl", "nvidia-modeset", "nvmap", mode=0o660)
    log = document("gb10_driver_610")
    for name in ("driver_version", "kmd_version"):
        log = edited(log, **{name: values["driver"]})
    for name in ("cuda_version", "cuda_umd_version"):
        log = edited(log, **{name: values["cuda"]})
    log = edited(log, product_name=values["name"], uuid=values["uuid"], pci_bus_id=values["address"])
    log = log.replace('<gpu id="0000000F:01:00.0">', f'<gpu id="{values["address"]}">')
    for name in ("total", "reserved", "used", "free"):
        log = edited(log, **{name: "Not Supported"})
    fake.smi(log, table=f"{values['uuid']}, {values['capability']}")


@pytest.mark.parametrize(
    ("release", "driver", "cuda", "version"),
    [
        ("36", "540.4.0", "12.6", "540.4.0"),  # JetPack 6.2
        ("36", "N/A", "12.2", "540"),  # JetPack 6.0
        ("39", "595.78", "13.2", "595.78"),  # JetPack 7.2
    ],
)
def test_orin(fake: FakeGpuHost, release: str, driver: str, cuda: str, version: str) -> None:
    jetson(
        fake,
        release,
        driver=driver,
        cuda=cuda,
        name="Orin (nvgpu)",
        uuid=ORIN,
        address="N/A",
        capability="8.7",
    )
    seen = fake.examine().seen
    assert (seen.usable, codes(seen.findings), seen.architectures) == (True, [], ["87-real"])
    assert seen.driver
    assert (seen.driver.version, seen.driver.cuda_version) == (version, cuda)
    (gpu,) = seen.gpus
    assert (str(gpu), gpu.uuid, gpu.shares_memory) == ("GPU 0 (Orin (nvgpu))", ORIN, True)
    assert codes(fake.findings(Requirements(gpus=(ORIN,), min_free_memory=4000))) == []
    assert codes(fake.findings(Requirements(runtime="process"))) == []
    check(
        fake.findings(UNIT),
        "jetson_unit",
        "error",
        "an NVIDIA Jetson, whose device files a unit does not open",
        "the Jetson's device files",
        "llama_server_runtime to process",
    )


@pytest.mark.parametrize(("release", "driver", "cuda"), [("38", "580.00", "13.0"), ("39", "595.78", "13.2")])
def test_thor(fake: FakeGpuHost, release: str, driver: str, cuda: str) -> None:
    uuid = "GPU-0f4f1b7d-2a6c-5e8b-8d3e-6c5b4a3f2e33"
    jetson(
        fake,
        release,
        driver=driver,
        cuda=cuda,
        name="NVIDIA Thor",
        uuid=uuid,
        address="00000000:01:00.0",
        capability="11.0",
    )
    seen = fake.examine().seen
    assert (seen.usable, codes(seen.findings), seen.architectures) == (True, [], ["110-real"])
    assert [str(gpu) for gpu in seen.gpus] == ["GPU 0 (NVIDIA Thor at 00000000:01:00.0)"]


@pytest.mark.parametrize(
    ("nodes", "smi", "found"),
    [
        ((), "", "no GPU that is reported"),  # JetPack 4
        (("nvidia0", "nvidiactl"), "", "the NVIDIA device /dev/nvidia0, but no NVIDIA driver"),  # JetPack 5
        (
            ("nvidia0", "nvidiactl"),
            NO_CONTACT,
            f"nvidia-smi with exit code 9 ({NO_CONTACT})",
        ),
    ],
)
def test_a_jetson_without_a_gpu_is_told_and_not_taken_for_a_host_without_one(
    fake: FakeGpuHost, nodes: tuple[str, ...], smi: str, found: str
) -> None:
    fake.write("proc/device-tree/compatible", "nvidia,p3509-0000+p3668-0001\0nvidia,tegra194\0")
    for node in nodes:
        fake.nodes(node)
    if smi:
        fake.smi(smi, code=9)
    findings: tuple[Finding, ...] = fake.findings()
    wanted = "an nvidia-smi that reports the GPU"
    check(findings, "jetson_without_gpu", "error", f"an NVIDIA Jetson with {found}", wanted, "boards before Orin")
    assert len(findings) == 1
    assert "does not fall back to its CPU" in nvidia.refusal("auto", fake.examine().seen)
