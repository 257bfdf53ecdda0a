# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
import importlib
import pathlib
import subprocess
import sys
import sysconfig

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from llama_fleet import pip_wheel


def test_the_wheel_of_ensurepip_runs_as_it_is(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pip_wheel.main(str(tmp_path)) == 0
    printed = capsys.readouterr().out.strip()
    version = subprocess.run(
        [sys.executable, "-m", "pip", "--version"],
        env={"PYTHONPATH": printed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed in version.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_distributions_own_folder_of_wheels_comes_first(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip-1-py3-none-any.whl").touch()
    monkeypatch.setattr(sysconfig, "get_config_var", {"WHEEL_PKG_DIR": str(tmp_path)}.get)
    assert pip_wheel.bundled() == str(tmp_path / "pip-1-py3-none-any.whl")


def test_without_ensurepip_it_is_the_pinned_wheel_of_the_configured_index(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    assert importlib.util.find_spec("ensurepip") is None
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    asked = []

    def fetched(place: pathlib.Path, index: str, variable: str) -> pathlib.Path:
        asked.append((place, index, variable))
        return place / "pip-2"

    monkeypatch.setattr(pip_wheel, "pip_folder", fetched)
    assert pip_wheel.main(str(tmp_path)) == 0
    assert capsys.readouterr().out == f"{tmp_path}/pip-2\n"
    assert asked == [(tmp_path, "http://127.0.0.1:9/simple", "package index")]


def test_an_index_that_cannot_be_reached_is_told(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pip_wheel, "bundled", str)

    def fails(*_arguments: object) -> pathlib.Path:
        raise ProblemError(Problem("package index", "no answer", "pip's wheel"))

    monkeypatch.setattr(pip_wheel, "pip_folder", fails)
    assert pip_wheel.main(str(tmp_path)) == 1
    assert capsys.readouterr() == ("", "package index: expected pip's wheel, found no answer.\n")
