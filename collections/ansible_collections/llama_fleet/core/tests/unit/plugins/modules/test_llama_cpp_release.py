# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The module llama_cpp_release with real builds of a small project: built once, cured, and taken up again."""

from __future__ import annotations

import json
import os
import pathlib
import platform
import shutil
import signal
import subprocess

import pytest

from ansible_collections.llama_fleet.core.tests.unit import waiting
from ansible_collections.llama_fleet.core.tests.unit.fakes import llama_cpp as fake_llama_cpp
from ansible_collections.llama_fleet.core.tests.unit.fakes.build_host import NEEDS_BUILD, Facts, Host, finish

pytestmark = NEEDS_BUILD


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Host:
    return Host(tmp_path)


def test_a_release_is_built_once(host: Host) -> None:
    progress = host.folder / "progress.json"
    first = host.run(progress_file=str(progress))
    assert (first["changed"], first["compiled"], first["build"]) == (True, True, "b1234")
    path = pathlib.Path(first["path"])
    assert path == host.root / "releases" / f"b1234-{first['fingerprint'][:12]}"
    assert json.loads(progress.read_text(encoding="utf-8"))["stage"] == "testing the release"

    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    programs = {f"bin/{name}" for name in ("llama-server", "llama-bench", "llama-fit-params", "llama-gguf-split")}
    licences = {name for name in manifest["files"] if name.startswith("licenses/")}
    assert set(manifest["files"]) - licences == programs | {"bin/libggml-cpu.so.0.1.0", "bin/libgomp.so.1"}
    ours = ("LICENSE", "licenses/LICENSE-jsonhpp", "vendor/cpp-httplib/LICENSE", "vendor/stb/stb_image.h.txt")
    assert licences - {"licenses/openmp/copyright"} == {f"licenses/llama.cpp/{name}" for name in ours}
    known = {"names": ["-c", "--ctx-size"], "value": "N", "environment": "LLAMA_ARG_CTX_SIZE"}
    assert manifest["options"] == {
        "flags": ["--ctx-size", "-c"],
        "environments": ["LLAMA_ARG_CTX_SIZE"],
        "details": [known],
    }
    assert set(manifest["links"]) == {"bin/libggml-cpu.so", "bin/libggml-cpu.so.0"}
    assert manifest["smoke_test"] == {"cpu": {"prompt": 90.5, "generation": 11.2}}
    assert (manifest["fingerprint"], manifest["commit"], manifest["cured"]) == (first["fingerprint"], "", [])
    assert list((host.root / "builds").iterdir()) == [host.root / "builds" / f"{path.name}.log"]

    times = {name: (host.root / name).stat().st_mtime_ns for name in host.files()}
    second = host.run()
    assert (second["changed"], second["compiled"], second["path"]) == (False, False, first["path"])
    assert times == {name: (host.root / name).stat().st_mtime_ns for name in host.files()}


def test_a_release_runs_from_another_place(host: Host) -> None:
    path = pathlib.Path(host.run()["path"])
    moved = host.folder / "elsewhere"
    path.rename(moved)
    assert subprocess.run([moved / "bin" / "llama-server"], check=False, cwd="/").returncode == 0


def test_the_archive_is_not_needed_again(host: Host) -> None:
    host.run()
    pathlib.Path(host.source.partition("#")[0]).unlink()
    assert host.run()["changed"] is False


@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_a_damaged_release_is_made_again(host: Host, damage: str) -> None:
    server = pathlib.Path(host.run()["path"]) / "bin" / "llama-server"
    if damage == "missing":
        server.unlink()
    else:
        os.truncate(server, 10)
    assert host.run()["compiled"] is True
    assert subprocess.run([server], check=False).returncode == 0
    assert host.run()["changed"] is False


@pytest.mark.parametrize("mode", ["check", "plan"])
def test_a_plan_tells_and_changes_nothing(host: Host, mode: str) -> None:
    parameters: Facts = {"_ansible_check_mode": True} if mode == "check" else {"plan_only": True}
    before = host.files()
    planned = host.run(**parameters)
    assert host.files() == before
    assert (planned["changed"], planned["would_change"]) == (mode == "check", True)
    assert planned["diff"]["before"] == {}
    assert (planned["diff"]["after"]["build"], planned["diff"]["after"]["fingerprint"]) == (
        "b1234",
        planned["fingerprint"],
    )
    made = host.run()
    assert (made["path"], made["fingerprint"]) == (planned["path"], planned["fingerprint"])
    after = host.run(**parameters)
    assert (after["changed"], after["would_change"], after["path"]) == (False, False, made["path"])


