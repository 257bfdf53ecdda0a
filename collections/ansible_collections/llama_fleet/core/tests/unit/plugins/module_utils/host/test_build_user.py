# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import stat
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import build_user, handover
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    import pathlib


def test_nobody_else_compiles_where_the_files_cannot_be_read(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "builder", lambda: 4711)
    monkeypatch.setattr(handover, "blocked", lambda paths: next(iter(paths)))
    run = FakeRunner()
    assert build_user.builder_of(tmp_path / "work", [], run) == build_user.Builder(0, run)
    assert not list(tmp_path.iterdir())


def test_the_builder_gets_two_folders_and_nothing_else(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owners: dict[str, int] = {}
    monkeypatch.setattr(handover, "builder", lambda: 4711)
    monkeypatch.setattr(handover, "blocked", lambda _paths: "")
    monkeypatch.setattr(os, "chown", lambda path, user, _group: owners.update({path.name: user}))
    work = tmp_path / "work"
    work.mkdir(mode=0o700)
    made = build_user.builder_of(work, [], FakeRunner())
    assert (made.user, owners) == (4711, {"build": 4711, "tmp": 4711})
    assert stat.S_IMODE(work.stat().st_mode) == 0o755


@pytest.mark.parametrize(
    ("root", "blocked", "told"), [(True, "/root/a", "/root/a"), (True, "", ""), (False, "/root/a", "")]
)
def test_why_compilers_ran_as_root(monkeypatch: pytest.MonkeyPatch, root: bool, blocked: str, told: str) -> None:
    monkeypatch.setattr(handover, "may_become_others", lambda: root)
    monkeypatch.setattr(handover, "blocked", lambda _paths: blocked)
    said = build_user.remark([])
    assert bool(said) is bool(told)
    assert told in said
