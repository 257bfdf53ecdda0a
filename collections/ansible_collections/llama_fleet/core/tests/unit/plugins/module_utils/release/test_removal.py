# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import shutil
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import removal, store
from ansible_collections.llama_fleet.core.plugins.module_utils.release.removal import remove, superfluous
from ansible_collections.llama_fleet.core.plugins.module_utils.release.usage import Use, uses
from ansible_collections.llama_fleet.core.tests.unit.fakes.release import lock_held, publish, write_generation

if typing.TYPE_CHECKING:
    import pathlib


@pytest.fixture
def five(tmp_path: pathlib.Path) -> list[pathlib.Path]:
    """Publish five releases; return them newest first."""
    return [publish(tmp_path, number, age=number) for number in range(1, 6)]


def listed(root: pathlib.Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if "locks" not in path.parts}


def names(paths: typing.Iterable[pathlib.Path]) -> list[str]:
    return [path.name.partition("-")[0] for path in paths]


@pytest.mark.parametrize(
    ("keep", "gone"), [(0, []), (1, ["b2", "b3", "b4", "b5"]), (3, ["b4", "b5"]), (5, []), (9, [])]
)
def test_the_newest_stay_and_the_current_one_is_one_of_them(
    tmp_path: pathlib.Path, five: list[pathlib.Path], keep: int, gone: list[str]
) -> None:
    assert names(superfluous(tmp_path, keep, five[0], [])) == gone
    assert names(superfluous(tmp_path, keep, None, [])) == gone


def test_the_current_one_stays_whatever_its_age(tmp_path: pathlib.Path, five: list[pathlib.Path]) -> None:
    assert names(superfluous(tmp_path, 3, five[4], [])) == ["b3", "b4"]
    assert names(superfluous(tmp_path, 1, five[4], [])) == ["b1", "b2", "b3", "b4"]
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    assert names(superfluous(tmp_path, 3, link / "releases" / five[4].name, [])) == ["b3", "b4"]


def test_one_that_is_still_to_be_built_counts(tmp_path: pathlib.Path, five: list[pathlib.Path]) -> None:
    assert len(five) == 5
    assert names(superfluous(tmp_path, 3, tmp_path / "releases" / "b9-aaaaaaaaaaaa", [])) == ["b3", "b4", "b5"]


def test_what_a_generation_uses_stays(tmp_path: pathlib.Path, five: list[pathlib.Path]) -> None:
    write_generation(tmp_path / "etc", "chat", 7, five[4])
    used = uses(tmp_path / "etc", "x")
    assert names(superfluous(tmp_path, 2, five[0], used)) == ["b3", "b4"]
    assert names(superfluous(tmp_path, 2, five[0], [Use(f"{five[3]}1", "chat", "1")])) == ["b3", "b4", "b5"]


def test_what_is_being_built_stays(tmp_path: pathlib.Path, five: list[pathlib.Path]) -> None:
    store.staging(five[2]).mkdir()
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / f"{five[3].name}.lock").touch()
    with lock_held(tmp_path / "locks" / f"{five[4].name}.lock"):
        before = listed(tmp_path)
        assert names(superfluous(tmp_path, 1, five[0], [])) == ["b2", "b4"]
        assert listed(tmp_path) == before
        assert remove([five[3], five[4]], tmp_path) == [five[3]]
        assert five[4].is_dir()
    assert names(superfluous(tmp_path, 1, five[0], [])) == ["b2", "b3", "b5"]


def test_only_releases_are_ours_to_remove(tmp_path: pathlib.Path) -> None:
    new, old = publish(tmp_path, 1), publish(tmp_path, 2, age=9)
    (tmp_path / "releases" / "mine").mkdir()
    shutil.copytree(old, tmp_path / "releases" / "b2-copy", symlinks=True)
    (tmp_path / "releases" / "b3-cccccccccccc").mkdir()
    (tmp_path / "releases" / "b3-cccccccccccc" / "manifest.json").write_text("{", encoding="utf-8")
    assert superfluous(tmp_path, 1, new, []) == [old]


def test_no_releases_at_all(tmp_path: pathlib.Path) -> None:
    assert superfluous(tmp_path / "none", 1, None, []) == []
    assert remove([], tmp_path) == []


def test_removed_with_its_log_and_nothing_else(tmp_path: pathlib.Path, five: list[pathlib.Path]) -> None:
    (tmp_path / "builds").mkdir()
    for path in five:
        (tmp_path / "builds" / f"{path.name}.log").touch()
    before = listed(tmp_path)
    assert remove(five[3:], tmp_path) == five[3:]
    gone = {name for name in before if any(path.name in name for path in five[3:])}
    assert listed(tmp_path) == before - gone
    assert remove(five[3:], tmp_path) == []


@pytest.mark.parametrize("step", ["rename", "just after", "half of the files"])
def test_cut_off_it_is_whole_or_gone(
    tmp_path: pathlib.Path, five: list[pathlib.Path], step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = five[4]
    fingerprint = f"{5:064x}"[::-1]

    def cut(*_arguments: object, **_options: object) -> typing.NoReturn:
        raise KeyboardInterrupt

    def half(path: pathlib.Path, **_options: object) -> None:
        if path.is_dir():
            (path / "bin" / "llama-server").unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if step == "rename":
            patch.setattr(os, "rename", cut)
        elif step == "just after":
            patch.setattr(removal, "sync_directory", cut)
        else:
            patch.setattr(shutil, "rmtree", half)
        with pytest.raises(KeyboardInterrupt):
            remove([last], tmp_path)
    assert (store.whole_manifest(last, fingerprint) is not None) == (step == "rename")
    assert last.exists() == (step == "rename")
    remove([last], tmp_path)
    assert sorted(path.name for path in last.parent.iterdir()) == sorted(path.name for path in five[:4])


def test_leftovers_of_killed_runs_go_and_work_in_progress_stays(
    tmp_path: pathlib.Path, five: list[pathlib.Path]
) -> None:
    patterns = ("releases/.new-{}", "releases/.new-{}-old", "releases/.gone-{}", "builds/{}.work-x1")
    dead = [pattern.format(f"b{number}-aaaaaaaaaaaa") for number, pattern in enumerate(patterns, 7)]
    alive = [pattern.format("b6-bbbbbbbbbbbb") for pattern in patterns]
    foreign = ["releases/.mine", "releases/.new-mine", "builds/mine.work-1"]
    for name in [*dead, *alive, *foreign, f"releases/.gone-{five[0].name}"]:
        (tmp_path / name / "bin").mkdir(parents=True)
    (tmp_path / "builds" / "b7-aaaaaaaaaaaa.log").touch()
    with lock_held(tmp_path / "locks" / "b6-bbbbbbbbbbbb.lock"):
        assert remove([], tmp_path) == []
    found = {
        str(path.relative_to(tmp_path)) for place in ("releases", "builds") for path in (tmp_path / place).iterdir()
    }
    assert found == {f"releases/{path.name}" for path in five} | {*alive, *foreign, "builds/b7-aaaaaaaaaaaa.log"}


def test_what_cannot_be_removed_is_told(
    tmp_path: pathlib.Path, five: list[pathlib.Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_source: object, _target: object) -> typing.NoReturn:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(ProblemError) as caught:
        remove(five[4:], tmp_path)
    assert str(caught.value).startswith(
        f"llama_cpp_root: expected a release that can be removed, found {five[4]}, which cannot be removed "
        "(Operation not permitted)."
    )
