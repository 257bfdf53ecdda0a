# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Serve a git remote of llama.cpp, made of a source distribution, with build tags to follow, over git's protocol."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tarfile
import time
import typing

from ansible_collections.llama_fleet.core.tests.unit.module_runs import free_port

if typing.TYPE_CHECKING:
    import pathlib

# Fixed, so that every run makes the same commits.
WHO = {"NAME": "Test", "EMAIL": "test@example.org", "DATE": "2026-01-01T00:00:00Z"}
AUTHOR = {f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in WHO.items()}
# What a release is made from; the rest of the tree is large.
PARTS = (
    "CMakeLists.txt",
    "LICENSE",
    "app",
    "cmake",
    "common",
    "ggml",
    "include",
    "licenses",
    "scripts",
    "src",
    "tools",
    "vendor",
)


class Remote:
    """A git remote; ``tag`` adds a commit and its tag, ``url`` answers until it is stopped."""

    def __init__(self, folder: pathlib.Path, archive: pathlib.Path) -> None:
        self._tree = folder / "llama.cpp"
        self._port = 0
        self._daemon: subprocess.Popen[bytes] | None = None
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        (unpacked,) = folder.glob("*/llama.cpp")
        self._tree.mkdir()
        for name in PARTS:
            shutil.move(unpacked / name, self._tree / name)
        shutil.rmtree(unpacked.parent)
        self._git("init", "--quiet")

    @property
    def url(self) -> str:
        return f"git://127.0.0.1:{self._port}/llama.cpp"

    def tag(self, name: str, change: str = "", file: str = "src/llama.cpp") -> str:
        """Commit the tree with ``change`` appended to ``file`` and tag it; return the commit."""
        with (self._tree / file).open("a", encoding="utf-8") as opened:
            opened.write(change)
        self._git("add", "--all", "--force")
        self._git("commit", "--quiet", "--allow-empty", "--message", name)
        self._git("tag", name)
        return self._git("rev-parse", "HEAD").strip()

    def untag(self, name: str) -> None:
        self._git("tag", "--delete", name)
        self._git("reset", "--quiet", "--hard", "HEAD~1")

    def __enter__(self) -> typing.Self:
        if not self._port:
            self._port = free_port()
        words = [
            "git",
            "daemon",
            "--export-all",
            "--reuseaddr",
            "--listen=127.0.0.1",
            f"--port={self._port}",
            f"--base-path={self._tree.parent}",
        ]
        self._daemon = subprocess.Popen(
            [*words, "--informative-errors", str(self._tree.parent)], stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return self
            time.sleep(0.05)
        raise TimeoutError(self.url)

    def __exit__(self, *error: object) -> None:
        if self._daemon:
            self._daemon.terminate()
            self._daemon.wait(60)
            self._daemon = None

    def _git(self, *words: str) -> str:
        environment = {**os.environ, **AUTHOR, "GIT_CONFIG_GLOBAL": os.devnull}
        return subprocess.run(
            ["git", "-C", str(self._tree), *words], stdout=subprocess.PIPE, text=True, check=True, env=environment
        ).stdout
