# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test requirements for a host's GPUs and driver, met and unmet."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import argument_spec
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import plan as cuda
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import observe as nvidia
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import requirements as nvidia_requirements
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import smi as nvidia_smi
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.requirements import Requirements
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.tests.unit.fakes.gpu_host import H100, check, codes, document

DEFAULTS = {name: option["default"] for name, option in argument_spec(Requirements).items()}
NAME = "GPU 0 (NVIDIA H100 80GB HBM3 at 00000000:65:00.0)"


def seen(
    name: str = "h100_driver_580", capability: str = "9.0", count: int = 1, **changes: typing.Any
) -> nvidia.Observation:
    log = nvidia_smi.parse_log(document(name, count))
    gpus = tuple(dataclasses.replace(gpu, compute_capability=capability, **changes) for gpu in log.gpus)
    return nvidia.Observation(gpus, log.driver)


@pytest.mark.parametrize(
    ("asked", "requirements"),
    [
        ({}, Requirements()),
        ({"gpus": ["2"]}, Requirements(count=2)),
        ({"gpus": [H100, "MIG-0a"]}, Requirements(gpus=(H100, "MIG-0a"))),
        (
            {"min_driver": "580.65.06", "toolkit_version": "13.0", "min_free_memory": 5},
            Requirements("580.65.06", "13.0", 5),
        ),
        (
            {"compute_capability": "8.0", "runtime": "docker", "user": "llama"},
            Requirements(compute_capability="8.0", runtime="docker", user="llama"),
        ),
    ],
)
def test_arguments(asked: dict[str, typing.Any], requirements: Requirements) -> None:
    assert nvidia_requirements.parse({**DEFAULTS, **asked}) == requirements


def test_arguments_that_make_no_sense_are_told_together() -> None:
    asked = {
        "min_driver": "newest",
        "toolkit_version": "cu130",
        "compute_capability": "sm_90",
        "min_free_memory": -1,
        "gpus": ["0", "H100"],
    }
    with pytest.raises(ProblemError) as caught:
        nvidia_requirements.parse({**DEFAULTS, **asked})
    assert [problem.subject for problem in caught.value.problems] == [
        "nvidia_driver_min_driver",
        "nvidia_driver_toolkit_version",
        "nvidia_driver_compute_capability",
        "nvidia_driver_min_free_memory",
        "nvidia_driver_gpus",
    ]
    assert "expected UUIDs of GPUs or MIG devices, or one number of GPUs, found 0, H100." in str(caught.value)


def test_all_is_as_it_is_asked_for() -> None:
    wanted = Requirements("580.95.05", "13.0", 81079, (H100,), 0, "9.0")
    assert nvidia_requirements.unmet(wanted, seen()) == []
    assert (
        nvidia_requirements.unmet(Requirements(count=8, min_free_memory=81080), seen("h100_sxm_driver_580", count=8))
        == []
    )


@pytest.mark.parametrize(
    ("wanted", "code", "severity", "found", "wants", "fix"),
    [
        (
            Requirements(min_driver="580.95.06"),
            "driver_below_minimum",
            "error",
            "NVIDIA driver 580.95.05",
            "driver 580.95.06 or newer",
            "upgrade the driver",
        ),
        (Requirements(gpus=("GPU-0", H100)), "gpus_missing", "error", H100, "GPU-0", "nvidia-smi -L"),
        (Requirements(count=2), "gpus_missing", "error", "1 usable GPUs", "2 of them", "nvidia-smi -L"),
        (
            Requirements(compute_capability="10.0"),
            "capability_too_low",
            "error",
            f"{NAME} with compute capability 9.0",
            "compute capability 10.0 or higher",
            "newer GPUs",
        ),
        (
            Requirements(min_free_memory=81080),
            "memory_too_little",
            "error",
            f"{NAME} with 81079 of 81559 MiB free, held by no process that the driver reports",
            "81080 MiB free on each GPU",
            "stop the processes that hold the memory",
        ),
        (
            Requirements(toolkit_version="13.5"),
            "ptx_too_new",
            "warning",
            "NVIDIA driver 580.95.05, which compiles at most the PTX of CUDA 13.0",
            "a build without PTX of CUDA 13.5",
            "-real",
        ),
    ],
)
def test_each_requirement(wanted: Requirements, code: str, severity: str, found: str, wants: str, fix: str) -> None:
    findings = nvidia_requirements.unmet(wanted, seen())
    assert len(findings) == 1
    check(findings, code, severity, found, wants, fix)
    assert findings[0].subject != "nvidia_driver_gpu"


