# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Removals with state absent and by keep, and the files that are never removed."""

from __future__ import annotations

import os
import pathlib

import pytest

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
    use,
    weights,
)


def files(wanted: Result) -> set[str]:
    return {pathlib.PurePath(path).name for path in tree(wanted["root"]) if path.endswith(".gguf")}


def below(wanted: Result) -> set[str]:
    """Return the paths that are left of any model."""
    return {path for path in tree(wanted["root"]) if path.startswith("models/")}


def revisions(wanted: Result) -> set[str]:
    return {path.name for path in pathlib.Path(wanted["root"], "models", REPO).iterdir() if path.is_dir()}


class TestAbsent:
    def test_all_of_a_source(self, hub: Hub, wanted: Result) -> None:
        there = call(wanted)
        call(wanted, quant="Q8_0")
        planned = call(wanted, state="absent", plan_only=True)
        assert (planned["changed"], planned["would_change"], len(planned["removed"])) == (False, True, 4)
        assert len(files(wanted)) == 4
        gone: list[Result] = []
        assert requests_during(hub, lambda: gone.append(call(wanted, state="absent"))) == 0
        assert (gone[0]["changed"], gone[0]["path"], gone[0]["files"]) == (True, "", [])
        assert there["path"] in gone[0]["removed"]
        assert gone[0]["diff"]["before"]["files"][there["path"]] == SIZE
        assert gone[0]["diff"]["after"]["files"] == {}
        assert not below(wanted)
        assert call(wanted, state="absent")["changed"] is False
        assert call(wanted)["downloaded"] == 3 * SIZE

    def test_one_quant(self, hub: Hub, wanted: Result) -> None:
        call(wanted)
        call(wanted, quant="Q8_0")
        gone = call(wanted, source=f"{REPO}:q8_0", state="absent")
        assert [pathlib.PurePath(path).name for path in gone["removed"]] == ["SmolLM-Q8_0.gguf"]
        assert files(wanted) == set(SHARDS)
        assert requests_during(hub, lambda: call(wanted)) == 0
        assert call(wanted, quant="Q5_K_M", state="absent")["changed"] is False
        assert call(wanted, quant="Q4_K_M", state="absent")["changed"] is True
        assert not files(wanted)

    def test_files_that_another_choice_has_too(self, wanted: Result) -> None:
        first = call(wanted)["path"]
        call(wanted, quant=SHARDS[0])
        assert call(wanted, quant=SHARDS[0], state="absent")["removed"] == []
        assert pathlib.Path(first).is_file()

    def test_one_revision(self, hub: Hub, wanted: Result) -> None:
        old = call(wanted)
        new = call(wanted, revision=new_revision(hub))
        call(wanted, revision=old["revision"], state="absent")
        assert revisions(wanted) == {new["revision"]}
        assert pathlib.Path(new["path"]).read_bytes() == weights(SHARDS[0])
        assert call(wanted)["revision"] == new["revision"]  # what main meant is forgotten with it

    def test_what_an_instance_uses_stays(self, wanted: Result) -> None:
        there = call(wanted)
        call(wanted, quant="Q8_0")
        use(wanted, there["path"], "chat")
        before = states(wanted["root"])
        for changes in ({}, {"quant": "Q4_K_M"}, {"check_mode": True}):
            told = problem(wanted, state="absent", **changes)
            assert told.startswith(
                "gguf_model_state: expected a model that no generation refers to, found absent, and generation "
                "1 of instance 'chat' refers to "
            )
        assert states(wanted["root"]) == before
        assert call(wanted, quant="Q8_0", state="absent")["changed"] is True

    def test_a_shard_that_an_instance_uses_through_a_link(self, wanted: Result, tmp_path: pathlib.Path) -> None:
        there = call(wanted)
        (tmp_path / "link").symlink_to(pathlib.Path(there["path"]).parent)
        use(wanted, str(tmp_path / "link" / SHARDS[0]))
        assert "generation 1 of instance 'default'" in problem(wanted, state="absent")

    def test_generations_that_cannot_be_read(self, wanted: Result) -> None:
        there = call(wanted)
        use(wanted, there["path"])
        (manifest,) = pathlib.Path(wanted["instances"]).rglob("manifest.json")
        manifest.write_text("{", encoding="utf-8")
        assert problem(wanted, state="absent").startswith(
            f"gguf_model_instances: expected readable manifests of all generations, found {manifest}, which "
            "cannot be read"
        )
        assert pathlib.Path(there["path"]).is_file()

    def test_a_path_is_only_forgotten(self, wanted: Result, tmp_path: pathlib.Path) -> None:
        path = tmp_path / "mine-Q8_0.gguf"
        path.write_bytes(weights("mine"))
        call(wanted, source=str(path))
        use(wanted, str(path))
        gone = call(wanted, source=str(path), state="absent")
        assert (gone["changed"], gone["removed"]) == (True, [])
        assert path.read_bytes() == weights("mine")
        assert not below(wanted)

    def test_what_a_broken_download_left(self, hub: Hub, wanted: Result) -> None:
        hub.faults[SHARDS[1]] = Fault(flip_at=1000)
        problem(wanted)
        assert call(wanted, state="absent")["changed"] is True
        assert not below(wanted)

    def test_a_cut_off_removal_is_finished(self, wanted: Result, monkeypatch: pytest.MonkeyPatch) -> None:
        call(wanted)
        real = os.unlink
        done: list[object] = []

        def once(path: pathlib.Path) -> None:
            if done:
                raise KeyboardInterrupt
            done.append(path)
            real(path)

        monkeypatch.setattr(pathlib.Path, "unlink", once)
        with pytest.raises(KeyboardInterrupt):
            call(wanted, state="absent")
        monkeypatch.undo()
        assert len(files(wanted)) == 2
        assert call(wanted, state="absent")["changed"] is True
        assert not files(wanted)


