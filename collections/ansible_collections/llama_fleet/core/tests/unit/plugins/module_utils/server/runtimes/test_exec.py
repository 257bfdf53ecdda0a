# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.exec import ExecRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import Place, RuntimeHost
from ansible_collections.llama_fleet.core.tests.unit.fakes.options import CPU
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    import pathlib


def test_nothing_of_it_is_in_the_way_of_another_runtime(tmp_path: pathlib.Path) -> None:
    runtime = ExecRuntime.at(Place(tmp_path / "default", tmp_path, RuntimeHost(FakeRunner())))
    (tmp_path / "default.json").write_text("{}", encoding="utf-8")
    assert (runtime.present(), runtime.log, runtime.starts_at_boot()) == (False, "", True)


def test_its_log_is_the_caller_s_and_no_other_file_is_removed(tmp_path: pathlib.Path) -> None:
    runtime = ExecRuntime.at(Place(tmp_path / "default", tmp_path, RuntimeHost(FakeRunner())))
    for name in ("default.log", "default.log.1", "other.log"):
        (tmp_path / name).touch()
    runtime.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["other.log"]


def test_it_has_no_limits_and_writes_no_record(tmp_path: pathlib.Path) -> None:
    options = dataclasses.replace(CPU, memory_max="1G", runtime_root=tmp_path / "closed" / "run")
    (problem,) = ExecRuntime.requirements(options, RuntimeHost(FakeRunner()), None)
    assert "llama_server_runtime exec, which has no limits of its own" in str(problem)
