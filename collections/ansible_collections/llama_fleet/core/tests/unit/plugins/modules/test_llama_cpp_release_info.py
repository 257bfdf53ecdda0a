# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The module as Ansible runs it, in a process of its own."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing

from ansible_collections.llama_fleet.core.tests.unit.at_the_door import admitted
from ansible_collections.llama_fleet.core.tests.unit.fakes.release import publish, write_generation

COLLECTIONS = pathlib.Path(__file__).resolve().parents[7]
DRIVER = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.llama_fleet.core.plugins.modules import llama_cpp_release_info
with patch_module_args(json.loads(sys.argv[1])):
    llama_cpp_release_info.main()
"""
Facts = dict[str, typing.Any]


def run(folder: pathlib.Path, **parameters: typing.Any) -> Facts:
    arguments = {"root": str(folder / "root"), "instances": str(folder / "etc"), **parameters}
    environment = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
    command = [sys.executable, "-c", DRIVER, json.dumps(arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=120, check=False)
    assert "Traceback" not in done.stdout + done.stderr
    return admitted("llama_cpp_release_info", json.loads(done.stdout))


def times(folder: pathlib.Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


def test_a_host_with_releases(tmp_path: pathlib.Path) -> None:
    root = tmp_path / "root"
    old, new = publish(root, 1, age=9), publish(root, 2)
    write_generation(tmp_path / "etc", "chat", 3, old)
    for name, size in (("sources/x.git/pack", 30), ("sources/y.tar.gz", 4), ("cache/compiler/a/b", 20)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bytes(size))
    before = times(tmp_path)
    found, checked = run(tmp_path), run(tmp_path, _ansible_check_mode=True)
    assert times(tmp_path) == before
    assert {**checked, "invocation": 0} == {**found, "invocation": 0}
    assert found["changed"] is False
    assert [(each["path"], each["whole"]) for each in found["releases"]] == [(str(new), True), (str(old), True)]
    assert [each["used_by"] for each in found["releases"]] == [[], [{"instance": "chat", "generations": ["3"]}]]
    assert found["sources"] == {"path": str(root / "sources"), "size": 34}
    assert found["compiler_cache"] == {"path": str(root / "cache" / "compiler"), "size": 20}
    assert run(tmp_path, compiler_cache=str(root / "sources"))["compiler_cache"]["size"] == 34


def test_a_host_without_anything(tmp_path: pathlib.Path) -> None:
    found = run(tmp_path)
    assert (found["releases"], found["sources"]["size"], found["compiler_cache"]["size"]) == ([], 0, 0)
    assert list(tmp_path.iterdir()) == []


def test_problems_are_told_in_words_of_this_module(tmp_path: pathlib.Path) -> None:
    wrong = run(tmp_path, root="", instances="etc", compiler_cache="cache")
    assert [problem["subject"] for problem in wrong["problems"]] == ["root", "instances", "compiler_cache"]
    assert "instances: expected an absolute path, found 'etc'." in wrong["msg"]
    manifest = write_generation(tmp_path / "etc", "chat", 3, tmp_path)
    manifest.write_text("{", encoding="utf-8")
    assert run(tmp_path)["msg"].startswith(
        f"instances: expected readable manifests of all generations, found {manifest}, which cannot be read"
    )
