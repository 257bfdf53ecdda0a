# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.tests.unit.fakes.release_api import ReleaseApi, release_api

if typing.TYPE_CHECKING:
    import pathlib


@pytest.fixture
def old_api(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[ReleaseApi]:
    """Yield a release API with one build, which is also the newest stable version; locks go to a home of the test."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with release_api() as fake:
        fake.nightly("b999", x64=b"old")
        fake.stable("v0.8.0", "b999")
        yield fake
