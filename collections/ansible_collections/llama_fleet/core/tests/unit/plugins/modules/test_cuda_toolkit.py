# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module around plan, installation and proof: what it does in check mode, with plan_only and a second time."""

from __future__ import annotations

import types
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils import cuda, cuda_wheels
from ansible_collections.llama_fleet.core.plugins.modules import cuda_toolkit

if typing.TYPE_CHECKING:
    import pathlib

DEFAULTS = {name: argument.get("default") for name, argument in cuda_toolkit.ARGUMENTS.items()}


class Calls:
    """What the module asked for, in order; nothing of it happens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, plan: cuda.Plan, installs: bool = True) -> None:
        self.names: list[str] = []
        self.wanted: list[cuda.Wanted] = []
        self.indexes: list[str] = []

        def make_plan(wanted: cuda.Wanted, _host: cuda.Host) -> cuda.Plan:
            self.wanted.append(wanted)
            return plan

        def install(_release: object, target: pathlib.Path, index: str, _machine: str, _progress: object, prove: typing.Callable[[pathlib.Path], None]) -> bool:
            self.names.append(f"install {target.name}")
            self.indexes.append(index)
            prove(target.with_name("new"))
            return installs

        monkeypatch.setattr(cuda, "make_plan", make_plan)
        monkeypatch.setattr(cuda_wheels, "install", install)
        monkeypatch.setattr(cuda, "proof_key", lambda *_arguments: "key")
        monkeypatch.setattr(cuda, "prove", lambda toolkit, *_others: self.names.append(f"prove {toolkit.path.name}"))


def run(root: pathlib.Path, check_mode: bool = False, **params: typing.Any) -> dict[str, typing.Any]:
    module = types.SimpleNamespace(params={**DEFAULTS, "root": str(root), "index_url": "http://index", **params}, check_mode=check_mode)
    return cuda_toolkit.run(module)


def to_install(root: pathlib.Path) -> cuda.Plan:
    return cuda.Plan(cuda.Toolkit(root / "toolkits/cuda-13.0.88", "13.0.88"), "installed", cuda_wheels.RELEASES["13.0"])


def found(root: pathlib.Path) -> cuda.Plan:
    return cuda.Plan(cuda.Toolkit(root / "system", "12.8.93"), "found")


def test_an_installation(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, to_install(tmp_path))
    result = run(tmp_path, driver_version="580.95.05", architectures=["90-real"])
    assert calls.names == ["install cuda-13.0.88", "prove new"]
    assert calls.indexes == ["http://index"]
    assert calls.wanted == [cuda.Wanted(tmp_path, "", "13.0", "580.95.05", ("90-real",))]
    path = str(tmp_path / "toolkits/cuda-13.0.88")
    assert result == {"changed": True, "diff": {"before": "", "after": f"{path}\n"}, "path": path, "version": "13.0.88", "origin": "installed"}


def test_another_run_was_faster(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Calls(monkeypatch, to_install(tmp_path), installs=False)
    assert run(tmp_path)["changed"] is False


def test_an_installed_toolkit_is_left_alone(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, cuda.Plan(to_install(tmp_path).toolkit, "installed"))
    result = run(tmp_path)
    assert (result["changed"], result["diff"]["after"], calls.names) == (False, "", [])


def test_check_mode_tells_and_does_nothing(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, to_install(tmp_path))
    result = run(tmp_path, check_mode=True)
    assert result["changed"] is True
    assert result["diff"]["after"].endswith("cuda-13.0.88\n")
    assert calls.names == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("installs", [True, False])
def test_a_plan_changes_nothing_and_says_what_would(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, installs: bool) -> None:
    calls = Calls(monkeypatch, to_install(tmp_path) if installs else cuda.Plan(to_install(tmp_path).toolkit, "installed"))
    result = run(tmp_path, plan_only=True)
    assert (result["changed"], result["would_change"], calls.names) == (False, installs, [])
    assert result["path"].endswith("cuda-13.0.88")


def test_a_found_toolkit_is_proven_once(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, found(tmp_path))
    assert run(tmp_path)["changed"] is False
    assert run(tmp_path)["origin"] == "found"
    assert calls.names == ["prove system"]
    monkeypatch.setattr(cuda, "proof_key", lambda *_arguments: "another key")
    run(tmp_path)
    assert calls.names == ["prove system", "prove system"]


def test_check_mode_proves_a_found_toolkit_but_remembers_nothing(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, found(tmp_path))
    run(tmp_path, check_mode=True)
    run(tmp_path, plan_only=True)
    assert calls.names == ["prove system", "prove system"]
    assert list(tmp_path.iterdir()) == []
