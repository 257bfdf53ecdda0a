# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the whole examination on a healthy host, on a host with many faults, and with arbitrary output of a driver."""

from __future__ import annotations

import dataclasses
import random
import re

import hypothesis
import hypothesis.strategies as st
import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import examine as nvidia_host
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import observe as nvidia
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.kernel import Account
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.requirements import Requirements
from ansible_collections.llama_fleet.core.tests.unit.fakes.gpu_host import FakeGpuHost, check, codes, document, edited
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

XID_79 = "NVRM: Xid (PCI:0000:65:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."


def test_a_healthy_host_has_no_findings(fake: FakeGpuHost) -> None:
    fake.healthy()
    fake.kernel_log(
        "Linux version 6.8",
        "NVRM: loading NVIDIA UNIX Open Kernel Module",
        "nvidia: module verification failed: signature missing - tainting kernel",
    )
    assert codes(fake.findings()) == []
    assert fake.calls() == ["nvidia-smi -q -x"]


def test_a_host_without_a_device_is_looked_at_no_further(fake: FakeGpuHost) -> None:
    fake.device(vendor="0x1002")
    fake.program("nvidia-ctk", "echo version 1.0.0")
    examined = fake.examine(Requirements(min_driver="999", count=2, runtime="quadlet"))
    assert codes(examined.seen.findings) == [("no_device", "warning")]
    assert fake.calls("nvidia-ctk") == []


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> FakeGpuHost:
    host = FakeGpuHost(tmp_path_factory.mktemp("host"))
    host.healthy()
    host.write("etc/cdi/nvidia.yaml", "kind: nvidia.com/gpu\n")
    return host


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True, database=None)
@hypothesis.given(
    st.sampled_from(["a100_mig_driver_535", "rtx3090_desktop_driver_550", "h100_sxm_driver_580"]),
    st.integers(0, 2**32),
    st.integers(0, 255),
)
def test_whatever_a_driver_says_is_findings_and_no_traceback(
    lasting: FakeGpuHost, name: str, seed: int, code: int
) -> None:
    source = random.Random(seed)
    words = re.split(r"(>[^<\n]+<)", document(name, 2))
    for place in source.sample(range(1, len(words), 2), source.randrange(30)):
        words[place] = source.choice(
            [
                ">Yes<",
                ">Enabled<",
                ">GPU is lost<",
                ">9999999999 MiB<",
                ">-1<",
                f"{words[place][:-1]}x<",
                "><",
                ">\x01<",
            ]
        )
    text = "".join(words)
    # Half of the documents are complete.
    text = source.choice([text, text[: source.randrange(len(text))]])

    class Said(FakeRunner):
        def answer(self, command: list[str]) -> Result:
            return Result(
                source.choice([0, 0, code]),
                text if command[1:] == ["-q", "-x"] else f"{text[200:260]}\nGPU-1 8.0\n",
                "",
            )

    host = dataclasses.replace(lasting.host, run=Said())
    wanted = Requirements("999", "13.0", 10**6, ("GPU-1",), 0, "99.0", "quadlet", "llama")
    seen = nvidia_host.examine(host, wanted, Account("llama")).seen
    assert seen.findings
    assert nvidia.refusal("auto", seen)
    assert seen.architectures is not None


def test_all_at_once_and_the_worst_first(fake: FakeGpuHost) -> None:
    fake.healthy(edited(document("h100_driver_580"), compute_mode="Exclusive_Process", pending_ecc="Disabled"))
    (fake.root / "dev/nvidia-uvm").unlink()
    fake.kernel_log(XID_79.replace(" 79,", " 94,"))
    wanted = Requirements(
        min_driver="590",
        toolkit_version="13.5",
        min_free_memory=90000,
        count=2,
        compute_capability="10.0",
        runtime="quadlet",
    )
    findings = fake.findings(wanted)
    assert codes(findings) == [
        ("gpus_missing", "error"),
        ("driver_below_minimum", "error"),
        ("capability_too_low", "error"),
        ("memory_too_little", "error"),
        ("cdi_missing", "error"),
        ("uvm_missing", "warning"),
        ("gpu_xid", "warning"),
        ("ecc_mode_pending", "warning"),
        ("compute_exclusive", "warning"),
        ("ptx_too_new", "warning"),
    ]
    refusal = nvidia.refusal("auto", nvidia.judged("auto", fake.examine(wanted).seen))
    assert [line.split(":")[0] for line in refusal.splitlines()] == [
        "nvidia_driver_gpus",
        "nvidia_driver_min_driver",
        "nvidia_driver_compute_capability",
        "nvidia_driver_min_free_memory",
        "nvidia_driver_runtime",
    ]


@pytest.mark.parametrize(
    ("name", "address", "capability", "found"),
    [
        (
            "gb10_driver_610",
            "000f:01:00.0",
            "GPU-0f4f1b7d-2a6c-5e8b-8d3e-6c5b4a3f2e33, 12.1",
            "GPU 0 (NVIDIA GB10 at 0000000F:01:00.0) with 115787 MiB free of the host's memory, which the GPU shares",
        ),
        (
            "a100_mig_driver_535",
            "0000:01:00.0",
            "GPU-6e1f0a92-3d47-4c8b-b5e9-27d1c0f4a611, 8.0",
            "GPU 0 (NVIDIA A100-SXM4-80GB at 00000000:01:00.0) with 19955 MiB free on one of its MIG devices",
        ),
    ],
)
def test_the_memory_that_is_compared_is_the_memory_that_is_told(
    fake: FakeGpuHost, name: str, address: str, capability: str, found: str
) -> None:
    fake.healthy(document(name), address)
    fake.smi(document(name), table=capability)
    fake.write("proc/meminfo", "MemTotal: 127600748 kB\nMemAvailable: 118566368 kB\n")
    assert codes(fake.findings(Requirements(min_free_memory=19000))) == []
    wants = "120000 MiB free on each GPU"
    check(fake.findings(Requirements(min_free_memory=120000)), "memory_too_little", "error", found, wants, "stop")