def test_the_diff_names_the_part_that_changed(host: Host) -> None:
    host.run()
    planned = host.run(plan_only=True, cmake_options={"GGML_LTO": True})
    before, after = (planned["diff"][side]["fingerprint_parts"]["cmake_options"] for side in ("before", "after"))
    assert {name: value for name, value in after.items() if before.get(name) != value} == {"GGML_LTO": "ON"}


def test_a_failed_build_shows_the_first_error(host: Host) -> None:
    failed = host.run(cmake_options={"FAKE_BROKEN": True})
    assert failed["failed"] is True
    assert "error: 'missing_name' was not declared" in failed["msg"]
    log = failed["problems"][0]["fix"].partition("read ")[2]
    assert "missing_name" in pathlib.Path(log).read_text(encoding="utf-8")
    assert not list((host.root / "releases").glob("*"))
    assert not list((host.root / "builds").glob("*.work-*"))


def test_a_failed_configuration_shows_the_first_error(host: Host) -> None:
    assert "CMake Error" in host.run(cmake_options={"CMAKE_CXX_COMPILER": f"{host.root}/none/c++"})["msg"]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="AMX is a matter of x86-64")
def test_an_illegal_instruction_is_cured(host: Host) -> None:
    made = host.run(cmake_options={"FAKE_AMX": True})
    # The probe cannot tell: it is not the compiler that is wrong, but the source.
    assert made["cured"] == ["no-amx"]
    manifest = json.loads((pathlib.Path(made["path"]) / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["cured"], manifest["smoke_test"]["cpu"]["prompt"]) == (made["cured"], 90.5)
    again = host.run(cmake_options={"FAKE_AMX": True})
    assert (again["changed"], again["cured"]) == (False, made["cured"])


def test_several_files_are_compiled_at_once(host: Host) -> None:
    host.run(jobs=2)
    text = host.log()
    assert text.count("llama-common.dir/Unity/unity_0_cxx.cxx.o") == 1
    assert "llama-common.dir/one.cpp.o" not in text
    # These define names that clash with those of other files.
    assert text.count("mtmd.dir/mtmd-helper.cpp.o") == 1


@pytest.mark.parametrize("parameters", [{"jobs": 16}, {"jobs": 2, "cmake_options": {"CMAKE_UNITY_BUILD": False}}])
def test_batches_are_not_used_where_they_do_not_pay_or_are_not_wanted(host: Host, parameters: Facts) -> None:
    host.run(**parameters)
    assert ("/Unity/" in host.log(), host.log().count("llama-common.dir/one.cpp.o")) == (False, 1)


def test_a_source_that_does_not_compile_in_batches_is_compiled_plainly_and_remembered(host: Host) -> None:
    clash = {"FAKE_CLASH": True}
    made = host.run(jobs=2, cmake_options=clash)
    assert made["compiled"] is True
    reason = "because it does not compile in batches: source/common/two.cpp:3:12: error: redefinition of 'int number()'"
    assert str(made["warnings"]).count(reason) == 1
    text = host.log()
    # Nothing of ggml is compiled twice.
    assert (text.count("FAILED: "), text.count("Building CXX object ggml/")) == (1, 1)
    assert host.run(jobs=2, cmake_options=clash)["changed"] is False
    # Another release of the same source does not try it again.
    again = host.run(jobs=2, cmake_options={**clash, "GGML_LTO": True})
    assert again["compiled"] is True
    assert reason in str(again["warnings"])
    assert "/Unity/" not in host.log()


def test_a_source_that_compiles_in_no_way_is_not_remembered(host: Host) -> None:
    failed = host.run(jobs=2, cmake_options={"FAKE_CLASH": True, "FAKE_BROKEN": True})
    assert "missing_name" in failed["msg"]
    assert not (host.root / "builds" / "plain.json").exists()


def test_a_release_that_decodes_nothing_does_not_count(host: Host) -> None:
    failed = host.run(cmake_options={"FAKE_MUTE": True})
    assert (
        "release: expected a build that decodes tokens on this host, found exit code 0 from llama-bench on the CPU"
        in failed["msg"]
    )
    assert not list((host.root / "releases").glob("*"))


def test_a_wrong_sum_stops_before_anything_changes(host: Host) -> None:
    before = host.files()
    failed = host.run(source=f"{host.source.partition('#')[0]}#sha256={'0' * 64}")
    assert failed["failed"] is True
    assert failed["problems"][0]["subject"] == "llama_cpp_source"
    assert f"expected sha256 {'0' * 64}, found sha256 " in failed["msg"]
    assert host.files() == before


def test_all_problems_are_told_at_once(host: Host) -> None:
    failed = host.run(backend="cuda", jobs=-1, cmake_options={"-DX": "y", "OK": ["a"]})
    assert [problem["subject"] for problem in failed["problems"]] == [
        "llama_cpp_cmake_options",
        "llama_cpp_cmake_options",
        "llama_cpp_jobs",
        "llama_cpp_cuda_architectures",
    ]
    # Whether one is needed is known only when the rest is.
    failed = host.run(backend="cuda", cuda_architectures=["90-real"])
    assert [problem["subject"] for problem in failed["problems"]] == ["llama_cpp_cuda_toolkit"]


@pytest.mark.parametrize("mode", [{"plan_only": True}, {"_ansible_check_mode": True}])
def test_a_plan_may_come_before_the_toolkit(host: Host, mode: Facts) -> None:
    planned = host.run(backend="cuda", cuda_architectures=["90-real"], **mode)
    assert (planned["path"], planned["fingerprint"], planned["would_change"]) == ("", "", True)


def test_a_killed_build_leaves_nothing_half_done(host: Host) -> None:
    gate = host.folder / "gate"
    gate.touch()
    options = {"FAKE_GATE": str(gate)}
    killed = host.start(cmake_options=options)
    waiting.until(lambda: list((host.root / "builds").glob("*.work-*/build/bin/llama-server")))
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not list((host.root / "releases").glob("*/manifest.json"))
    gate.unlink()
    made = host.run(cmake_options=options)
    assert made["compiled"] is True
    assert not list((host.root / "builds").glob("*.work-*"))
    assert [path.name for path in (host.root / "releases").iterdir()] == [pathlib.Path(made["path"]).name]
    assert host.run(cmake_options=options)["changed"] is False


def test_two_runs_of_the_same_release_compile_it_once(host: Host) -> None:
    gate = host.folder / "gate"
    gate.touch()
    options = {"FAKE_GATE": str(gate)}
    progress = host.folder / "progress.json"
    first = host.start(cmake_options=options)
    waiting.until(lambda: list((host.root / "builds").glob("*.work-*/build/bin/llama-server")))
    second = host.start(cmake_options=options, progress_file=str(progress))
    waiting.until(lambda: progress.exists() and "waiting for another run" in progress.read_text(encoding="utf-8"))
    gate.unlink()
    results = [finish(first), finish(second)]
    assert [result["compiled"] for result in results] == [True, False]
    assert results[0]["path"] == results[1]["path"]


def test_a_release_without_a_compiler_at_hand_is_still_a_release(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    made = host.run()
    empty = host.folder / "no-programs"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    assert (host.run()["changed"], host.run()["path"]) == (False, made["path"])
    assert host.run(cmake_options={"GGML_LTO": True})["problems"][0]["subject"] == "compiler"


@pytest.mark.skipif(shutil.which("ccache") is None, reason="needs ccache on PATH")
def test_another_root_and_locale_find_the_same_objects(
    host: Host, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("LANG", "C.UTF-8")
    host.run(compiler_cache=str(cache))
    monkeypatch.delenv("LANG")
    monkeypatch.setenv("LC_CTYPE", "C.UTF-8")
    other = tmp_path / "other"
    fake_llama_cpp.provide_tools(other)
    subprocess.run(
        ["ccache", "--zero-stats"], env={**os.environ, "CCACHE_DIR": str(cache)}, check=True, capture_output=True
    )
    host.run(compiler_cache=str(cache), root=str(other))
    shown = subprocess.run(
        ["ccache", "--print-stats"],
        env={**os.environ, "CCACHE_DIR": str(cache)},
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    counts = dict(line.split("\t") for line in shown.stdout.splitlines())
    assert int(counts["cache_miss"]) == 0
    assert int(counts["direct_cache_hit"]) + int(counts["preprocessed_cache_hit"]) > 0
