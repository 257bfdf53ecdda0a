# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module around the observation: what it returns, when it fails, what it leaves alone."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import pwd
import signal
import typing

import pytest
import yaml

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import container as nvidia_container
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import examine as nvidia_host
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import observe as nvidia
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import smi as nvidia_smi
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.container import Cdi
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.findings import Finding
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.kernel import Account
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.requirements import Requirements
from ansible_collections.llama_fleet.core.plugins.modules import nvidia_driver_info
from ansible_collections.llama_fleet.core.tests.unit.at_the_door import admitted

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.host import GpuHost

PROCESS = nvidia_smi.Process(812, "/usr/bin/python3", "C", 470)
GPU = nvidia_smi.Gpu(
    0,
    "GPU-1",
    "NVIDIA H100",
    "9.0",
    81559,
    81079,
    "00000000:65:00.0",
    "Hopper",
    "enabled",
    "enabled",
    processes=(PROCESS,),
)
GPU = dataclasses.replace(GPU, mig_devices=(nvidia_smi.MigDevice(0, 3, 0, 19968, 19955, "MIG-1"),))
DRIVER = nvidia_smi.Driver("580.95.05", "13.0", "580.95.05")
NO_DEVICE = Finding("no_device", "warning", "no NVIDIA device", "a GPU", "use the CPU")
NO_DRIVER = Finding("no_driver", "error", "a device, but no driver", "a driver", "install it")
LOST = Finding("gpu_lost", "warning", "a GPU that is silent", "one that answers", "reboot")
UPGRADE = Finding("unattended_upgrade", "warning", "a driver that changes", "one that stays", "hold it")
FEW = Finding("gpus_missing", "error", "1 usable GPUs", "2 of them", "look")
SUPPORT = nvidia_container.Support("1.17.8", (Cdi("/etc/cdi/nvidia.yaml", "580.95.05", ("all",), True),), True)


NOTHING: dict[str, typing.Any] = {
    "driver": {},
    "gpus": [],
    "cuda_architectures": [],
    "container": {"toolkit_version": "", "has_toolkit": False, "cdi": ()},
    "problems": [],
}
ASKED: list[object] = []


class LeftError(Exception):
    """The module left with ``result``."""

    def __init__(self, failed: bool, result: dict[str, typing.Any], warnings: list[str]) -> None:
        super().__init__(str(result))
        self.failed, self.result, self.warnings = failed, result, warnings


def run(monkeypatch: pytest.MonkeyPatch, gpu: str, seen: nvidia.Observation | None, **asked: typing.Any) -> LeftError:
    class Module:
        def __init__(self, argument_spec: dict[str, dict[str, typing.Any]], supports_check_mode: bool) -> None:
            assert supports_check_mode
            assert argument_spec["gpu"]["choices"] == ["auto", "required", "none"]
            self.params = {name: option.get("default") for name, option in argument_spec.items()} | {
                "gpu": gpu,
                **asked,
            }
            self.warnings: list[str] = []

        def warn(self, text: str) -> None:
            self.warnings.append(text)

        def exit_json(self, **result: typing.Any) -> None:
            raise LeftError(False, admitted("nvidia_driver_info", result), self.warnings)

        def fail_json(self, **result: typing.Any) -> None:
            raise LeftError(True, admitted("nvidia_driver_info", {"failed": True, **result}), self.warnings)

    def examine(_host: GpuHost, wanted: Requirements, account: Account | None) -> nvidia_host.Examination:
        assert seen is not None, "nothing was to be looked at"
        ASKED[:] = [wanted, account]
        return nvidia_host.Examination(seen, SUPPORT)

    monkeypatch.setattr(nvidia_driver_info, "AnsibleModule", Module)
    monkeypatch.setattr(nvidia_host, "examine", examine)
    before = signal.getsignal(signal.SIGTERM)
    umask = os.umask(0o022)
    try:
        with pytest.raises(LeftError) as left:
            nvidia_driver_info.main()
    finally:
        signal.signal(signal.SIGTERM, before)
        os.umask(umask)
    return left.value


def test_none_looks_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    left = run(monkeypatch, "none", None)
    assert not left.failed
    assert left.result == {"changed": False, "backend": "cpu", **NOTHING}


