# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""tests/gpu/driver where the GPU is a script that answers both ways of asking, truly and not."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shlex
import subprocess
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import smi as nvidia_smi
from ansible_collections.llama_fleet.core.tests.unit.fakes.gpu_host import H100, document
from tests.gpu import driver

ROOT = pathlib.Path(__file__).resolve().parents[3]
ROW = {
    "driver_version": "580.95.05",
    "uuid": H100,
    "name": "NVIDIA H100 80GB HBM3",
    "pci.bus_id": "00000000:65:00.0",
    "compute_cap": "9.0",
    "memory.total": "81559",
    "mig.mode.current": "Disabled",
    "compute_mode": "Default",
    "ecc.mode.current": "Enabled",
    "persistence_mode": "Enabled",
}


def start(folder: pathlib.Path, script: str) -> subprocess.CompletedProcess[str]:
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "nvidia-smi").chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(
        [ROOT / "tests/gpu/driver"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def both_ways(folder: pathlib.Path, log: str) -> str:
    """Return the script of a nvidia-smi that prints ``log`` in XML, and the row in CSV."""
    (folder / "log.xml").write_text(log, encoding="utf-8")
    known = "--query-gpu=uuid,compute_cap) exit 2;; --query-gpu=index*) echo 0, H100, 580, 81559, 4, 0;;"
    return f"case $1 in -q) cat {folder}/log.xml;; {known} *) echo {shlex.quote(', '.join(ROW.values()))};; esac"


def wrong(done: subprocess.CompletedProcess[str]) -> list[str]:
    report: dict[str, typing.Any] = json.loads(done.stdout)
    assert done.returncode == (driver.FAILED if report["wrong"] else 0)
    # Its library is the only thing that such a host cannot have.
    return [sentence for sentence in report["wrong"] if "library" not in sentence]


def test_what_is_so(tmp_path: pathlib.Path) -> None:
    done = start(tmp_path, both_ways(tmp_path, document("h100_driver_580")))
    assert wrong(done) == []
    report = json.loads(done.stdout)
    assert report["commands"] == [[str(tmp_path / "nvidia-smi"), "-q", "-x"]]
    assert report["gpus"][0]["uuid"] == H100
    assert len(report["wrong"]) == 2, "no library here, and that is told"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"driver_version": "570.1"}, "driver 580.95.05, and nvidia-smi says 570.1"),
        ({"memory.total": "80000"}, "GPU 0: memory_total_mib '81559', and nvidia-smi says '80000'"),
        ({"persistence_mode": "disabled"}, "GPU 0: persistence 'enabled', and nvidia-smi says 'disabled'"),
        ({"ecc.mode.current": ""}, "GPU 0: ecc.mode 'enabled', and nvidia-smi says ''"),
        ({"compute_cap": "9.9"}, "GPU 0: compute_capability '9.0', and nvidia-smi says '9.9'"),
    ],
)
def test_what_is_not_so(values: dict[str, str], sentence: str) -> None:
    log = nvidia_smi.parse_log(document("h100_driver_580"))
    gpu = dataclasses.asdict(dataclasses.replace(log.gpus[0], compute_capability="9.0"))
    result = {"driver": dataclasses.asdict(log.driver), "gpus": [gpu], "problems": []}
    truth = {name: value.lower().replace(" ", "_") for name, value in ROW.items()}
    truth |= {"uuid": H100.lower()}
    assert driver.differences(result, [truth]) == []
    assert driver.differences(result, [{**truth, **values}]) == [sentence]
    assert driver.differences({**result, "gpus": [{**gpu, "memory_free_mib": 99999}]}, [truth]) == [
        "GPU 0: 99999 of 81559 MiB free"
    ]


def test_an_error_and_a_second_call_are_told(tmp_path: pathlib.Path) -> None:
    told = wrong(start(tmp_path, both_ways(tmp_path, document("gb10_driver_610"))))
    assert [sentence[:30] for sentence in told[:3]] == [
        "an error: no answer from NVIDI",
        "0 GPUs, and nvidia-smi tells o",
        "nvidia-smi was called 2 times:",
    ]


def test_without_a_gpu_it_says_why(tmp_path: pathlib.Path) -> None:
    done = start(tmp_path, "echo 'No devices were found'; exit 6")
    assert (done.returncode, done.stdout) == (driver.NO_GPU, "")
    assert (
        done.stderr
        == "tests/gpu/driver: no NVIDIA GPU can be used here: nvidia-smi ends with 6 (No devices were found)\n"
    )
