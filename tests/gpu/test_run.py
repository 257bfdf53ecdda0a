# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Use tests/gpu/collect --slim and tests/gpu/run without a GPU: one parcel, all phases on a budget, a killed run.

The tests build on each other, in order. LLAMA_FLEET_TEST_PACKED is a packed release for this machine's CPU.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tarfile
import time
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import index as package_index
from ansible_collections.llama_fleet.core.tests.unit.module_runs import free_port
from tests.gpu import frame, journal, measure, parcel, phases, slim
from tests.gpu.parcel import MIB, ROOT
from tests.gpu.session import CPU, Run

if typing.TYPE_CHECKING:
    import pathlib

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]
BUDGET, CALLS = 540, 4
PATIENCE = 60  # seconds beyond the budget, for a busy machine
SMALL = ("--prompt", "32", "--tokens", "8", "--rounds", "1")
# All other phases do the same as on the CPU, because a recorded GPU's run computes there.
RECORDED = ("driver", "cuda", "release", "instance")
RELEASE = "release"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Make a slim parcel with the packed release."""
    target = tmp_path_factory.mktemp("parcel")
    subprocess.run(
        [ROOT / "tests/gpu/collect", "--slim", "--release", os.environ["LLAMA_FLEET_TEST_PACKED"], target], check=True
    )
    return target


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("work")


def command(folder: pathlib.Path, work: pathlib.Path, *more: str) -> list[str]:
    return [
        str(ROOT / "tests/gpu/run"),
        "--budget",
        str(BUDGET),
        "--work",
        str(work),
        "--port",
        str(free_port()),
        *SMALL,
        *more,
        str(folder),
    ]


def to_the_end(folder: pathlib.Path, work: pathlib.Path, *more: str) -> int:
    """Call it until no work is left, each time within the budget; return the last exit status.

    An idle machine needs one call.
    """
    for _call in range(CALLS):
        code = subprocess.run(command(folder, work, *more), check=False, timeout=BUDGET + PATIENCE).returncode
        if code != measure.UNFINISHED:
            return code
    pytest.fail(f"{CALLS} calls were not enough")


def outcomes(work: pathlib.Path) -> dict[str, str]:
    return {name: record["outcome"] for name, record in journal.Journal(work).outcomes().items()}


def test_the_parcel_and_the_working_tree_are_small(folder: pathlib.Path) -> None:
    assert parcel.parcel_size(folder) + parcel.tree_size() <= 50 * MIB
    assert parcel.tree_size() > MIB, "the tree was not found"
    (python,) = json.loads((folder / parcel.NAME).read_text(encoding="utf-8"))["pythons"]
    tags = {wheel.name.split("-")[2] for wheel in (folder / "simple").glob("*.whl")}
    assert {tag for tag in tags if tag.startswith("cp3")} <= {f"cp{python.replace('.', '')}", "cp311"}, (
        "cp311 is the abi3 of cryptography"
    )
    assert not list((folder / "simple").glob("cmake*"))


def test_nothing_is_cut_that_a_kept_file_includes(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    whole, cut = _texts(_whole_source(tmp_path)), _texts(next((folder / "source").iterdir()))
    # Backends other than CPU and CUDA, behind their own conditions.
    assert slim.missing_includes(whole, cut) == [
        "ggml/src/ggml-cuda/cpy.cu: ggml-musa/mudnn.cuh",
        "tools/tuning/fa-vec.cpp: ggml-metal-tuning.h",
    ]
    assert all(cut[name] == whole[name] for name in cut)
    assert len(cut) > 500


def _whole_source(folder: pathlib.Path) -> pathlib.Path:
    _source, file = parcel._source(package_index.index_url())
    parcel._bring(file, folder)
    return folder / file.name


def _texts(archive: pathlib.Path) -> dict[str, str]:
    """Return the C and C++ files of an archive of llama.cpp's source, by their path in its tree."""
    found: dict[str, str] = {}
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            name = member.name.partition("llama.cpp/")[2]
            if member.isfile() and name.endswith((".c", ".cpp", ".h", ".hpp", ".cu", ".cuh")):
                found[name] = typing.cast("typing.IO[bytes]", tar.extractfile(member)).read().decode("utf-8", "replace")
    return found


def test_a_run_that_is_killed_while_it_provides_the_release(folder: pathlib.Path, work: pathlib.Path) -> None:
    with subprocess.Popen(command(folder, work, "--cpu"), start_new_session=True) as run:
        for _turn in range(6000):
            if journal.Journal(work).values(RELEASE) or run.poll() is not None:
                break
            time.sleep(0.05)
        assert run.poll() is None, "it ended before it came to the release"
        run.kill()
    assert run.returncode == -signal.SIGKILL
    assert outcomes(work) == {"driver": "done", "cuda": "done"}


def test_the_next_call_goes_on_to_the_end_within_the_budget(folder: pathlib.Path, work: pathlib.Path) -> None:
    assert to_the_end(folder, work, "--cpu") == 0
    assert outcomes(work) == {phase.name: "done" for phase in phases.ALL}
    records = journal.Journal(work).records()
    assert all(record["run"]["source"].startswith("release+") for record in records if "run" in record)
    assert [record["phase"] for record in records if record.get("phase") == "driver" and "outcome" in record] == [
        "driver"
    ], "once, though there was more than one call"
    assert frame._left_behind(_run(work)) == [], "nothing runs any more"
    assert subprocess.run(command(folder, work, "--cpu"), check=False, timeout=BUDGET).returncode == 0
    assert journal.Journal(work).records()[: len(records)] == records
    assert [sorted(record) for record in journal.Journal(work).records()[len(records) :]] == [["run"]], (
        "the last one finds nothing to do"
    )


def _run(work: pathlib.Path) -> Run:
    return Run(work, work, work / "opt", CPU, (), 0, 0, 0, 0, {})


def test_as_with_a_recorded_gpu(folder: pathlib.Path, work: pathlib.Path, tmp_path: pathlib.Path) -> None:
    assert (
        to_the_end(
            folder,
            tmp_path,
            "--recorded",
            "--root",
            str(work / "opt"),
            *(word for name in RECORDED for word in ("--phase", name)),
        )
        == 0
    )
    assert outcomes(tmp_path) == dict.fromkeys(RECORDED, "done")
    (seen,) = [value["driver"] for value in journal.Journal(tmp_path).values("driver") if "driver" in value]
    assert (seen["gpus"][0]["name"], seen["wrong"]) == ("NVIDIA H100 80GB HBM3", [])
