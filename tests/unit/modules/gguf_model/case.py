# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Helpers of the tests of the module gguf_model: call it in this process or in its own, and list what it leaves."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import random
import subprocess
import sys
import time
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.model.stage import stage
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Content
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.store import Store
from ansible_collections.llama_fleet.core.plugins.modules import gguf_model
from ansible_collections.llama_fleet.core.tests.unit.at_the_door import admitted

if typing.TYPE_CHECKING:
    from tests.hub import Hub

Result = dict[str, typing.Any]
REPO = "owner/SmolLM-GGUF"
SHARDS = [f"SmolLM-Q4_K_M-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
TOKEN = "hf_alice"  # of the test hub
SIZE = 900_000
HEADER = 1 << 16  # bytes that are read of the chosen file to see what it is


@dataclasses.dataclass
class Module:
    """The part of AnsibleModule that the module uses."""

    params: dict[str, typing.Any]
    check_mode: bool = False


def weights(name: str, size: int = SIZE) -> bytes:
    return b"GGUF" + random.Random(name).randbytes(size - 4)


def call(wanted: Result, check_mode: bool = False, **changes: object) -> Result:
    return admitted("gguf_model", stage(typing.cast("typing.Any", Module({**wanted, **changes}, check_mode))))


def problem(wanted: Result, **changes: typing.Any) -> str:
    with pytest.raises(ProblemError) as caught:
        call(wanted, **changes)
    return str(caught.value)


def tree(folder: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in pathlib.Path(folder).rglob("*")}


def requests_during(hub: Hub, act: typing.Callable[[], object]) -> int:
    before = len(hub.settle())
    act()
    return len(hub.settle()) - before


def start(wanted: Result) -> subprocess.Popen[str]:
    """Start the module as Ansible does: a process of its own that reads its arguments from stdin."""
    process = subprocess.Popen(
        [sys.executable, gguf_model.__file__],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    stdin = typing.cast("typing.IO[str]", process.stdin)
    stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": wanted}))
    stdin.close()
    process.stdin = None
    return process


def wait_for(condition: typing.Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def use(wanted: Result, path: str, instance: str = "default") -> None:
    """Write a generation of an instance that serves the model at ``path``."""
    nothing: dict[str, str] = {}
    Store(pathlib.Path(wanted["instances"]) / "instances" / instance).write(
        Content("exec", "", "", path, 1, nothing, nothing, ())
    )


def new_revision(hub: Hub, name: str = "README.md", content: bytes = b"new") -> str:
    """Change the repository; returns its commit then."""
    (hub.root / "repos" / REPO / name).write_bytes(content)
    return hub.repos.commit(REPO)


def states(folder: str) -> dict[str, tuple[int, int]]:
    """Return the inode and the time of change in ns of each path, which a run without changes keeps."""
    return {
        str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns)
        for path in [pathlib.Path(folder), *pathlib.Path(folder).rglob("*")]
    }


class Watch:
    """Python's file operations from its audit events: their names with their first path."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.on = False
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.on and arguments and isinstance(arguments[0], (str, os.PathLike)):
            self.events.append((event, os.fspath(arguments[0])))


_WATCH = Watch()  # an audit hook cannot be taken off again


@contextlib.contextmanager
def watched() -> typing.Iterator[list[tuple[str, str]]]:
    """Yield the list of events, which grows meanwhile."""
    _WATCH.events.clear()
    _WATCH.on = True
    try:
        yield _WATCH.events
    finally:
        _WATCH.on = False
