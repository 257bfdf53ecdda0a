# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the removal of module payloads. tests/hostile proves that a killed run leaves no token."""

from __future__ import annotations

import os
import time
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils import payload

if typing.TYPE_CHECKING:
    import pathlib

OLD = payload.ABANDONED + 60


def carry(place: pathlib.Path, name: str, age: int = 0, number: int = 1) -> pathlib.Path:
    folder = place / f"ansible-tmp-1795.1-{number}-2"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("params={'token': 's3cr3t'}", encoding="utf-8")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_its_own_goes_at_once_and_nothing_else_of_a_run_that_lives(tmp_path: pathlib.Path) -> None:
    own, wrapper = carry(tmp_path, "AnsiballZ_gguf_model.py"), carry(tmp_path, "async_wrapper.py")
    other = carry(tmp_path, "AnsiballZ_gguf_model.py", number=2)
    payload.forget(command=["/usr/bin/python3", str(own)])
    assert (own.exists(), wrapper.exists(), other.exists()) == (False, True, True)


@pytest.mark.parametrize(
    ("name", "age", "goes"),
    [
        ("AnsiballZ_gguf_model.py", OLD, True),
        ("AnsiballZ_llama_server.py", OLD, True),
        ("AnsiballZ_gguf_model.py", 60, False),
        ("AnsiballZ_command.py", OLD, False),
        ("notes", OLD, False),
    ],
)
def test_what_killed_runs_left_goes_too(tmp_path: pathlib.Path, name: str, age: int, goes: bool) -> None:
    left = carry(tmp_path, name, age)
    carry(tmp_path, "async_wrapper.py", age)
    payload.forget(str(tmp_path), command=["python3", "-c"])
    assert left.parent.exists() != goes


def test_the_users_whom_ansible_connects_as_goes_too(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = carry(tmp_path / ".ansible" / "tmp", "AnsiballZ_gguf_model.py", OLD)
    monkeypatch.setenv("SUDO_USER", "someone")
    monkeypatch.setattr(
        payload.pwd, "getpwnam", lambda _name: payload.pwd.struct_passwd(("x", "x", 1, 1, "x", str(tmp_path), "x"))
    )
    payload.forget("~/.ansible/tmp", command=[])
    assert not left.exists()


def test_no_link_is_followed_and_nothing_else_removed(tmp_path: pathlib.Path) -> None:
    kept = carry(tmp_path / "elsewhere", "AnsiballZ_gguf_model.py", OLD)
    place = tmp_path / "place"
    place.mkdir()
    (place / "ansible-tmp-9").symlink_to(kept.parent)
    (place / "ansible-tmp-8").write_text("x", encoding="utf-8")
    payload.forget(str(place), command=["python3", str(tmp_path / "mine" / "AnsiballZ_gguf_model.py")])
    payload.forget(str(tmp_path / "nowhere"), command=[])
    assert kept.exists()
    assert len(list(place.iterdir())) == 2
