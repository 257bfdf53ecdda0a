# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The module gguf_info against the test hub over real HTTP."""

from __future__ import annotations

import dataclasses
import pathlib
import re

import pytest

from tests.hub import Fault, Hub
from tests.unit.modules.gguf_info.case import SHARDS, TOKEN, WHOLE, call, problem, shard


@pytest.mark.parametrize("name", [WHOLE, SHARDS[0]])
def test_by_url_it_says_the_same_and_fetches_a_megabyte_a_file(hub: Hub, models: pathlib.Path, name: str) -> None:
    with (hub.root / "repos" / "owner" / "open" / name).open("ab") as file:
        file.truncate(50 << 20)  # bytes behind the last tensor, as large as a model's
    (models / name).write_bytes((hub.root / "repos" / "owner" / "open" / name).read_bytes())
    local, remote = call(models, path=str(models / name)), call(models, url=f"{hub.url}/owner/open/resolve/main/{name}")
    assert {**remote, "files": []} == {**local, "files": []}
    assert [file["name"] for file in remote["files"]] == [
        f"{hub.url}/owner/open/resolve/main/{pathlib.Path(file['name']).name}" for file in local["files"]
    ]
    assert [entry.origin for entry in hub.settle()].count("storage") == len(local["files"])
    assert hub.sent < 3 << 20


def test_a_server_without_ranges_is_read_from_the_beginning(hub: Hub, models: pathlib.Path) -> None:
    hub.faults["large.gguf"] = Fault(ranges=False)
    content = shard(1, 1, vocabulary=150_000)  # two and a half megabytes
    (hub.root / "repos" / "owner" / "open" / "large.gguf").write_bytes(content)
    result = call(models, url=f"{hub.url}/owner/open/resolve/main/large.gguf")
    assert (result["size"], result["context_trained"], result["parameters"]) == (len(content), 2048, 64)
    assert [entry.status for entry in hub.settle() if entry.origin == "storage"] == [200, 200, 200]


@pytest.mark.parametrize(
    ("fault", "waits"),
    [
        (Fault(status=502, times=2), [0.25, 0.5]),
        (Fault(status=429, retry_after="7"), [7.0]),
        (Fault(cut_at=100, cuts=2), [0.25, 0.5]),
        (Fault(reset_at=0), [0.25]),
        (Fault(status=403, where="storage"), [0.25]),
    ],
)
def test_what_passes_is_waited_for(
    hub: Hub, models: pathlib.Path, pauses: list[float], fault: Fault, waits: list[float]
) -> None:
    hub.faults[WHOLE] = dataclasses.replace(fault)
    assert call(models, url=f"{hub.url}/owner/open/resolve/main/{WHOLE}")["architecture"] == "llama"
    assert pauses == waits


def test_what_does_not_pass_is_given_up(hub: Hub, models: pathlib.Path, pauses: list[float]) -> None:
    hub.faults[WHOLE] = Fault(status=502, times=99)
    url = f"{hub.url}/owner/open/resolve/main/{WHOLE}"
    assert problem(models, url=url).startswith(
        f"url: expected a file or index that can be read, found HTTP status 502 from {url}"
    )
    assert len(pauses) == 4
    pauses.clear()
    assert "HTTP status 404" in problem(models, url=f"{url}.gguf")
    assert pauses == []


def test_the_token_opens_a_gated_model_and_stays_with_its_origin(hub: Hub, models: pathlib.Path) -> None:
    url = f"{hub.url}/owner/gated/resolve/main/{WHOLE}"
    assert call(models, url=url, token=TOKEN)["architecture"] == "llama"
    assert {(entry.origin, entry.authorized) for entry in hub.settle()} == {("front", True), ("storage", False)}
    fix = "Fix: Give the token of an account that was granted access."
    assert problem(models, url=url) == (
        f"url: expected a readable file, found HTTP status 401 from {url} with no token. {fix}"
    )
    assert problem(models, url=url, token="hf_bob") == (
        f"url: expected a readable file, found HTTP status 403 from {url} with the token that was given. {fix}"
    )
    bad = problem(models, url=url, token="two words")
    assert bad.startswith("token: expected an access token as the Hub shows it, found characters that no token has")
    assert "two words" not in bad


def test_what_is_no_model_at_the_url_is_told(hub: Hub, models: pathlib.Path) -> None:
    folder = hub.root / "repos" / "owner" / "open"
    base = f"{hub.url}/owner/open/resolve/main"
    hub.faults[WHOLE] = Fault(html=True)
    assert (
        f"url: expected a GGUF file, found an HTML or XML page (a login or error page, perhaps) at {base}/{WHOLE}."
        in problem(models, url=f"{base}/{WHOLE}")
    )
    (folder / "pointer.gguf").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", encoding="ascii")
    assert "url: expected a GGUF file, found a Git LFS pointer instead of the file" in problem(
        models, url=f"{base}/pointer.gguf"
    )
    (folder / "empty.gguf").write_bytes(b"")
    assert f"url: expected a GGUF file, found an empty file at {base}/empty.gguf" in problem(
        models, url=f"{base}/empty.gguf"
    )
    (folder / "cut.gguf").write_bytes((models / WHOLE).read_bytes()[:-100])
    assert "url: expected a whole GGUF file, found " in problem(models, url=f"{base}/cut.gguf")
    assert problem(models, url=f"{base}/absent.gguf").startswith(
        "url: expected a file or index that can be read, found HTTP status 404 (EntryNotFound) from "
        f"{base}/absent.gguf."
    )
    (folder / SHARDS[2]).unlink()
    assert f"HTTP status 404 (EntryNotFound) from {base}/{SHARDS[2]}" in problem(models, url=f"{base}/{SHARDS[0]}")
    hub.faults[SHARDS[0]] = Fault(cut_at=100, cuts=99)
    message = problem(models, url=f"{base}/{SHARDS[0]}")
    assert re.match("url: expected .+, found ", message)
    assert f"{base}/{SHARDS[0]}" in message


def test_a_query_is_asked_with_and_never_shown(hub: Hub, models: pathlib.Path) -> None:
    url = f"{hub.url}/owner/open/resolve/main/{WHOLE}"
    result = call(models, url=f"{url}?download=true&signature=s3cret")
    assert result["files"][0]["name"] == url
    assert [entry.path for entry in hub.settle() if entry.origin == "front"] == [
        f"{url.removeprefix(hub.url)}?download=true&signature=s3cret"
    ]
    assert "s3cret" not in problem(models, url=f"{hub.url}/owner/open/resolve/main/absent.gguf?signature=s3cret")
