# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The store of models: what is kept once, what is read again, and stores that cannot be written."""

from __future__ import annotations

import errno
import os
import pathlib
import shutil
import typing

from tests.hub import Fault, Hub
from tests.unit.modules.gguf_model.case import (
    REPO,
    SHARDS,
    SIZE,
    Result,
    call,
    new_revision,
    problem,
    requests_during,
    states,
    tree,
    watched,
    weights,
)

if typing.TYPE_CHECKING:
    import pytest


def paths(result: Result) -> list[pathlib.Path]:
    return [pathlib.Path(file["path"]) for file in result["files"]]


def spoil(path: pathlib.Path) -> None:
    """Other bytes behind the same size, time and inode, as a bad disk would have it."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(b"spoiled")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def lock_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this user write nowhere. Root may write everywhere, so the answer has to be forged."""
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode, **more: not mode & os.W_OK and real(path, mode, **more))


def test_new_revision_fetches_only_what_changed(hub: Hub, wanted: Result) -> None:
    old = call(wanted)
    commit = new_revision(hub, SHARDS[1], weights("other"))
    planned = call(wanted, revision=commit, check_mode=True)
    assert [file["name"] for file in planned["plan"]["fetch"]] == [SHARDS[1]]
    assert [file["name"] for file in planned["plan"]["link"]] == [SHARDS[0], SHARDS[2]]
    assert planned["plan"]["size"] == SIZE
    parts = pathlib.Path(wanted["root"], "models", REPO, ".parts")
    parts.mkdir()
    for ending in ("part", "journal"):  # a download that is not needed any more
        (parts / f"{old['files'][0]['sha256']}.{ending}").write_bytes(b"begun")
    new = call(wanted, revision=commit)
    assert (new["changed"], new["downloaded"], new["revision"]) == (True, SIZE, commit)
    assert [path.read_bytes() for path in paths(new)] == [weights(SHARDS[0]), weights("other"), weights(SHARDS[2])]
    assert [ours.samefile(theirs) for ours, theirs in zip(paths(new), paths(old), strict=True)] == [True, False, True]
    assert requests_during(hub, lambda: [call(wanted, revision=revision) for revision in ("main", commit)]) == 0
    assert not list(pathlib.Path(wanted["root"]).rglob(".parts"))


def test_new_revision_without_links_is_a_copy(hub: Hub, wanted: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    old = call(wanted)
    monkeypatch.setattr(os, "link", refuse)
    new = call(wanted, revision=new_revision(hub))
    assert (new["changed"], new["downloaded"]) == (True, 0)
    assert [path.read_bytes() for path in paths(new)] == [path.read_bytes() for path in paths(old)]
    assert not paths(new)[0].samefile(paths(old)[0])


def test_copy_that_went_wrong_is_not_taken(hub: Hub, wanted: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    call(wanted)
    commit = new_revision(hub)
    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(shutil, "copyfile", lambda _source, part: part.write_bytes(b"GGUF" + bytes(SIZE - 4)))
    assert "expected a disk that keeps what is written, found other bytes in the copy of " in problem(
        wanted, revision=commit
    )
    assert not [path for path in tree(wanted["root"]) if path.startswith(f"models/{REPO}/{commit}/")]


def test_file_that_changed_since_is_not_linked(hub: Hub, wanted: Result) -> None:
    paths(call(wanted))[0].write_bytes(b"GGUF" + bytes(SIZE - 4))
    new = call(wanted, revision=new_revision(hub))
    assert new["downloaded"] == SIZE
    assert paths(new)[0].read_bytes() == weights(SHARDS[0])


def test_unfinished_download_serves_the_next_revision(hub: Hub, wanted: Result) -> None:
    hub.faults[SHARDS[1]] = Fault(flip_at=1000)
    problem(wanted)
    hub.faults.clear()
    assert call(wanted, revision=new_revision(hub))["downloaded"] == SIZE


def test_second_run_opens_no_model_and_writes_nothing(hub: Hub, wanted: Result) -> None:
    call(wanted)
    before = states(wanted["root"])
    with watched() as events:
        assert requests_during(hub, lambda: call(wanted)) == 0
    below = [(event, path) for event, path in events if path.startswith(wanted["root"])]
    assert ("open", f"{wanted['root']}/models/{REPO}/revisions.json") in below
    assert not [path for _event, path in below if path.endswith(".gguf")]
    assert states(wanted["root"]) == before


def test_store_that_cannot_be_written(hub: Hub, wanted: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    there = paths(call(wanted))
    before = states(wanted["root"])
    lock_down(monkeypatch)
    assert requests_during(hub, lambda: call(wanted)) == 0
    assert call(wanted, quant="Q4_K_M")["changed"] is False  # not recorded under that name, and still nothing to do
    assert call(wanted, keep=1)["changed"] is False
    assert states(wanted["root"]) == before
    there[0].unlink()
    told = problem(wanted)
    assert told.startswith(
        f"gguf_model_root: expected a folder that it can write, found {there[0].parent}, which this user (uid "
    )
    assert "\n" not in told


def test_store_with_other_inodes_that_cannot_be_written(
    hub: Hub, wanted: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = paths(call(wanted))[0]
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    before = states(wanted["root"])
    lock_down(monkeypatch)
    assert requests_during(hub, lambda: call(wanted)) == 0
    assert call(wanted)["changed"] is False
    assert states(wanted["root"]) == before


def test_verify_always_reads_and_repairs(hub: Hub, wanted: Result) -> None:
    there = paths(call(wanted))
    assert call(wanted, verify="always")["changed"] is False
    spoil(there[1])
    assert call(wanted)["changed"] is False
    planned = call(wanted, verify="always", check_mode=True)
    assert (planned["changed"], [file["name"] for file in planned["plan"]["fetch"]]) == (True, [SHARDS[1]])
    repaired = call(wanted, verify="always")
    assert (repaired["changed"], repaired["downloaded"]) == (True, SIZE)
    assert there[1].read_bytes() == weights(SHARDS[1])
    assert requests_during(hub, lambda: call(wanted, verify="always")) == 0


def test_verify_always_does_not_link_what_is_spoiled(hub: Hub, wanted: Result) -> None:
    spoil(paths(call(wanted))[0])
    assert call(wanted, revision=new_revision(hub), verify="always")["downloaded"] == SIZE


def test_verify_always_with_a_local_model(wanted: Result, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "mine-Q8_0.gguf"
    path.write_bytes(weights("mine"))
    call(wanted, source=str(path))
    spoil(path)
    assert call(wanted, source=str(path))["changed"] is False
    assert call(wanted, source=str(path), verify="always")["changed"] is True
    assert call(wanted, source=str(path), verify="always")["changed"] is False


def test_plan_of_a_real_run_and_check_mode_leave_no_trace(wanted: Result) -> None:
    for changes in ({"plan_only": True}, {"check_mode": True}, {"check_mode": True, "state": "absent"}):
        call(wanted, **changes)
        assert not pathlib.Path(wanted["root"]).exists()
    call(wanted)
    before = (tree(wanted["root"]), states(wanted["root"]))
    call(wanted, check_mode=True, quant="Q8_0")
    call(wanted, check_mode=True, state="absent")
    assert (tree(wanted["root"]), states(wanted["root"])) == before