class TestKeep:
    @pytest.fixture
    def commits(self, hub: Hub, wanted: Result) -> list[str]:
        """Three revisions on the host, the oldest first."""
        commits = [call(wanted)["revision"]]
        for number in range(2):
            commits.append(new_revision(hub, SHARDS[1], weights(f"other {number}")))
            call(wanted, revision=commits[-1])
        return commits

    def test_the_newest_used_stay(self, wanted: Result, commits: list[str]) -> None:
        call(wanted, revision=commits[0], keep=3)  # used again
        planned = call(wanted, revision=commits[2], keep=2, check_mode=True)
        assert (planned["changed"], [path.rpartition("/")[2] for path in planned["removed"]]) == (True, [commits[1]])
        assert revisions(wanted) == set(commits)
        done = call(wanted, revision=commits[2], keep=2)
        assert (done["changed"], done["removed"]) == (True, planned["removed"])
        assert revisions(wanted) == {commits[0], commits[2]}
        assert call(wanted, revision=commits[2], keep=2)["changed"] is False
        assert pathlib.Path(done["path"]).read_bytes() == weights(SHARDS[0])

    def test_what_is_no_revision_stays(self, wanted: Result, commits: list[str]) -> None:
        other = pathlib.Path(wanted["root"], "models", REPO, "backup")
        other.mkdir()
        call(wanted, revision=commits[2], keep=1)
        assert revisions(wanted) == {commits[2], "backup"}

    def test_zero_keeps_all(self, wanted: Result, commits: list[str]) -> None:
        assert call(wanted, revision=commits[2])["removed"] == []
        assert revisions(wanted) == set(commits)

    def test_what_an_instance_uses_stays(self, wanted: Result, commits: list[str]) -> None:
        use(wanted, call(wanted, revision=commits[0])["path"])
        call(wanted, revision=commits[2], keep=1)
        assert revisions(wanted) == {commits[0], commits[2]}

    def test_after_a_download(self, hub: Hub, wanted: Result, commits: list[str]) -> None:
        commit = new_revision(hub)
        assert len(call(wanted, revision=commit, keep=2, plan_only=True)["removed"]) == 2
        done = call(wanted, revision=commit, keep=2)
        assert revisions(wanted) == {commit, commits[2]}
        assert done["downloaded"] == 0  # its files were linked before their revision went
