# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The parts of the phases of tests/gpu/run that have instances: what a server takes, disguised releases, held
memory, many clients, and what is wrong.
"""

from __future__ import annotations

import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import processes as nvidia_processes
from ansible_collections.llama_fleet.core.plugins.module_utils.release import memory_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import free as server_memory_free
from ansible_collections.llama_fleet.core.tests.unit.fakes import server as fake_server
from tests.gpu import crowd, disguise, hold, instances, rehearsal, scene, session, taken
from tests.gpu.phases import speeds

ROOT = pathlib.Path(__file__).resolve().parents[3]


def put_smi(monkeypatch: pytest.MonkeyPatch, folder: pathlib.Path, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


# -- what a server takes ----------------------------------------------------------------------------


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
    assert allowed == ["char-nvidia*", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"]
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


# -- releases that are not what they say ------------------------------------------------------------


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


# -- held memory ------------------------------------------------------------------------------------


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


def test_who_cannot_hold_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nonexistent")
    with (
        pytest.raises(hold.HoldError, match=r"libcuda.so.1 cannot be loaded"),
        hold.held(1, f"{ROOT}:{ROOT / 'collections'}"),
    ):
        pytest.fail("there is no such library")


# -- the module -------------------------------------------------------------------------------------


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


# -- speeds -----------------------------------------------------------------------------------------


class Server(http.server.BaseHTTPRequestHandler):
    """An instance that answers only when as many clients wait as it was told to expect."""

    asked: typing.ClassVar[list[dict[str, typing.Any]]] = []
    together: typing.ClassVar[threading.Barrier]

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(question)
        self.together.wait(10)
        body = json.dumps(
            {"timings": {"prompt_n": len(question["prompt"]), "predicted_n": question["n_predict"]}}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass


def test_many_clients_ask_at_once_and_their_tokens_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    Server.asked.clear()
    Server.together = threading.Barrier(4)
    clock = iter([0.0, 2.0, 10.0, 14.0])
    monkeypatch.setattr("tests.gpu.crowd.time.monotonic", lambda: next(clock))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        found = crowd.ask(
            f"http://127.0.0.1:{server.server_address[1]}", vocabulary=400, clients=4, prompt=32, tokens=10
        )
        server.shutdown()
    assert (found["prompt_tokens_per_second"], found["generated_tokens_per_second"]) == (4 * 32 / 2, 4 * 10 / 4)
    assert len({tuple(question["prompt"][:16]) for question in Server.asked}) == 8, "nobody asks what another has asked"
    assert [question["n_predict"] for question in Server.asked] == [1] * 4 + [10] * 4
    assert all(259 <= word < 400 for question in Server.asked for word in question["prompt"])


def test_the_cases_that_say_most_come_first() -> None:
    models = [session.shapes("Q8_0")[name] for name in ("1b", "8b")]
    first = speeds.cases(models, speeds.WAYS[:1])
    assert [(case.model.name, case.by, case.clients) for case in first] == [
        ("8b-Q8_0", speeds.SERVER, 1),
        ("8b-Q8_0", speeds.BENCH, 1),
        ("8b-Q8_0", speeds.SERVER, 16),
        ("1b-Q8_0", speeds.SERVER, 1),
        ("1b-Q8_0", speeds.BENCH, 1),
        ("1b-Q8_0", speeds.SERVER, 16),
    ]
    others = speeds.cases(models, speeds.WAYS[1:])
    assert {(case.flash_attn, case.cache_type) for case in others} == {("off", "f16"), ("on", "q8_0")}
    assert len({json.dumps(case.key) for case in first + others}) == 18
    assert set(first[0].key) == set(speeds.KEYS)


# -- what is wrong ----------------------------------------------------------------------------------


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
