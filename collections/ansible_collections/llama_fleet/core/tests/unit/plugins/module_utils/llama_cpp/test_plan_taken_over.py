# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test that a run takes over its own plan where it holds, and asks no server and probes no compiler twice."""

from __future__ import annotations

import hashlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.index import IndexFile
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import archive as llama_cpp_archive
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import plan as llama_cpp_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import probes
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.faults import AMX_SHIM, Cure
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.make import place_of
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.plan import make_plan, plan_again
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import compiler
from ansible_collections.llama_fleet.core.plugins.plugin_utils.published_binaries import known_of
from ansible_collections.llama_fleet.core.tests.unit.fakes.compilers import (
    READY,
    URL,
    Compilers,
    WithStable,
    request_of,
    result,
)

if typing.TYPE_CHECKING:
    import pathlib


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the host a compiler and the right to install packages."""
    monkeypatch.setattr(compiler, "observe", lambda *_needs: READY)
    monkeypatch.setattr(compiler, "can_install", lambda: True)
    monkeypatch.setattr(llama_cpp_plan, "BUILD_SPACE", {"cpu": 0, "cuda": 0})


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count the probes of compilers, which find one fault."""
    asked: list[str] = []

    def find(compiler: str, *_more: object) -> list[Cure]:
        asked.append(compiler)
        return [AMX_SHIM]

    monkeypatch.setattr(probes, "find_cures", find)
    return asked


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("version", ["", "b77", "stable", "latest"])
def test_a_plan_that_is_taken_over_asks_and_probes_nothing(
    tmp_path: pathlib.Path, probed: list[str], version: str
) -> None:
    run = WithStable()
    given = {"source": f"git+{URL}", "version": version, "root": str(tmp_path / "root"), "cache": ["/nonexistent"]}
    first = make_plan(request_of(**given), run)
    second = make_plan(request_of(**given, known=known_of(result(first))), run)
    names = ("revision", "parts", "fingerprint", "path", "would_compile", "install")
    assert [getattr(second, name) for name in names] == [getattr(first, name) for name in names]
    assert (second.would_compile, second.parts["cures"]) == (True, [AMX_SHIM.name])
    assert len(probed) == sum("ls-remote" in command for command in run.commands) == 1
    assert (len(first.warnings), second.warnings) == (1, ()), "the cache is not asked again"


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    "changed",
    [
        {"cures": ["../../x"]},
        {"cures": "amx-shim"},
        {"compiler": "gcc version 13"},
        {"source": "f" * 40},
        {"cmake_options": {"CMAKE_CXX_FLAGS": "-fplugin=/tmp/x"}},
        {"more": 1},
    ],
)
def test_a_plan_that_does_not_hold_is_made_again(
    tmp_path: pathlib.Path, probed: list[str], changed: dict[str, typing.Any]
) -> None:
    run = Compilers()
    given = {"source": f"git+{URL}", "root": str(tmp_path / "root")}
    first = make_plan(request_of(**given), run)
    known = known_of({**result(first), "fingerprint_parts": {**first.parts, **changed}})
    second = make_plan(request_of(**given, known=known), run)
    assert (second.parts, second.path, len(probed)) == (first.parts, first.path, 2)


@pytest.mark.usefixtures("host", "probed")
def test_the_index_of_an_archive_is_asked_once_in_a_run(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = hashlib.sha256(b"source").hexdigest()
    asked: list[str] = []

    def find(index: str, *_more: object) -> IndexFile:
        asked.append(index)
        return IndexFile("x-77.tar.gz", "https://files/x-77.tar.gz", source, 6, index)

    monkeypatch.setattr(llama_cpp_archive.package_index, "find_file", find)
    given = {"source": f"pypi:x==77#sha256={source}", "root": str(tmp_path), "index_url": "https://index"}
    first = make_plan(request_of(**given), Compilers())
    request = request_of(**given)
    assert place_of(request, first) == ("https://files/x-77.tar.gz", 6)
    known = known_of({**result(first), "archive": {"url": "https://files/x-77.tar.gz", "size": 6}})
    request = request_of(**given, known=known)
    second = make_plan(request, Compilers())
    assert (second.would_compile, place_of(request, second)) == (True, ("https://files/x-77.tar.gz", 6))
    assert plan_again(request_of(**given), first, Compilers()).listed == first.listed
    assert asked == ["https://index"]
