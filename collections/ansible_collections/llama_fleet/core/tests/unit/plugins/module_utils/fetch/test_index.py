# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.index import IndexFile, find_file, index_url
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import Package
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

if typing.TYPE_CHECKING:
    import pathlib


def test_an_index_tells_where_a_file_is(server: str) -> None:
    found = find_file(f"{server}/index", Package("Demo.Package", "1.1.0"), ".tar.gz", "v")
    assert found == IndexFile("demo_package-1.1.0.tar.gz", f"{server}/index/files/b", "bb" * 32, 6)
    assert find_file(f"{server}/index/", Package("demo-package", "1.1.0"), ".whl", "v").sha256 == "cc" * 32


@pytest.mark.parametrize(
    ("index", "package", "message"),
    [
        (
            "index",
            Package("demo-package", "9"),
            "v: expected .* \\(1.0.0, 1.1.0, 1.10.0\\), found demo-package==9, which has no .tar.gz file .*",
        ),
        ("index", Package("other", "9"), "v: expected .*, found the project other, which .* does not have"),
        ("html", Package("demo-package", "1.1.0"), "package index: expected .*, found an answer .* not JSON"),
    ],
)
def test_an_index_without_the_file(server: str, index: str, package: Package, message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        find_file(f"{server}/{index}", package, ".tar.gz", "v")


def test_the_index_is_the_one_given_else_the_one_pip_uses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.delenv("PIP_CONFIG_FILE", raising=False)
    machine, user = tmp_path / "machine.conf", tmp_path / "user.conf"
    files = [str(machine), str(user)]
    assert index_url("", files) == "https://pypi.org/simple"
    machine.write_text("[global]\nindex-url = https://machine/%20simple\n")
    assert index_url("", files) == "https://machine/%20simple"
    user.write_text("[global]\nindex-url = https://user/simple\n")
    assert index_url("", files) == "https://user/simple"
    monkeypatch.setenv("PIP_INDEX_URL", "https://environment/simple")
    assert index_url("", files) == "https://environment/simple"
    assert index_url("https://given/simple", files) == "https://given/simple"


def test_a_broken_pip_configuration_is_left_to_pip(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    (tmp_path / "pip.conf").write_text("no section\n")
    assert index_url("", [str(tmp_path / "pip.conf")]) == "https://pypi.org/simple"
