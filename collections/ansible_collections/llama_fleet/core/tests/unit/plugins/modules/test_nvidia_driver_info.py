# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module around the observation: what it returns, when it fails, what it leaves alone."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils import nvidia
from ansible_collections.llama_fleet.core.plugins.modules import nvidia_driver_info

GPU = nvidia.Gpu(0, "GPU-1", "NVIDIA H100", "9.0", 81559, 81079, "00000000:65:00.0")
DRIVER = nvidia.Driver("580.95.05", "13.0")
NO_DEVICE = nvidia.Finding("no_device", "warning", "no NVIDIA device", "a GPU", "use the CPU")
NO_DRIVER = nvidia.Finding("no_driver", "error", "a device, but no driver", "a driver", "install it")
LOST = nvidia.Finding("gpu_lost", "warning", "a GPU that is silent", "one that answers", "reboot")


class LeftError(Exception):
    """The module left with ``result``."""

    def __init__(self, failed: bool, result: dict[str, typing.Any], warnings: list[str]) -> None:
        super().__init__(str(result))
        self.failed, self.result, self.warnings = failed, result, warnings


def run(monkeypatch: pytest.MonkeyPatch, gpu: str, seen: nvidia.Observation | None) -> LeftError:
    class Module:
        def __init__(self, argument_spec: dict[str, typing.Any], supports_check_mode: bool) -> None:
            assert supports_check_mode
            assert argument_spec["gpu"]["choices"] == ["auto", "required", "none"]
            self.params = {"gpu": gpu}
            self.warnings: list[str] = []

        def warn(self, text: str) -> None:
            self.warnings.append(text)

        def exit_json(self, **result: typing.Any) -> None:
            raise LeftError(False, result, self.warnings)

        def fail_json(self, **result: typing.Any) -> None:
            raise LeftError(True, result, self.warnings)

    def observe(_host: nvidia.Host) -> nvidia.Observation:
        assert seen is not None, "nothing was to be looked at"
        return seen

    monkeypatch.setattr(nvidia_driver_info, "AnsibleModule", Module)
    monkeypatch.setattr(nvidia, "observe", observe)
    with pytest.raises(LeftError) as left:
        nvidia_driver_info.main()
    return left.value


def test_none_looks_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    left = run(monkeypatch, "none", None)
    assert not left.failed
    assert left.result == {"changed": False, "backend": "cpu", "driver": {}, "gpus": [], "cuda_architectures": [], "problems": []}


@pytest.mark.parametrize("gpu", ["auto", "required"])
def test_a_gpu_that_works(monkeypatch: pytest.MonkeyPatch, gpu: str) -> None:
    left = run(monkeypatch, gpu, nvidia.Observation((GPU,), DRIVER, (LOST,)))
    assert not left.failed
    assert left.result["backend"] == "cuda"
    assert left.result["driver"] == {"version": "580.95.05", "cuda_version": "13.0"}
    assert left.result["gpus"][0]["pci_address"] == "00000000:65:00.0"
    assert left.result["cuda_architectures"] == ["90-real"]
    assert left.result["problems"][0]["severity"] == "warning"
    assert "a GPU that is silent" in left.warnings[0]


def test_auto_without_a_device_is_the_cpu_and_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    left = run(monkeypatch, "auto", nvidia.Observation(findings=(NO_DEVICE,)))
    assert (left.failed, left.result["backend"], left.warnings) == (False, "cpu", [])
    assert left.result["problems"] == [{"code": "no_device", "severity": "warning", "found": "no NVIDIA device", "wanted": "a GPU", "fix": "use the CPU"}]


def test_auto_with_a_device_that_does_not_work_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    left = run(monkeypatch, "auto", nvidia.Observation(findings=(NO_DRIVER,)))
    assert left.failed
    assert "nvidia_driver_gpu=none" in left.result["msg"]
    assert "backend" not in left.result


def test_required_fails_with_every_problem_as_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    left = run(monkeypatch, "required", nvidia.Observation(findings=(NO_DEVICE, NO_DRIVER)))
    assert left.failed
    assert len(left.result["msg"].splitlines()) == 2
    assert {problem["severity"] for problem in left.result["problems"]} == {"error"}
