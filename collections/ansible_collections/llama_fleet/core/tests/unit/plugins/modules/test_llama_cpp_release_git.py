# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The module llama_cpp_release with a git repository as its source."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from ansible_collections.llama_fleet.core.tests.unit.fakes import llama_cpp as fake_llama_cpp
from ansible_collections.llama_fleet.core.tests.unit.fakes.build_host import NEEDS_BUILD, Host

if TYPE_CHECKING:
    import pathlib

pytestmark = NEEDS_BUILD


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Host:
    return Host(tmp_path)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git on PATH")
class TestGit:
    @pytest.fixture
    def repository(self, tmp_path: pathlib.Path) -> pathlib.Path:
        folder = tmp_path / "repository"
        fake_llama_cpp.write_project(folder)
        self.git(folder, "init", "--quiet", "--initial-branch=master")
        for tag in ("b999", "b1203", "v9.0.0"):
            (folder / "version").write_text(tag, encoding="utf-8")
            self.git(folder, "add", ".")
            self.git(folder, "-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "--quiet", "-m", tag)
            self.git(folder, "tag", tag)
        return folder

    @staticmethod
    def git(folder: pathlib.Path, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=folder, check=True, capture_output=True, encoding="utf-8"
        ).stdout.strip()

    def test_latest_is_the_highest_build_and_recorded_as_a_commit(self, host: Host, repository: pathlib.Path) -> None:
        made = host.run(source=f"git+file://{repository}")
        assert (made["build"], made["commit"]) == ("b1203", self.git(repository, "rev-parse", "b1203"))
        options = made["fingerprint_parts"]["cmake_options"]
        assert (options["LLAMA_BUILD_NUMBER"], options["LLAMA_BUILD_COMMIT"]) == ("1203", made["commit"][:9])
        assert host.run(source=f"git+file://{repository}", version="latest")["changed"] is False

    def test_a_pinned_commit_needs_its_repository_once(self, host: Host, repository: pathlib.Path) -> None:
        commit = self.git(repository, "rev-parse", "b999")
        made = host.run(source=f"git+file://{repository}", version=commit)
        assert (made["build"], made["compiled"]) == (commit[:9], True)
        repository.rename(repository.with_name("gone"))
        assert host.run(source=f"git+file://{repository}", version=commit)["changed"] is False
        rebuilt = host.run(source=f"git+file://{repository}", version=commit, cmake_options={"GGML_LTO": True})
        assert rebuilt["compiled"] is True

    def test_an_unknown_tag_is_told_with_its_neighbours(self, host: Host, repository: pathlib.Path) -> None:
        failed = host.run(source=f"git+file://{repository}", version="b1204")
        assert re.search(r"^llama_cpp_version: expected .*, found 'b1204'", failed["msg"], re.MULTILINE)
        assert "such as b1203" in failed["msg"]

    def test_an_unreachable_repository_is_told(self, host: Host, tmp_path: pathlib.Path) -> None:
        failed = host.run(source=f"git+file://{tmp_path}/nowhere")
        assert failed["problems"][0]["subject"] == "llama_cpp_source"