@pytest.mark.parametrize("gpu", ["auto", "required"])
def test_a_gpu_that_works(monkeypatch: pytest.MonkeyPatch, gpu: str) -> None:
    left = run(monkeypatch, gpu, nvidia.Observation((GPU,), DRIVER, (LOST, UPGRADE)))
    assert not left.failed
    assert left.result["backend"] == "cuda"
    assert left.result["driver"] == {
        "version": "580.95.05",
        "cuda_version": "13.0",
        "kernel_module_version": "580.95.05",
    }
    (seen,) = left.result["gpus"]
    assert seen["pci_address"] == "00000000:65:00.0"
    assert seen["processes"] == ({"pid": 812, "name": "/usr/bin/python3", "kind": "C", "memory_mib": 470},)
    assert seen["mig_devices"][0]["uuid"] == "MIG-1"
    assert left.result["cuda_architectures"] == ["90-real"]
    assert left.result["container"]["cdi"][0]["driver_version"] == "580.95.05"
    assert [problem["severity"] for problem in left.result["problems"]] == ["warning", "warning"]
    assert "a GPU that is silent" in left.warnings[0]


def test_the_result_has_what_its_documentation_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    left = run(monkeypatch, "auto", nvidia.Observation((GPU,), DRIVER, (LOST,)))
    beside = pathlib.Path(nvidia_driver_info.__file__).with_suffix(".yml")
    documented = yaml.safe_load(beside.read_text(encoding="utf-8"))["RETURN"]
    assert set(left.result) - {"changed"} == set(documented)
    assert set(left.result["gpus"][0]) == set(documented["gpus"]["sample"][0])
    assert set(left.result["gpus"][0]["ecc"]) == set(documented["gpus"]["sample"][0]["ecc"])
    for name in ("driver", "container"):
        assert set(left.result[name]) == set(documented[name]["sample"])
    assert set(left.result["problems"][0]) == set(documented["problems"]["sample"][0])


def test_requirements_reach_those_who_look(monkeypatch: pytest.MonkeyPatch) -> None:
    name = pwd.getpwuid(0).pw_name
    asked = {
        "min_driver": "580",
        "toolkit_version": "13.0",
        "min_free_memory": 5,
        "gpus": ["2"],
        "compute_capability": "9.0",
        "runtime": "quadlet",
        "user": name,
    }
    left = run(monkeypatch, "auto", nvidia.Observation((GPU,), DRIVER, (FEW,)), **asked)
    assert ASKED[0] == Requirements("580", "13.0", 5, (), 2, "9.0", "quadlet", name)
    assert isinstance(ASKED[1], Account)
    assert (ASKED[1].uid, 0 in ASKED[1].gids) == (0, True)
    assert left.failed
    assert left.result["msg"] == "nvidia_driver_gpus: expected 2 of them, found 1 usable GPUs. Fix: Look."
    run(monkeypatch, "auto", nvidia.Observation((GPU,), DRIVER), user="nobody-of-this-name")
    assert ASKED[1] == Account("nobody-of-this-name")
    run(monkeypatch, "auto", nvidia.Observation((GPU,), DRIVER))
    assert tuple(ASKED) == (Requirements(), None)


def test_arguments_that_make_no_sense_fail_before_anything_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    left = run(monkeypatch, "auto", None, min_driver="newest", gpus=["first"])
    assert left.failed
    assert [problem["subject"] for problem in left.result["problems"]] == [
        "nvidia_driver_min_driver",
        "nvidia_driver_gpus",
    ]
    assert {(problem["code"], problem["severity"]) for problem in left.result["problems"]} == {
        ("bad_requirement", "error")
    }


def test_auto_without_a_device_is_the_cpu_and_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    left = run(monkeypatch, "auto", nvidia.Observation(findings=(NO_DEVICE,)))
    assert (left.failed, left.result["backend"], left.warnings) == (False, "cpu", [])
    assert left.result["problems"] == [
        {
            "code": "no_device",
            "severity": "warning",
            "found": "no NVIDIA device",
            "wanted": "a GPU",
            "fix": "use the CPU",
        }
    ]


def test_auto_with_a_device_that_does_not_work_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    left = run(monkeypatch, "auto", nvidia.Observation(findings=(NO_DRIVER,)))
    assert left.failed
    assert "nvidia_driver_gpu=none" in left.result["msg"]
    assert "backend" not in left.result


def test_required_fails_with_every_reason_as_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    left = run(monkeypatch, "required", nvidia.Observation(findings=(UPGRADE, NO_DEVICE, NO_DRIVER)))
    assert left.failed
    assert len(left.result["msg"].splitlines()) == 2
    told = [(problem["code"], problem["severity"]) for problem in left.result["problems"]]
    assert told == [("no_device", "error"), ("no_driver", "error"), ("unattended_upgrade", "warning")]


def test_required_with_a_gpu_keeps_warnings_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    left = run(monkeypatch, "required", nvidia.Observation((GPU,), DRIVER, (FEW, LOST)))
    assert [problem["severity"] for problem in left.result["problems"]] == ["error", "warning"]
