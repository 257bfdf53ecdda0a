# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release.listing import described, releases, size_of
from ansible_collections.llama_fleet.core.plugins.module_utils.release.usage import uses
from ansible_collections.llama_fleet.core.tests.unit.fakes.release import publish, write_generation

if typing.TYPE_CHECKING:
    import pathlib


def test_a_release_is_described(tmp_path: pathlib.Path) -> None:
    path = publish(tmp_path, 7, commit="c0ffee", source="git+file:///x", cured=["-mno-amx-tile"])
    (release,) = releases(tmp_path, "root")
    manifest = path / "manifest.json"
    assert described(release, []) == {
        "path": str(path),
        "build": "b7",
        "commit": "c0ffee",
        "fingerprint": "7" + "0" * 63,
        "backend": "cpu",
        "source": "git+file:///x",
        "taken_from": "",
        "origin": "built",
        "cured": ["-mno-amx-tile"],
        "size": len("program") + len("libggml.so.0") + manifest.stat().st_size,
        "created": "2027-01-15T08:00:00Z",
        "whole": True,
        "used_by": [],
    }


def test_the_newest_is_first_and_hidden_folders_are_none(tmp_path: pathlib.Path) -> None:
    middle, old, new = publish(tmp_path, 1, age=5), publish(tmp_path, 2, age=9), publish(tmp_path, 3)
    (tmp_path / "releases" / ".new-b4-444444444444").mkdir()
    (tmp_path / "releases" / "notes").touch()
    assert [release.path for release in releases(tmp_path, "root")] == [new, middle, old]
    assert releases(tmp_path / "none", "root") == []


@pytest.mark.parametrize("origin", ["packed", "upstream"])
def test_where_it_came_from(tmp_path: pathlib.Path, origin: str) -> None:
    publish(tmp_path, 1, origin=origin, taken_from="https://releases.example.com")
    description = described(releases(tmp_path, "root")[0], [])
    assert (description["origin"], description["taken_from"]) == (origin, "https://releases.example.com")


def test_a_damaged_one_is_told_as_such(tmp_path: pathlib.Path) -> None:
    cut, empty, turned = (publish(tmp_path, number, age=number) for number in (1, 2, 3))
    os.truncate(cut / "bin" / "llama-server", 3)
    (empty / "manifest.json").unlink()
    os.utime(empty, (1_799_999_998,) * 2)
    (turned / "bin" / "libggml.so").unlink()
    (turned / "bin" / "libggml.so").symlink_to("elsewhere")
    descriptions = [described(release, []) for release in releases(tmp_path, "root")]
    assert [(each["path"], each["build"], each["whole"]) for each in descriptions] == [
        (str(cut), "b1", False),
        (str(empty), "", False),
        (str(turned), "b3", False),
    ]
    assert (descriptions[1]["origin"], descriptions[1]["size"], descriptions[1]["created"]) == (
        "",
        19,
        "2027-01-15T07:59:58Z",
    )


def test_who_uses_it(tmp_path: pathlib.Path) -> None:
    path, other = publish(tmp_path, 1), publish(tmp_path, 2, age=1)
    for number in (2, 10):
        write_generation(tmp_path, "chat", number, path)
    write_generation(tmp_path, "chat", 11, other)
    write_generation(tmp_path, "answers", 1, path)
    used = uses(tmp_path, "instances")
    first, second = (described(release, used)["used_by"] for release in releases(tmp_path, "root"))
    assert first == [{"instance": "answers", "generations": ["1"]}, {"instance": "chat", "generations": ["2", "10"]}]
    assert second == [{"instance": "chat", "generations": ["11"]}]


def test_what_is_no_folder_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "releases").touch()
    with pytest.raises(ProblemError) as caught:
        releases(tmp_path, "root")
    assert str(caught.value).startswith(
        f"root: expected a folder that this user can read, found {tmp_path}/releases, which cannot be "
        "read (Not a directory)."
    )


def test_sizes(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "x").write_bytes(b"12345")
    (tmp_path / "a" / "b" / "y").write_bytes(b"123")
    (tmp_path / "a" / "b" / "up").symlink_to("/usr")
    assert (size_of(tmp_path / "a"), size_of(tmp_path / "a" / "x"), size_of(tmp_path / "none")) == (5 + 3, 5, 0)
