# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Small releases and generations on a host that has nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store as release_store

if typing.TYPE_CHECKING:
    import pathlib

_HOLD = """
import fcntl, sys
with open(sys.argv[1], "a") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


def publish(root: pathlib.Path, number: int, age: int = 0, **manifest: typing.Any) -> pathlib.Path:
    """Publish the release of build ``number`` below ``root``, ``age`` seconds before some day."""
    fingerprint = f"{number:064x}"[::-1]
    path = release_store.release_path(root, f"b{number}", fingerprint)
    staged = release_store.staging(path)
    (staged / "bin").mkdir(parents=True)
    (staged / "bin" / "llama-server").write_text("program", encoding="utf-8")
    (staged / "bin" / "libggml.so").symlink_to("libggml.so.0")
    written = {"build": f"b{number}", "fingerprint": fingerprint, "backend": "cpu", **manifest}
    release_store.publish(staged, path, {**written, **release_store.describe(staged)})
    os.utime(path / release_store.MANIFEST, (1_800_000_000 - age,) * 2)
    return path


def write_generation(instances: pathlib.Path, instance: str, number: int, release: pathlib.Path) -> pathlib.Path:
    """Write a generation that refers to ``release``, and return the path of its manifest."""
    path = instances / "instances" / instance / "generations" / str(number) / "manifest.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"release": str(release), "command": [f"{release}/bin/llama-server"]}), encoding="utf-8")
    return path


@contextlib.contextmanager
def lock_held(path: pathlib.Path) -> typing.Iterator[None]:
    """Let another process hold the lock file ``path`` meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            process.communicate()


def problem(act: typing.Callable[[], object]) -> str:
    with pytest.raises(ProblemError) as caught:
        act()
    return str(caught.value)
