# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import subprocess
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import git
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner
from ansible_collections.llama_fleet.core.tests.unit.fakes.site_network import leave_network

if typing.TYPE_CHECKING:
    import pathlib

BAD = commands.Result(128, "", "\nfatal: repository not found\n")


@pytest.fixture(autouse=True)
def no_network_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_network(monkeypatch)


@pytest.fixture
def repository(tmp_path: pathlib.Path) -> str:
    """Return the address of a repository with one commit, which the tag b1 names."""
    folder = tmp_path / "origin"
    author = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    (folder / "a file").write_text("right", encoding="utf-8")
    for arguments in (("add", "."), (*author, "commit", "--quiet", "--message", "x"), ("tag", "b1")):
        subprocess.run(["git", "-C", str(folder), *arguments], check=True)
    return f"file://{folder}"


def test_a_commit_is_fetched_once_and_checked_out_as_often_as_it_is_asked_for(
    tmp_path: pathlib.Path, repository: str
) -> None:
    commit = git.list_tags(repository, "v", commands.run).split()[0]
    root = tmp_path / "root"
    git.check_out(root, repository, commit, tmp_path / "first", "v", commands.run)
    assert (tmp_path / "first/a file").read_text(encoding="utf-8") == "right"
    verbs: list[str] = []

    def run(command: typing.Sequence[str], **settings: typing.Any) -> commands.Result:
        verbs.append(command[3])
        return commands.run(command, **settings)

    git.check_out(root, repository, commit, tmp_path / "second", "v", run)
    assert verbs == ["cat-file", "--work-tree"]
    assert sorted(path.name for path in (tmp_path / "second").iterdir()) == ["a file"]
    assert git.mirror(root, repository).is_dir()
    assert git.mirror(root, repository) != git.mirror(root, f"{repository}2")


def test_what_git_says_is_told_and_it_is_never_asked_a_question() -> None:
    run = FakeRunner(BAD)
    with pytest.raises(ProblemError, match=r"^v: expected .+, found 'fatal: repository not found' from git for u"):
        git.list_tags("u", "v", run)
    assert run.environments == [{"GIT_TERMINAL_PROMPT": "0"}]


def test_an_old_server_that_hands_out_no_single_commit_is_asked_for_all(tmp_path: pathlib.Path) -> None:
    good = commands.Result(0, "", "")
    run = FakeRunner(BAD, good, BAD)
    git.check_out(tmp_path, "u", "c0ffee", tmp_path / "target", "v", run)
    verbs = [command[3] if command[1] == "--git-dir" else command[1] for command in run.commands]
    assert verbs == ["cat-file", "init", "fetch", "fetch", "update-ref", "--work-tree"]
    failing = FakeRunner(BAD, good, BAD, good, BAD)
    with pytest.raises(ProblemError, match="for u, commit c0ffee"):
        git.check_out(tmp_path, "u", "c0ffee", tmp_path / "other", "v", failing)
