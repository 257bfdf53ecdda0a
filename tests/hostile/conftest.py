# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Fixtures of the tests of hostile surroundings."""

from __future__ import annotations

import typing

import pytest

from tests.hub import Hub

if typing.TYPE_CHECKING:
    import pathlib


@pytest.fixture
def hub(tmp_path: pathlib.Path) -> typing.Iterator[Hub]:
    """Yield a Hub and package index over an empty folder; a test sets its ``faults``."""
    with Hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def outside(tmp_path: pathlib.Path) -> typing.Iterator[pathlib.Path]:
    """Yield a folder that no code under test may touch, and assert that at the end of the test."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_text("untouched", encoding="utf-8")
    before = _listing(folder)
    yield folder
    assert _listing(folder) == before


def _listing(folder: pathlib.Path) -> list[tuple[str, int, int, bytes]]:
    """Name, mode, time of the last change (nanoseconds) and content of each file below ``folder``."""
    found = [(path, path.lstat()) for path in sorted(folder.rglob("*"))]
    return [
        (str(path), status.st_mode, status.st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path, status in found
    ]
