# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pathlib

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.build_user import Builder
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.compiler_cache import (
    compiler_cache,
    find_program,
)
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner


def program(folder: pathlib.Path, name: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("#!/bin/sh\n", encoding="utf-8")
    (folder / name).chmod(0o755)
    return str(folder / name)


def test_ccache_comes_before_sccache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert find_program(tmp_path / "tools") == ""
    sccache = program(tmp_path / "path", "sccache")
    assert find_program(tmp_path / "tools") == sccache
    ccache = program(tmp_path / "tools", "ccache")
    assert find_program(tmp_path / "tools") == ccache


@pytest.mark.parametrize(("cuda", "languages"), [(False, ["C", "CXX"]), (True, ["C", "CXX", "CUDA"])])
def test_ccache(tmp_path: pathlib.Path, cuda: bool, languages: list[str]) -> None:
    with compiler_cache(
        "/usr/bin/ccache", tmp_path / "cache", tmp_path, "digest", cuda, Builder(0, FakeRunner())
    ) as cache:
        assert cache.options == {f"CMAKE_{language}_COMPILER_LAUNCHER": "/usr/bin/ccache" for language in languages}
        assert cache.environment["CCACHE_BASEDIR"] == str(tmp_path)
        assert pathlib.Path(cache.environment["CCACHE_EXTRAFILES"]).read_text(encoding="utf-8") == "digest"


def test_sccache_has_a_server_of_its_own_and_stops_it(tmp_path: pathlib.Path) -> None:
    recorder = FakeRunner()
    with compiler_cache(
        "/usr/bin/sccache", tmp_path / "cache", tmp_path, "digest", cuda=True, builder=Builder(0, recorder)
    ) as cache:
        assert set(cache.options) == {"CMAKE_C_COMPILER_LAUNCHER", "CMAKE_CXX_COMPILER_LAUNCHER"}
        assert cache.environment["SCCACHE_C_CUSTOM_CACHE_BUSTER"] == "digest"
        assert int(cache.environment["SCCACHE_IDLE_TIMEOUT"]) > 1800, "longer than the longest file takes"
        socket = cache.environment["SCCACHE_SERVER_UDS"]
    assert recorder.commands == [["/usr/bin/sccache", "--start-server"], ["/usr/bin/sccache", "--stop-server"]]
    assert {environment["SCCACHE_SERVER_UDS"] for environment in recorder.environments} == {socket}


def test_no_cache_is_no_matter(tmp_path: pathlib.Path) -> None:
    with compiler_cache("", tmp_path / "cache", tmp_path, "", cuda=False, builder=Builder(0, FakeRunner())) as cache:
        assert (cache.options, cache.environment) == ({}, {})
