# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test reading compute capabilities: from the architecture, from a compiled library, and last from nvidia-smi."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
import zipfile

import hypothesis
import hypothesis.strategies as st
import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import capability as nvidia_capability
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import nvml as nvidia_nvml
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import observe as nvidia
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import smi as nvidia_smi
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.host import GpuHost
from ansible_collections.llama_fleet.core.tests.unit.fakes.gpu_host import (
    ONE_CALL,
    FakeGpuHost,
    add_library,
    document,
    has_compiler,
)
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

GB10 = "GPU-0f4f1b7d-2a6c-5e8b-8d3e-6c5b4a3f2e33"
A100 = "GPU-9f8e7d6c-5b4a-4392-8170-1a2b3c4d5e14"
A100_MIG = "GPU-6e1f0a92-3d47-4c8b-b5e9-27d1c0f4a611"
PRO_6000 = "GPU-83a7b6c5-d4e3-4f21-90ab-cdef01234530"
compiled = pytest.mark.skipif(not has_compiler(), reason="no C compiler")


@compiled
@pytest.mark.parametrize(
    ("name", "uuid", "capability"),
    [
        ("a100_driver_570", A100, "8.0"),
        ("rtx_pro_6000_driver_615", PRO_6000, "12.0"),
        ("gb10_driver_610", GB10, "12.1"),
    ],
)
def test_the_drivers_library_tells_what_an_architecture_does_not(
    fake: FakeGpuHost, name: str, uuid: str, capability: str
) -> None:
    fake.healthy(document(name))
    add_library(fake, {"GPU-00": "1.0", uuid: capability})
    assert [gpu.compute_capability for gpu in fake.observe().gpus] == [capability]
    assert fake.calls() == ONE_CALL


@compiled
def test_the_drivers_library_tells_the_uuids_of_mig_devices(fake: FakeGpuHost) -> None:
    fake.healthy(document("a100_mig_driver_535"))
    add_library(fake, {A100_MIG: "8.0"}, ["MIG-aaaa", "MIG-bbbb"])
    (gpu,) = fake.observe().gpus
    assert [(part.gpu_instance, part.uuid) for part in gpu.mig_devices] == [(3, "MIG-aaaa"), (4, "MIG-bbbb")]
    assert gpu.compute_capability == "8.0"
    assert fake.calls() == ONE_CALL


@compiled
@pytest.mark.parametrize("init", [0, 999])
def test_nvidia_smi_is_asked_again_where_the_library_does_not_tell(fake: FakeGpuHost, init: int) -> None:
    fake.healthy()
    fake.smi(document("a100_driver_570"), table=f"{A100}, 8.0")
    add_library(fake, {A100: "0.0"}, init=init)
    assert [gpu.compute_capability for gpu in fake.observe().gpus] == ["8.0"]
    assert fake.calls() == [*ONE_CALL, "nvidia-smi --query-gpu=uuid,compute_cap --format=csv,noheader"]


def test_only_the_gpus_that_are_not_known_are_asked_for(tmp_path: pathlib.Path) -> None:
    runner = FakeRunner(Result(1, "", "no library"), Result(0, f"{A100}, 8.0\n", ""))
    hopper = nvidia_smi.Gpu(0, "GPU-00", "", "", 0, 0, "", "Hopper")
    ampere = nvidia_smi.Gpu(1, A100, "", "", 0, 0, "", "Ampere")
    known = nvidia_capability.known(GpuHost(runner, tmp_path), "smi", [hopper, ampere])
    assert [gpu.compute_capability for gpu in known] == ["9.0", "8.0"]
    assert [command[0] for command in runner.commands] == [sys.executable, "smi"]
    assert nvidia_capability.known(GpuHost(runner, tmp_path), "smi", [hopper])[0].compute_capability == "9.0"
    assert len(runner.commands) == 2
    parts = (nvidia_smi.MigDevice(0, 3, 0, 1, 1, "MIG-1"), nvidia_smi.MigDevice(1, 4, 0, 1, 1))
    nvidia_capability.known(GpuHost(runner, tmp_path), "smi", [dataclasses.replace(hopper, mig_devices=parts)])
    assert len(runner.commands) == 3, "for a UUID that is missing"


def test_the_child_gets_its_text_out_of_an_archive_too(tmp_path: pathlib.Path) -> None:
    """Check it because Ansible sends modules as an archive."""
    with zipfile.ZipFile(tmp_path / "payload.zip", "w") as archive:
        archive.write(str(nvidia_nvml.__file__), "nvidia_nvml.py")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'payload.zip')!r}); import nvidia_nvml; "
        f"sys.stdout.write(nvidia_nvml.source())"
    )
    done = commands.run([sys.executable, "-I", "-S", "-c", program], timeout=60)
    assert done.stdout == nvidia_nvml.source()
    assert "nvmlInit_v2" in done.stdout


def test_where_the_library_may_be(fake: FakeGpuHost) -> None:
    for folder in (
        "usr/bin",
        "usr/lib64",
        "usr/lib",
        "usr/lib/wsl/lib",
        "run/opengl-driver/lib",
        "usr/local/nvidia/lib64",
        "opt/nvidia/lib64",
    ):
        fake.write(f"{folder}/libnvidia-ml.so.1", "")
    runner = FakeRunner()
    host = dataclasses.replace(fake.host, run=runner)
    gpu = nvidia_smi.Gpu(0, GB10, "", "", 0, 0, "", "Blackwell")
    nvidia_capability.known(host, str(fake.root / "usr/bin/nvidia-smi"), [gpu])
    assert [str(pathlib.Path(name).relative_to(fake.root).parent) for name in runner.commands[0][5:]] == [
        "usr/bin",
        "usr/lib64",
        "usr/lib",
        "usr/lib/wsl/lib",
        "run/opengl-driver/lib",
        "usr/local/nvidia/lib64",
        "opt/nvidia/lib64",
    ]
    assert [settings["timeout"] for settings in runner.settings] == [10, 10]
    real = FakeRunner()
    nvidia_capability.known(GpuHost(real), "/nowhere/nvidia-smi", [gpu])
    assert real.commands[0][5] == "libnvidia-ml.so.1", "on a real host the loader knows best"


@hypothesis.settings(max_examples=30, deadline=None, derandomize=True, database=None)
@hypothesis.given(st.text(alphabet="GPUMI-abc0193 .,\n٣", max_size=80), st.integers(-9, 255))
def test_whatever_the_library_and_the_table_say_is_no_traceback(text: str, code: int) -> None:
    class Said(FakeRunner):
        def answer(self, _command: list[str]) -> Result:
            return Result(code, f"{A100} {text}\n{A100}, {text}\n{A100} 999999.9\n", "")

    gpus = nvidia_capability.known(GpuHost(Said()), "smi", [nvidia_smi.Gpu(0, A100, "", "", 0, 0, "", "Ampere")])
    assert len(nvidia.Observation(tuple(gpu for gpu in gpus if gpu.compute_capability)).architectures) <= 1


def test_a_library_that_hangs_is_left_within_the_limit(fake: FakeGpuHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia_capability, "TIME_LIMIT", 3.0)
    monkeypatch.setattr(nvidia_nvml, "source", lambda: f"import time; time.sleep(20); print('{A100} 9.9')")
    fake.healthy()
    fake.smi(document("a100_driver_570"), table=f"{A100}, 8.0")
    assert [gpu.compute_capability for gpu in fake.observe().gpus] == ["8.0"]
