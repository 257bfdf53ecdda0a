# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the findings about NVIDIA's container toolkit and about CDI files that fit the driver or do not."""

from __future__ import annotations

import json
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import container as nvidia_container
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.container import Cdi, Support
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.requirements import Requirements
from ansible_collections.llama_fleet.core.tests.unit.fakes.gpu_host import FakeGpuHost, check, codes

if typing.TYPE_CHECKING:
    import pathlib

DRIVER = "580.95.05"


@pytest.fixture
def fake(tmp_path: pathlib.Path) -> FakeGpuHost:
    host = FakeGpuHost(tmp_path)
    host.healthy()
    return host


def description(driver: str = DRIVER, node: str = "nvidia0", kind: str = "nvidia.com/gpu") -> str:
    """Return a CDI file as nvidia-ctk writes it."""
    return f"""---
cdiVersion: 0.5.0
containerEdits:
  deviceNodes:
  - path: /dev/nvidia-uvm
  - path: /dev/nvidiactl
  hooks:
  - args: [nvidia-cdi-hook, create-symlinks, --link, libcuda.so.1::/usr/lib/x86_64-linux-gnu/libcuda.so]
    hookName: createContainer
  mounts:
  - containerPath: /usr/lib/x86_64-linux-gnu/libcuda.so.{driver}
    hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.{driver}
  - hostPath: /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.{driver}
devices:
- containerEdits:
    deviceNodes:
    - path: /dev/{node}
  name: "0"
- name: GPU-5f3a9c1e-0b7d-4a52-9d0e-2c61f8b7e410
- name: all
kind: {kind}
"""


def test_a_description_that_fits(fake: FakeGpuHost) -> None:
    fake.write("etc/cdi/nvidia.yaml", description())
    fake.write("etc/cdi/other.yaml", description(kind="example.com/device"))
    fake.write("etc/cdi/readme.txt", description())
    fake.program(
        "nvidia-ctk",
        "echo 'NVIDIA Container Toolkit CLI version 1.17.8'; echo 'commit: f202b80a9b9d0db00d9b1d73c0128c8962c55f4d'",
    )
    devices = ("0", "GPU-5f3a9c1e-0b7d-4a52-9d0e-2c61f8b7e410", "all")
    expected = Support("1.17.8", (Cdi("/etc/cdi/nvidia.yaml", DRIVER, devices, True),), True)
    assert nvidia_container.look(fake.host, DRIVER) == expected
    assert fake.calls("nvidia-ctk") == ["nvidia-ctk --version"]
    assert codes(fake.findings(Requirements(runtime="quadlet"))) == []
    assert fake.examine().support == expected


def test_a_description_in_json_and_through_a_link(fake: FakeGpuHost) -> None:
    device = {"name": "all", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0"}]}}
    mounts = {"mounts": [{"hostPath": "/usr/lib/libcuda.so.570.10"}]}
    fake.write(
        "run/cdi/nvidia.json",
        json.dumps({"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [device], "containerEdits": mounts}),
    )
    (fake.root / "var").mkdir()
    (fake.root / "var/run").symlink_to(fake.root / "run")
    (seen,) = nvidia_container.look(fake.host, DRIVER).cdi
    assert (seen.driver_version, seen.devices, seen.matches) == ("570.10", ("all",), False)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (description("580.65.06"), "/etc/cdi/nvidia.yaml, made for driver 580.65.06"),
        (description(node="nvidia7"), "/etc/cdi/nvidia.yaml, with a GPU that is not there"),
        (
            description() + "  - hostPath: /usr/lib32/libcuda.so.570.1.2\n",
            "/etc/cdi/nvidia.yaml, made for driver 570.1.2",
        ),
    ],
)
@pytest.mark.parametrize(("runtime", "severity"), [("", "warning"), ("docker", "warning"), ("quadlet", "error")])
def test_a_stale_description(fake: FakeGpuHost, text: str, found: str, runtime: str, severity: str) -> None:
    fake.write("etc/cdi/nvidia.yaml", text)
    fake.program("nvidia-container-cli", "exit 0")
    findings = fake.findings(Requirements(runtime=runtime))
    check(
        findings,
        "cdi_stale",
        severity,
        found,
        f"driver {DRIVER} and its GPUs",
        "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
    )
    assert len(findings) == 1


def test_a_driver_that_does_not_answer_is_judged_by_its_kernel_module(fake: FakeGpuHost) -> None:
    fake.smi("Failed to initialize NVML: Driver/library version mismatch", 18)
    fake.write("etc/cdi/nvidia.yaml", description())
    assert codes(fake.findings()) == [("driver_mismatch", "error")]


def test_a_description_of_wsl_names_no_driver(fake: FakeGpuHost) -> None:
    fake.write("var/run/cdi/nvidia.yaml", "kind: nvidia.com/gpu\ndevices:\n    - name: all\n      path: /dev/dxg\n")
    assert nvidia_container.look(fake.host, DRIVER).cdi == (Cdi("/var/run/cdi/nvidia.yaml", "", ("all",), True),)


def test_what_each_runtime_needs(fake: FakeGpuHost) -> None:
    found = "no description of nvidia.com/gpu in /etc/cdi or /var/run/cdi"
    check(
        fake.findings(Requirements(runtime="quadlet")),
        "cdi_missing",
        "error",
        found,
        "podman can pass on",
        "nvidia-ctk cdi generate",
    )
    check(
        fake.findings(Requirements(runtime="docker")),
        "container_toolkit_missing",
        "error",
        "no nvidia-container-toolkit",
        "docker can pass on",
        "install nvidia-container-toolkit",
    )
    assert codes(fake.findings(Requirements(runtime="systemd"))) == codes(fake.findings()) == []


def test_a_toolkit_that_does_not_tell_its_version_and_files_that_are_none(fake: FakeGpuHost) -> None:
    fake.program("nvidia-ctk", "echo broken; exit 1")
    (fake.root / "etc/cdi").mkdir(parents=True)
    (fake.root / "etc/cdi/gone.yaml").symlink_to("nowhere")
    (fake.root / "etc/cdi/folder.yaml").mkdir()
    fake.write("etc/cdi/binary.yaml", "").write_bytes(b"kind: nvidia.com/gpu\xff\xfe\0")
    with fake.write("etc/cdi/large.yaml", description()).open("a", encoding="utf-8") as file:
        file.truncate(5 << 20)
    support = nvidia_container.look(fake.host, DRIVER)
    assert (support.toolkit_version, support.has_toolkit) == ("", True)
    assert [each.path for each in support.cdi] == ["/etc/cdi/binary.yaml"]