@pytest.mark.parametrize(
    ("driver", "toolkit", "fits"),
    [("524.99", "12.8", False), ("525", "12.8", True), ("579.99", "13.0", False), ("580", "13.0", True)],
)
def test_the_oldest_driver_of_a_toolkit_runs_it(driver: str, toolkit: str, fits: bool) -> None:
    observed = dataclasses.replace(seen(), driver=nvidia_smi.Driver(driver, "", driver))
    assert codes(nvidia_requirements.unmet(Requirements(toolkit_version=toolkit), observed)) == (
        [] if fits else [("driver_too_old_for_toolkit", "error")]
    )


@pytest.mark.parametrize(
    ("driver", "wanted", "fits"),
    [("1000.1", "580", True), ("580.95.05", "580.100", False), ("580.100", "580.95.05", True), ("580", "580", True)],
)
def test_versions_are_numbers(driver: str, wanted: str, fits: bool) -> None:
    observed = dataclasses.replace(seen(), driver=nvidia_smi.Driver(driver, "", driver))
    assert codes(nvidia_requirements.unmet(Requirements(min_driver=wanted), observed)) == (
        [] if fits else [("driver_below_minimum", "error")]
    )


def test_a_driver_too_old_for_the_toolkit() -> None:
    findings = nvidia_requirements.unmet(Requirements(toolkit_version="13.0"), seen("a100_driver_570", "8.0"))
    check(
        findings,
        "driver_too_old_for_toolkit",
        "error",
        "NVIDIA driver 570.148.08",
        "580 or newer, which runs CUDA 13.0",
        "or use an older toolkit",
    )
    assert len(findings) == 1
    findings = nvidia_requirements.unmet(Requirements(toolkit_version="12.9"), seen("a100_driver_570", "8.0"))
    assert codes(findings) == [("ptx_too_new", "warning")]


@pytest.mark.parametrize(
    ("capability", "toolkit", "code", "severity", "fix"),
    [
        (
            "7.0",
            "13.0",
            "gpu_dropped_by_toolkit",
            "error",
            "install CUDA 12, with a driver up to 580, and name it in cuda_toolkit_path",
        ),
        ("5.2", "13.5", "gpu_dropped_by_toolkit", "error", "install CUDA 12"),
        ("3.7", "12.4", "gpu_dropped_by_toolkit", "error", "use a newer GPU, or the CPU"),
        ("6.1", "", "gpu_dropped_by_toolkit", "warning", "install CUDA 12"),
        ("10.0", "12.6", "gpu_unknown_to_toolkit", "error", "use CUDA 13.0 or newer"),
        ("10.3", "12.8", "gpu_unknown_to_toolkit", "error", "use CUDA 13.0 or newer"),
        ("10.7", "13.0", "gpu_unknown_to_toolkit", "error", "use CUDA 13.5 or newer"),
        ("13.0", "13.5", "gpu_unknown_to_toolkit", "error", "newer than this collection"),
        ("13.0", "", "gpu_unknown_to_toolkit", "warning", "newer than this collection"),
    ],
)
def test_gpus_that_a_toolkit_dropped_or_does_not_know_yet(
    capability: str, toolkit: str, code: str, severity: str, fix: str
) -> None:
    findings = nvidia_requirements.unmet(Requirements(toolkit_version=toolkit), seen(capability=capability))
    findings = [finding for finding in findings if finding.code != "ptx_too_new"]
    assert len(findings) == 1
    check(
        findings,
        code,
        severity,
        f"{NAME} with compute capability {capability}",
        f"a GPU that CUDA {toolkit or '13.5'}",
        fix,
    )


@pytest.mark.parametrize(
    ("capability", "toolkit"),
    [
        ("7.0", "12.9"),
        ("7.5", "13.0"),
        ("12.0", "12.8"),
        ("12.1", "12.9"),
        ("10.7", "13.5"),
        ("9.0", "11.8"),
        ("8.0", "14.0"),
    ],
)
def test_gpus_that_a_toolkit_knows(capability: str, toolkit: str) -> None:
    findings = nvidia_requirements.unmet(Requirements(toolkit_version=toolkit), seen(capability=capability))
    assert [finding for finding in findings if finding.code != "ptx_too_new"] == []


def test_the_drivers_of_toolkits_are_those_that_a_toolkit_is_chosen_by() -> None:
    assert {major: nvidia_requirements.OLDEST_DRIVER[major] for major in cuda.OLDEST_DRIVER} == cuda.OLDEST_DRIVER


