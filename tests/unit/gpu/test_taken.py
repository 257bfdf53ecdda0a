# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The memory and device nodes that a server takes, against its plan and its unit."""

from __future__ import annotations

import os
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import processes as nvidia_processes
from tests.gpu import taken
from tests.unit.gpu.fake_smi import put_smi

if typing.TYPE_CHECKING:
    import pathlib


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        ("echo '143000, 771'", (143000, 771)),
        ("printf '80000, 1\\n70000, 11\\n'", (150000, 12)),
        ("echo '[N/A], [N/A]'", None),
        ("echo '143000, 771'; exit 6", None),
    ],
)
def test_memory_is_that_of_all_gpus(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, script: str, wanted: tuple[int, int] | None
) -> None:
    put_smi(monkeypatch, tmp_path / "bin", script)
    assert taken.memory() == wanted


def test_memory_without_a_program_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert taken.memory() is None


def plan(**devices: tuple[int, int, int]) -> list[dict[str, typing.Any]]:
    return [
        {"device": name, "model_mib": model, "context_mib": context, "compute_mib": compute}
        for name, (model, context, compute) in devices.items()
    ]


def test_the_plan_is_compared_without_what_cuda_itself_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        nvidia_processes,
        "compute_processes",
        lambda _run: [("7", "GPU-a", "6000"), ("7", "GPU-b", "5000"), ("8", "GPU-a", "99")],
    )
    planned = plan(CUDA0=(4000, 900, 100), CUDA1=(4000, 900, 100), Host=(300, 0, 20))
    found = taken.compare(planned, 7, taken.Memory(143000, 0), 1000)
    assert (found["planned_mib"], found["taken_mib"], found["cuda_context_mib"]) == (10000, 11000, 1000)
    assert (found["error_percent"], found["measured_by"], found["devices"]) == (
        0.0,
        taken.BY_PROCESS,
        ["CUDA0", "CUDA1"],
    )
    assert taken.compare(planned, 7, taken.Memory(143000, 0), 2000)["error_percent"] == 11.1
    assert taken.compare(planned, 7, taken.Memory(143000, 0), 0)["error_percent"] == -9.1


def test_where_the_driver_lists_no_process_the_use_before_and_after_tells(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvidia_processes, "compute_processes", lambda _run: [("7", "GPU-a", "[N/A]")])
    put_smi(monkeypatch, tmp_path / "bin", "echo '130000, 13000'")
    found = taken.compare(plan(CUDA0=(9000, 900, 100)), 7, taken.Memory(142000, 1000), 2000)
    assert (found["taken_mib"], found["measured_by"], found["error_percent"]) == (12000, taken.BY_DIFFERENCE, 0.0)
    # Who cannot measure has no error, and says no 0.
    assert taken.compare(plan(CUDA0=(9000, 900, 100)), 7, None, 0)["error_percent"] is None


def test_without_a_gpu_the_plan_is_compared_with_the_ram() -> None:
    found = taken.compare(plan(Host=(10, 0, 0)), os.getpid(), None, 500)
    assert (found["devices"], found["measured_by"], found["cuda_context_mib"]) == (["Host"], taken.BY_KERNEL, 0)
    assert found["taken_mib"] > 5
    assert taken.resident(2**22 + 1) == 0


def test_a_context_is_what_a_listing_lacks() -> None:
    assert taken.fixed(taken.Memory(143000, 0), 142480) == 520
    assert taken.fixed(None, 142480) == 0
    assert taken.fixed(taken.Memory(143000, 0), 0) == 0, "a release that lists no GPU tells nothing of a context"


def test_nodes_have_their_drivers_name(tmp_path: pathlib.Path) -> None:
    dev = tmp_path / "dev"
    (dev / "nvidia-caps").mkdir(parents=True)
    for name, real in (("nvidia0", "/dev/null"), ("nvidia-caps/nvidia-cap1", "/dev/tty"), ("null", "/dev/null")):
        (dev / name).symlink_to(real)
    (dev / "nvidia.txt").write_text("no device", encoding="utf-8")
    table = tmp_path / "devices"
    table.write_text(
        "Character devices:\n  1 nvidia\n  5 nvidia-caps\n\nBlock devices:\n  1 ramdisk\n", encoding="utf-8"
    )
    assert taken.nodes(dev, table) == {"/dev/nvidia-caps/nvidia-cap1": "nvidia-caps", "/dev/nvidia0": "nvidia"}
    table.unlink()
    assert taken.nodes(dev, table) == {"/dev/nvidia-caps/nvidia-cap1": "", "/dev/nvidia0": ""}


def test_a_unit_allows_what_the_driver_of_today_has() -> None:
    allowed = taken.allowed("/opt/release", "/srv/model.gguf")
    assert allowed == ["char-nvidia*", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/dxg"]
    for node, driver in (
        ("/dev/nvidia0", "nvidia"),
        ("/dev/nvidia0", "nvidia-frontend"),
        ("/dev/nvidia-caps/nvidia-cap1", "nvidia-caps"),
        ("/dev/nvidiactl", ""),
    ):
        assert taken.is_allowed(node, driver, allowed), node
    assert not taken.is_allowed("/dev/nvidia0", "", allowed)
    assert not taken.is_allowed("/dev/dri/card0", "drm", allowed)
    assert taken.unknown({"/dev/nvidia0": "nvidia", "/dev/nvidiactl": ""}, ["/dev/nvidia0", "/dev/nvidia7"]) == [
        "/dev/nvidia7",
        "/dev/nvidiactl",
    ]
