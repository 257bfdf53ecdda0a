# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The parts of the phases of tests/gpu/run that have instances: disguised releases, held memory, and what is wrong."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.release import memory_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import free as server_memory_free
from ansible_collections.llama_fleet.core.tests.unit.fakes import server as fake_server
from tests.gpu import disguise, hold, instances, rehearsal, scene, session
from tests.unit.gpu.fake_smi import put_smi

ROOT = pathlib.Path(__file__).resolve().parents[3]


def run(*command: str | pathlib.Path, **environment: str) -> str:
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=True, timeout=60
    ).stdout


@pytest.fixture
def release(tmp_path: pathlib.Path) -> pathlib.Path:
    """One whose server says where it was told to compute, and its planner what it takes."""
    path = pathlib.Path(fake_server.release(tmp_path, "real"))
    server = path / "bin/llama-server"
    server.write_text(
        '#!/bin/sh\necho "real: $* device=$LLAMA_ARG_DEVICE visible=${CUDA_VISIBLE_DEVICES-all}"\n', encoding="utf-8"
    )
    return path


def test_a_release_that_falls_back_lists_a_gpu_and_computes_without(
    tmp_path: pathlib.Path, release: pathlib.Path
) -> None:
    recorded = disguise.falling_back(tmp_path, release, gpu=False)
    listing = run(recorded / "bin/llama-server", "--list-devices", LLAMA_ARG_DEVICE="CUDA0")
    assert server_memory_free.gpus(listing) == {"CUDA0": 143000}
    said = run(recorded / "bin/llama-server", "--port", "1", LLAMA_ARG_DEVICE="CUDA0")
    assert said == "real: --port 1 device=none visible=\n"
    assert (recorded / "bin/llama-fit-params").resolve() == (release / "bin/llama-fit-params").resolve()
    assert json.loads((recorded / "manifest.json").read_text(encoding="utf-8"))["fingerprint"] == "falling-back"
    # Where there is a GPU, the release itself lists it.
    real = disguise.falling_back(tmp_path, release, gpu=True)
    assert (
        run(real / "bin/llama-server", "--list-devices", LLAMA_ARG_DEVICE="CUDA0")
        == "real: --list-devices device=CUDA0 visible=all\n"
    )


def test_a_full_gpu_has_a_plan_that_it_cannot_hold(tmp_path: pathlib.Path, release: pathlib.Path) -> None:
    full = disguise.full(tmp_path, release, free_mib=100, model_mib=1200, context_mib=512)
    assert server_memory_free.gpus(run(full / "bin/llama-server", "--list-devices")) == {"CUDA0": 100}
    devices = memory_plan.parse_plan(run(full / "bin/llama-fit-params", "--fit-print", "on"))
    assert [(device.name, device.total_mib) for device in devices] == [("CUDA0", 2012), ("Host", 120)]


@pytest.fixture
def gpu(tmp_path: pathlib.Path, release: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Return the driver's library of a rehearsal, whose GPU has 1000 MiB free."""
    try:
        rehearsal.install(tmp_path / "gpu", release)
    except rehearsal.CannotError as reason:
        pytest.skip(str(reason))
    put_smi(monkeypatch, tmp_path / "bin", "echo 1000")
    return tmp_path / "gpu/lib/libcuda.so.1"


def test_memory_is_taken_or_left(gpu: pathlib.Path) -> None:
    # The node that is opened at last is only there in a rehearsal's namespace.
    for mib, wanted in ((64, 64), (-300, 700)):
        with pytest.raises(hold.HoldError, match="cuMemAlloc returns 999"):
            hold.take(mib, str(gpu))
        (state,) = (gpu.parents[1] / "state").iterdir()
        assert (state.name, state.read_text(encoding="utf-8")) == (str(os.getpid()), str(wanted))
    with pytest.raises(hold.HoldError, match="only 1000 MiB are free"):
        hold.take(-1000, str(gpu))
    with pytest.raises(hold.HoldError, match="cuMemAlloc returns 2"):
        hold.take(1001, str(gpu))


def test_without_the_drivers_library_it_says_so() -> None:
    with pytest.raises(hold.HoldError, match=r"libnothing.so cannot be loaded"):
        hold.take(1, "libnothing.so")


def test_who_cannot_hold_is_heard(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "none"))
    with (
        pytest.raises(hold.HoldError, match=r"libcuda.so.1 cannot be loaded"),
        hold.held(1, f"{ROOT}:{ROOT / 'collections'}"),
    ):
        pytest.fail("there is no such library")


def test_a_result_is_the_last_line_and_a_failure_is_told() -> None:
    assert instances.result_of('warning\n{"changed": true, "pid": 7}\n', "") == {"changed": True, "pid": 7}
    with pytest.raises(instances.ModuleError, match=r"^no memory$"):
        instances.result_of('{"failed": true, "msg": "no memory"}\n', "")
    with pytest.raises(instances.ModuleError, match=r"no result: .*Traceback"):
        instances.result_of("", "Traceback (most recent call last)")
    with pytest.raises(instances.ModuleError, match="no result"):
        instances.result_of('{"changed": tru', "")


def test_the_module_is_run_and_refuses(tmp_path: pathlib.Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "collections"), *sys.path])}
    runner = instances.Instances(tmp_path, environment, {"port": 18211, "parallel": 1})
    assert "llama_server_release: expected the folder of a release, found nothing" in runner.refused(
        "one", {"model": str(tmp_path / "none.gguf")}
    )
    assert runner.apply("one", {"state": "absent"})["changed"] is False
    assert "unsupported parameters" in runner.refused("one", {"no_such_thing": 1}).lower()


def test_all_that_is_wrong_is_told_at_the_end_and_the_instances_go(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone: list[tuple[str, ...]] = []
    monkeypatch.setattr(instances.Instances, "remove", lambda _self, *names: gone.append(names))
    with (
        pytest.raises(session.FailedError, match=r"^the first; the second$"),
        scene.opened(a_run(tmp_path, monkeypatch), "one", "two") as here,
    ):
        assert here.expect(True, "nothing")
        assert not here.expect(False, "the first")
        here.expect(False, "the second")
    assert gone == [("one", "two")]
    assert here.instances.common["ctx_size"] == 768
    with pytest.raises(ZeroDivisionError), scene.opened(a_run(tmp_path, monkeypatch), "one"):
        raise ZeroDivisionError
    assert gone == [("one", "two"), ("one",)]


def a_run(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> session.Run:
    (tmp_path / "release.json").write_text(json.dumps({"release": {"path": "/opt/release"}}), encoding="utf-8")
    monkeypatch.setattr(session.Run, "install_ansible", lambda _self: None)
    models = (session.shapes("Q8_0")["small"],)
    return session.Run(tmp_path, tmp_path, tmp_path, "cpu", models, 512, 128, 3, 18189, {})
