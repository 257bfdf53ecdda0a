# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as Ansible runs it, in a process of its own."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing

import pytest

from ansible_collections.llama_fleet.core.tests.unit.at_the_door import admitted

COLLECTIONS = pathlib.Path(__file__).resolve().parents[7]
DRIVER = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.llama_fleet.core.plugins.modules import llama_server_info
with patch_module_args(json.loads(sys.argv[1])):
    llama_server_info.main()
"""
Facts = dict[str, typing.Any]


def run(folder: pathlib.Path, **parameters: typing.Any) -> Facts:
    arguments = {"root": str(folder / "etc"), "runtime_root": str(folder / "run"), **parameters}
    environment = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
    command = [sys.executable, "-c", DRIVER, json.dumps(arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=120, check=False)
    assert "Traceback" not in done.stdout + done.stderr
    return admitted("llama_server_info", json.loads(done.stdout))


def write(folder: pathlib.Path, name: str) -> None:
    generation = folder / "etc" / "instances" / name / "generations" / "1"
    generation.mkdir(parents=True)
    manifest = {
        "number": 1,
        "good": True,
        "runtime": "process",
        "options": {"port": 1},
        "environment": {},
        "files": {},
        "created": "then",
    }
    (generation / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    (generation.parents[1] / "current").symlink_to("generations/1")
    (generation.parents[1] / "stopped").touch()


def states(found: Facts) -> dict[str, str]:
    return {facts["instance"]: facts["state"] for facts in found["instances"]}


def test_all_instances_and_those_that_are_missed(tmp_path: pathlib.Path) -> None:
    for name in ("chat", "embed"):
        write(tmp_path, name)
    before = sorted(tmp_path.rglob("*"))
    found = run(tmp_path, expected=["embed", "rerank"])
    assert states(found) == {"chat": "stopped", "embed": "stopped", "rerank": "absent"}
    assert found["changed"] is False
    assert run(tmp_path, expected=["embed", "rerank"], _ansible_check_mode=True)["instances"] == found["instances"]
    assert sorted(tmp_path.rglob("*")) == before


def test_one_instance_also_where_there_is_none(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "chat")
    write(tmp_path, "embed")
    (tmp_path / "etc" / "instances" / "embed" / "stopped").unlink()
    assert states(run(tmp_path)) == {"chat": "stopped", "embed": "failed"}
    assert states(run(tmp_path, instance="chat", expected=["embed"])) == {"chat": "stopped"}
    assert states(run(tmp_path, instance="none")) == {"none": "absent"}
    assert states(run(tmp_path / "nowhere")) == {}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"root": "etc"}, "root: expected an absolute path, found 'etc'."),
        ({"instance": "../x"}, "instance: expected the name of an instance, found '../x'."),
        (
            {"expected": ["A"], "runtime_root": ""},
            (
                "runtime_root: expected an absolute path, found ''.\n"
                "instance: expected the name of an instance, found 'A'."
            ),
        ),
    ],
)
def test_wrong_parameters_are_told_at_once(tmp_path: pathlib.Path, parameters: Facts, message: str) -> None:
    failure = run(tmp_path, **parameters)
    assert (failure["failed"], failure["msg"]) == (True, message)
