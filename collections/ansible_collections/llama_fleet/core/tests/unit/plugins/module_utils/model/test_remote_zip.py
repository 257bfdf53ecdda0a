# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import io
import zipfile

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import ListedFile
from ansible_collections.llama_fleet.core.plugins.module_utils.model import remote_zip
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

FILES = {"demo/a.gguf": bytes(300_000), "demo/b.txt": b"x"}


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        for name, content in FILES.items():
            made.writestr(name, content)
    return stream.getvalue()


def served(monkeypatch: pytest.MonkeyPatch, data: bytes, ranges: bool = True) -> list[tuple[int, int]]:
    """Have a server answer with ``data``; return the ranges of bytes that it is asked for."""
    asked: list[tuple[int, int]] = []

    def read_range(_url: str, begin: int, end: int, *_more: object) -> bytes | None:
        asked.append((begin, end))
        return data[begin:end] if ranges else None

    monkeypatch.setattr(remote_zip, "read_range", read_range)
    return asked


def members(data: bytes) -> list[ListedFile] | None:
    listed = remote_zip.listing("https://host/x.whl", len(data), "v")
    return listed.files if listed else None


def test_a_member_is_read_by_ranges_until_the_server_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    data = archive()
    served(monkeypatch, data)
    listed = remote_zip.listing("https://host/x.whl", len(data), "v")
    assert listed
    for file in listed.files:
        read = listed.reader(file)
        assert read(0, 4) == FILES[file.path][:4]
        assert read(2, file.size) == FILES[file.path][2:]
    served(monkeypatch, data, False)
    with pytest.raises(ProblemError, match="expected an archive that can be read by ranges"):
        listed.reader(listed.files[0])(0, 1 << 30)


def test_the_members_are_known_by_the_end_of_the_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    data = archive()
    asked = served(monkeypatch, data)
    assert members(data) == [ListedFile(name, len(content)) for name, content in FILES.items()]
    assert sum(end - begin for begin, end in asked) < len(data) // 2
    assert all(0 <= begin < end <= len(data) for begin, end in asked)


@pytest.mark.parametrize(
    ("data", "ranges"), [(archive(), False), (archive()[:-30], True), (b"<html>", True), (b"", True)]
)
def test_without_ranges_or_an_archive_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, data: bytes, ranges: bool
) -> None:
    served(monkeypatch, data, ranges)
    assert members(data) is None


def test_an_archive_that_wants_a_request_for_each_byte_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    data = archive()
    asked = served(monkeypatch, data)
    monkeypatch.setattr(remote_zip, "_BUFFER", 16)
    monkeypatch.setattr(remote_zip, "_MOST_REQUESTS", 3)
    assert members(data) is None
    assert len(asked) == 3
