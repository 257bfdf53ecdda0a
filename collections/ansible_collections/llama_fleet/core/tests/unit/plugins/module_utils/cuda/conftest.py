# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Fixtures of the tests of CUDA: a bare host, which is a folder."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import plan as cuda
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands, files
from ansible_collections.llama_fleet.core.tests.unit.fakes.cuda_wheels import WHEELS, Index

if typing.TYPE_CHECKING:
    import pathlib


@pytest.fixture
def host(tmp_path: pathlib.Path) -> cuda.ToolkitHost:
    """Return a host with a compiler and no toolkit."""
    root = tmp_path / "host"
    (root / "usr/bin").mkdir(parents=True)
    compiler = root / "usr/bin/g++"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    # The compiler is found by its full path and toolkits below the root, so this folder serves as both.
    (root / str(root).lstrip("/")).parent.mkdir(parents=True)
    (root / str(root).lstrip("/")).symlink_to(root)
    return cuda.ToolkitHost(commands.run, "x86_64", (str(root / "usr/bin"),), root)


@pytest.fixture
def plenty_of_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "space_problem", lambda *_arguments: None)


@pytest.fixture
def index() -> typing.Iterator[Index]:
    served = Index(WHEELS)
    yield served
    served.server.shutdown()
    served.server.server_close()
