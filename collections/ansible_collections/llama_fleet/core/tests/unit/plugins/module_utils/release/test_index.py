# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.release import index

OLD = index.Entry("b1-0c", "0c" * 32, 7, "f1", {"backend": "cpu", "cmake_options": {"GGML_LTO": "ON"}}, True, 1)
NEW = index.Entry("b2-0c", "0d" * 32, 8, "f2", {"backend": "cuda"}, False, 2)


def text_of(**changes: typing.Any) -> str:
    entry = {**index.render([OLD])["releases"][OLD.name], **changes}
    return json.dumps({"format": 1, "releases": {OLD.name: entry}})


def test_what_is_rendered_is_parsed_the_newest_first() -> None:
    assert index.parse(json.dumps(index.render([OLD, NEW]))) == [NEW, OLD]
    assert (NEW.file, OLD.file) == ("b2-0c.tar.gz", "b1-0c.tar.gz")


def test_an_index_of_an_earlier_version_lists_archives_in_zstd() -> None:
    entry = index.render([OLD])["releases"][OLD.name]
    del entry["suffix"]
    (found,) = index.parse(json.dumps({"format": 1, "releases": {OLD.name: entry}}))
    assert (found.file, found.sha256) == ("b1-0c.tar.zst", OLD.sha256)


@pytest.mark.parametrize(
    ("file", "name"),
    [("b1-0c.tar.gz", "b1-0c"), ("b1-0c.tar.zst", "b1-0c"), ("b1-0c.tar", ""), ("b1-0c", ""), ("b1-0c.tar.gz.sig", "")],
)
def test_the_name_in_a_file_name(file: str, name: str) -> None:
    assert index.without_suffix(file) == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<html>", "a file that is not JSON"),
        ("[]", "JSON, but no index of packed releases"),
        ('{"format": 2, "releases": {}}', "an index of format 2, where this version of llama-fleet reads 1"),
        (text_of(sha256="../x"), "an index in which releases.b1-0c.sha256 is '../x'"),
        (text_of(size=0), "an index in which releases.b1-0c.size is 0"),
        (text_of(suffix=".tar.zst/../x"), "an index in which releases.b1-0c.suffix is '.tar.zst/../x'"),
        (text_of(signed=1), "an index in which releases.b1-0c.signed is"),
        (text_of().replace("b1-0c", "../b1"), "an index in which "),
    ],
)
def test_what_is_no_index_is_told(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        index.parse(text)


@pytest.mark.parametrize(
    ("name", "right"), [("b1-0c", True), (".b1", False), ("a/b", False), ("-b", False), ("", False)]
)
def test_names_that_become_paths(name: str, right: bool) -> None:
    assert index.is_name(name) is right
