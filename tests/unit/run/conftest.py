# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The tiny collection in place of the real one."""

import json
import pathlib
import tempfile

import pytest

from llama_fleet.run import runner
from llama_fleet.run.events import Event
from tests.unit.run.tiny_plays import TASKS, WAIT


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> list[Event]:
    collection = tmp_path / "collections/ansible_collections/llama_fleet/core"
    (collection / "playbooks").mkdir(parents=True)
    (collection / "galaxy.yml").write_text("namespace: llama_fleet\nname: core\nversion: 0.0.1\n", encoding="utf-8")
    (collection / "plugins/action").mkdir(parents=True)
    (collection / "plugins/action/wait.py").write_text(WAIT, encoding="utf-8")
    for name, task in TASKS.items():
        play = json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [{"name": name.capitalize(), **task}]}])
        (collection / f"playbooks/{name}.yml").write_text(play, encoding="utf-8")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(runner, "COLLECTIONS", tmp_path / "collections")
    return []