def test_who_holds_the_memory_the_largest_first_and_without_arguments() -> None:
    (finding,) = nvidia_requirements.unmet(
        Requirements(min_free_memory=8000), seen("rtx3090_desktop_driver_550", "8.6")
    )
    assert finding.found == (
        "GPU 0 (NVIDIA GeForce RTX 3090 at 00000000:0A:00.0) with 2014 of 24576 MiB free, held by "
        "/usr/local/bin/ollama (pid 30412, 20870 MiB), "
        "/usr/bin/python3 (pid 30990, 1237 MiB), /usr/lib/xorg/Xorg (pid 1873, 96 MiB), /opt/browser/browser (pid "
        "2210, 41 MiB)"
    )


def test_what_our_own_server_holds_counts_as_free() -> None:
    ours = nvidia_smi.Process(7, "/opt/llama-fleet/releases/b1-f/bin/llama-server", "C", 70000)
    running = seen(memory_free_mib=11000, processes=(ours, nvidia_smi.Process(8, "/usr/bin/python3", "C", 400)))
    assert nvidia_requirements.unmet(Requirements(min_free_memory=81000), running) == []
    assert codes(nvidia_requirements.unmet(Requirements(min_free_memory=81001), running)) == [
        ("memory_too_little", "error")
    ]


def test_only_as_many_gpus_as_asked_for_have_to_do() -> None:
    both = seen("h100_sxm_driver_580", count=2)
    one_full = dataclasses.replace(both, gpus=(dataclasses.replace(both.gpus[0], memory_free_mib=100), both.gpus[1]))
    assert nvidia_requirements.unmet(Requirements(count=1, min_free_memory=80000), one_full) == []
    assert nvidia_requirements.unmet(Requirements(gpus=(both.gpus[1].uuid,), min_free_memory=80000), one_full) == []
    (finding,) = nvidia_requirements.unmet(Requirements(count=2, min_free_memory=80000), one_full)
    assert finding.found.startswith("GPU 0 ")
    assert "GPU 1 " not in finding.found
    assert codes(nvidia_requirements.unmet(Requirements(min_free_memory=80000), one_full)) == [
        ("memory_too_little", "error")
    ]


def test_memory_of_mig_devices_and_of_gpus_that_share_the_hosts() -> None:
    mig = seen("a100_mig_driver_535", "8.0")
    parts = tuple(dataclasses.replace(part, uuid=f"MIG-{part.index}") for part in mig.gpus[0].mig_devices)
    mig = dataclasses.replace(mig, gpus=(dataclasses.replace(mig.gpus[0], mig_devices=parts),))
    assert nvidia_requirements.unmet(Requirements(min_free_memory=19955), mig) == [], "the best of them"
    assert codes(nvidia_requirements.unmet(Requirements(min_free_memory=19956), mig)) == [
        ("memory_too_little", "error")
    ]
    assert codes(nvidia_requirements.unmet(Requirements(min_free_memory=19955, gpus=("MIG-1",)), mig)) == [
        ("memory_too_little", "error")
    ]
    assert nvidia_requirements.unmet(Requirements(min_free_memory=11023, gpus=("MIG-0", "MIG-1")), mig) == []
    assert codes(nvidia_requirements.unmet(Requirements(min_free_memory=11024, gpus=("MIG-0", "MIG-1")), mig)) == [
        ("memory_too_little", "error")
    ]
    shared = seen("gb10_driver_610", "12.1")
    assert nvidia_requirements.unmet(Requirements(min_free_memory=4000), shared, 4000) == []
    assert codes(nvidia_requirements.unmet(Requirements(min_free_memory=4001), shared, 4000)) == [
        ("memory_too_little", "error")
    ]


def test_a_driver_that_does_not_answer_is_judged_by_its_kernel_module() -> None:
    broken = nvidia.Observation((), nvidia_smi.Driver("", "", "535.183.06"))
    wanted = Requirements(
        min_driver="580", toolkit_version="13.0", count=1, min_free_memory=1, compute_capability="9.0"
    )
    assert codes(nvidia_requirements.unmet(wanted, broken)) == [
        ("driver_below_minimum", "error"),
        ("driver_too_old_for_toolkit", "error"),
        ("gpus_missing", "error"),
    ]
    assert codes(nvidia_requirements.unmet(wanted, nvidia.Observation())) == [("gpus_missing", "error")]
