# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module around plan, installation and proof: what it does in check mode, with plan_only and a second time."""

from __future__ import annotations

import types
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import choice as cuda_choice
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import plan as cuda
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import trial as cuda_proof
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import wheels as cuda_wheels
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda.releases import RELEASES
from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import compiler as build_host
from ansible_collections.llama_fleet.core.plugins.modules import cuda_toolkit
from ansible_collections.llama_fleet.core.tests.unit.at_the_door import admitted

if typing.TYPE_CHECKING:
    import pathlib

DEFAULTS = {name: argument.get("default") for name, argument in cuda_toolkit.ARGUMENTS.items()}


class Calls:
    """The calls of the module, in order; none of them does anything."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, plan: cuda.ToolkitPlan, installs: bool = True) -> None:
        self.names: list[str] = []
        self.wanted: list[cuda.Wanted] = []
        self.indexes: list[str] = []
        self.compiler_later: list[bool] = []
        self._replace(monkeypatch, plan, installs)

    def _replace(self, monkeypatch: pytest.MonkeyPatch, plan: cuda.ToolkitPlan, installs: bool) -> None:
        def make_plan(
            wanted: cuda.Wanted,
            _host: cuda.ToolkitHost,
            compiler_later: bool = False,
            refusal: cuda.Trial = lambda _toolkit: "",
        ) -> cuda.ToolkitPlan:
            self.wanted.append(wanted)
            self.compiler_later.append(compiler_later)
            if plan.origin == "found":
                assert refusal(plan.toolkit) == ""
            return plan

        def install(
            _release: object,
            root: pathlib.Path,
            index: str,
            _machine: str,
            _progress: object,
            prove: typing.Callable[[pathlib.Path], str],
        ) -> bool:
            self.names.append(f"install below {root.name}")
            self.indexes.append(index)
            files.write_json(plan.toolkit.path / cuda_wheels.MANIFEST, {"nvcc": prove(root / "new")})
            return installs

        monkeypatch.setattr(cuda_choice, "make_plan", make_plan)
        monkeypatch.setattr(cuda_wheels, "install", install)
        self.has_compiler(monkeypatch, True)
        monkeypatch.setattr(build_host, "can_install", lambda: True)
        monkeypatch.setattr(build_host, "install", lambda names, _run: self.names.append(f"apt {' '.join(names)}"))
        self._replace_trials(monkeypatch)

    def _replace_trials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def accept(folder: pathlib.Path, _wanted: object, _host: object) -> str:
            self.names.append(f"accept {folder.name}")
            return "Cuda compilation tools, release 13.0"

        monkeypatch.setattr(cuda_proof, "accept", accept)
        monkeypatch.setattr(cuda_proof, "proof_key", lambda *_arguments: "key")

        def refusal(toolkit: cuda.Toolkit, *_others: object) -> str:
            self.names.append(f"prove {toolkit.path.name}")
            return ""

        monkeypatch.setattr(cuda_proof, "refusal", refusal)

    @staticmethod
    def has_compiler(monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
        for module in (cuda, cuda_proof):
            monkeypatch.setattr(module, "has_compiler", lambda _host: answer)


def run(root: pathlib.Path, check_mode: bool = False, **params: typing.Any) -> dict[str, typing.Any]:
    module = types.SimpleNamespace(
        params={**DEFAULTS, "root": str(root), "index_url": "http://index", **params}, check_mode=check_mode
    )
    return admitted("cuda_toolkit", cuda_toolkit.run(module))


def to_install(root: pathlib.Path) -> cuda.ToolkitPlan:
    return cuda.ToolkitPlan(cuda.Toolkit(root / "toolkits/cuda-13.0.88", "13.0.88"), "installed", RELEASES["13.0"])


def found(root: pathlib.Path) -> cuda.ToolkitPlan:
    return cuda.ToolkitPlan(
        cuda.Toolkit(root / "system", "12.8.93", "Cuda compilation tools, release 12.8, V12.8.93"), "found"
    )


@pytest.mark.parametrize(
    ("params", "names", "later"),
    [
        ({}, ["apt compiler", "install below {}", "accept new"], [True, False]),
        ({"install_packages": False}, ["install below {}", "accept new"], [False]),
        ({"plan_only": True}, [], [True]),
        ({"plan_only": True, "install_packages": False}, [], [True]),
    ],
    ids=["installed", "not to be installed", "planned", "planned, not to be installed"],
)
def test_a_host_without_a_compiler(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    params: dict[str, bool],
    names: list[str],
    later: list[bool],
) -> None:
    calls = Calls(monkeypatch, to_install(tmp_path))
    calls.has_compiler(monkeypatch, False)
    result = run(tmp_path, **params)
    assert (calls.names, calls.compiler_later) == ([name.format(tmp_path.name) for name in names], later)
    assert result["changed"] == (not params.get("plan_only"))


def test_a_found_one_is_not_proved_before_there_is_a_compiler(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch, found(tmp_path))
    calls.has_compiler(monkeypatch, False)
    assert (run(tmp_path, plan_only=True)["would_change"], calls.names) == (True, [])


def test_a_found_one_is_proved_as_soon_as_the_compiler_is_installed(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch, found(tmp_path))
    calls.has_compiler(monkeypatch, False)
    monkeypatch.setattr(build_host, "install", lambda _names, _run: calls.has_compiler(monkeypatch, True))
    assert (run(tmp_path)["changed"], calls.names) == (True, ["prove system"])


def test_an_installation(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, to_install(tmp_path))
    result = run(tmp_path, driver_version="580.95.05", architectures=["90-real"])
    assert calls.names == [f"install below {tmp_path.name}", "accept new"]
    assert calls.indexes == ["http://index"]
    assert calls.wanted == [cuda.Wanted(tmp_path, "", "", "580.95.05", ("90-real",), index_url="http://index")]
    path = str(tmp_path / "toolkits/cuda-13.0.88")
    assert result == {
        "changed": True,
        "diff": {"before": "", "after": f"{path}\n"},
        "path": path,
        "version": "13.0.88",
        "nvcc": "Cuda compilation tools, release 13.0",
        "include": f"{path}/include",
        "library": f"{path}/lib64",
        "origin": "installed",
        "removed": [],
    }


def test_another_run_was_faster(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Calls(monkeypatch, to_install(tmp_path), installs=False)
    assert run(tmp_path)["changed"] is False


def test_an_installed_toolkit_is_left_alone(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, cuda.ToolkitPlan(to_install(tmp_path).toolkit, "installed"))
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
def test_a_plan_changes_nothing_and_says_what_would(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, installs: bool
) -> None:
    calls = Calls(
        monkeypatch, to_install(tmp_path) if installs else cuda.ToolkitPlan(to_install(tmp_path).toolkit, "installed")
    )
    result = run(tmp_path, plan_only=True)
    assert (result["changed"], result["would_change"], calls.names) == (False, installs, [])
    assert result["path"].endswith("cuda-13.0.88")


def test_a_found_toolkit_is_proven_once(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, found(tmp_path))
    assert run(tmp_path)["changed"] is False
    again = run(tmp_path)
    assert (again["origin"], again["nvcc"]) == ("found", "Cuda compilation tools, release 12.8, V12.8.93")
    assert calls.names == ["prove system"]
    monkeypatch.setattr(cuda_proof, "proof_key", lambda *_arguments: "another key")
    run(tmp_path)
    assert calls.names == ["prove system", "prove system"]


def test_check_mode_proves_a_found_toolkit_but_remembers_nothing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch, found(tmp_path))
    run(tmp_path, check_mode=True)
    run(tmp_path, plan_only=True)
    assert calls.names == ["prove system", "prove system"]
    assert list(tmp_path.iterdir()) == []


def add_installed(root: pathlib.Path, version: str) -> pathlib.Path:
    folder = root / f"toolkits/cuda-{version}"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/nvcc").touch()
    files.write_json(folder / cuda_wheels.MANIFEST, {"version": version})
    return folder


def test_absent_removes_what_was_installed_once(tmp_path: pathlib.Path) -> None:
    folder = add_installed(tmp_path, "13.0.88")
    result = run(tmp_path, state="absent")
    assert (result["changed"], result["removed"], result["path"]) == (True, [str(folder)], "")
    assert result["diff"] == {"before": f"{folder}\n", "after": ""}
    assert not (tmp_path / "toolkits").exists()
    again = run(tmp_path, state="absent")
    assert (again["changed"], again["removed"], again["diff"]) == (False, [], {"before": "", "after": ""})


def test_absent_in_check_mode_and_as_a_plan_only_tells(tmp_path: pathlib.Path) -> None:
    folder = add_installed(tmp_path, "13.0.88")
    checked = run(tmp_path, check_mode=True, state="absent")
    assert (checked["changed"], checked["diff"]["before"]) == (True, f"{folder}\n")
    planned = run(tmp_path, plan_only=True, state="absent")
    assert (planned["changed"], planned["would_change"], planned["removed"]) == (False, True, [str(folder)])
    assert (folder / "bin/nvcc").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["toolkits"]


def test_absent_of_one_version_leaves_the_others(tmp_path: pathlib.Path) -> None:
    old, new = add_installed(tmp_path, "13.0.88"), add_installed(tmp_path, "13.5.37")
    assert run(tmp_path, check_mode=True, state="absent", version="13.0")["removed"] == [str(old)]
    assert run(tmp_path, state="absent", version="13.0")["removed"] == [str(old)]
    assert new.exists()


@pytest.mark.parametrize("version", ["13", "13.0.88", "*", "../x"])
def test_absent_of_a_version_that_is_none(tmp_path: pathlib.Path, version: str) -> None:
    folder = add_installed(tmp_path, "13.0.88")
    with pytest.raises(ProblemError, match=r"cuda_toolkit_version: expected major\.minor.*, found .*"):
        run(tmp_path, state="absent", version=version)
    assert folder.exists()
