# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test what is learnt from the release API, and that nothing else of its answers is used."""

from __future__ import annotations

import hashlib
import json
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import Patience
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.published import Published, parse_published
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.plugin_utils.release_api import resolve
from ansible_collections.llama_fleet.core.tests.unit.fakes.release_api import REPOSITORY, ReleaseApi, release_api

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FAST = Patience(seconds=5, total=5, tries=2, backoff=0.01, longest_wait=0.01)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[ReleaseApi]:
    monkeypatch.setenv("no_proxy", "*")
    with release_api() as fake:
        fake.nightly("b999", x64=b"old")
        fake.nightly("b1000", COMMIT, **{"x64": b"programs", "cuda-12.8-x64": b"cuda", "arm64": b"arm"})
        fake.nightly("b998", x64=b"older")
        fake.stable("v0.9.0", "b998")
        fake.stable("v0.10.0", "b999")
        yield fake


def ask(api: ReleaseApi, reference: str) -> Published:
    return resolve(reference, api.api, api.downloads, FAST)


def refused(api: ReleaseApi, reference: str) -> str:
    with pytest.raises(ProblemError) as caught:
        ask(api, reference)
    return str(caught.value)


def test_the_newest_nightly_with_its_commit_and_digests(api: ReleaseApi) -> None:
    sums = {
        f"llama-b1000-bin-ubuntu-{kind}.tar.gz": hashlib.sha256(content).hexdigest()
        for kind, content in (("x64", b"programs"), ("cuda-12.8-x64", b"cuda"), ("arm64", b"arm"))
    }
    assert ask(api, "latest") == Published("b1000", COMMIT, "", sums)
    assert api.asked == [f"{REPOSITORY}/releases?per_page=10", f"{REPOSITORY}/commits/b1000"]


@pytest.mark.parametrize(
    ("reference", "tag", "stable", "requests"),
    [
        ("b999", "b999", "", 2),
        ("stable", "b999", "v0.10.0", 4),
        ("v0.9.0", "b998", "v0.9.0", 4),
    ],
)
def test_a_stable_version_has_the_binaries_of_its_nightly(
    api: ReleaseApi, reference: str, tag: str, stable: str, requests: int
) -> None:
    found = ask(api, reference)
    assert (found.tag, found.stable, found.commit) == (tag, stable, api.commits[tag])
    assert found.build == (stable or tag)
    assert list(found.sums) == [f"llama-{tag}-bin-ubuntu-x64.tar.gz"]
    assert len(api.asked) == requests


def test_a_nightly_whose_binaries_are_not_there_yet_is_passed_over(api: ReleaseApi) -> None:
    api.nightly("b1001")
    api.nightly("b1002", x64=b"draft")
    api.drafts.add("b1002")
    api.nightly("b1003", x64=b"no digest")
    api.without_digest.add("llama-b1003-bin-ubuntu-x64.tar.gz")
    assert ask(api, "latest").tag == "b1000"


def test_what_was_learnt_is_written_and_read(api: ReleaseApi) -> None:
    found = ask(api, "stable")
    assert parse_published(found.to_json()) == found


@pytest.mark.parametrize(
    "changed",
    [
        {"tag": "../b1"},
        {"commit": "abc"},
        {"stable": "v1"},
        {"sums": {"../x.tar.gz": "ab" * 32}},
        {"sums": {"llama-b1000-bin-ubuntu-x64.tar.gz": "ab"}},
    ],
)
def test_what_is_read_has_its_shape(api: ReleaseApi, changed: dict[str, object]) -> None:
    text = json.dumps({**json.loads(ask(api, "latest").to_json()), **changed})
    with pytest.raises(ProblemError, match="expected a published release"):
        parse_published(text)


LATEST = f"{REPOSITORY}/releases?per_page=10"
ASSET = {"name": "llama-b1000-bin-ubuntu-x64.tar.gz", "digest": f"blake3:{'ab' * 32}"}
OTHER_DIGEST = json.dumps([{"tag_name": "b1000", "assets": [ASSET]}]).encode()
TAGS = f"{REPOSITORY}/releases/tags"
TAG = f"{TAGS}/b1000"
FILE = "/ggml-org/llama.cpp/releases/download/v0.10.0/nightly-tag.txt"


@pytest.mark.parametrize(
    ("reference", "path", "answer", "message"),
    [
        ("latest", LATEST, b"[]", "no nightly release with binaries for Linux among the newest 0"),
        ("latest", LATEST, OTHER_DIGEST, "no nightly release with binaries for Linux among the newest 1"),
        ("latest", LATEST, b"<html>", "the answer is not JSON"),
        ("latest", LATEST, b"{}", "the answer is an object, expected a list"),
        ("latest", LATEST, b"[" * 100_000, "the answer is not JSON"),
        ("latest", LATEST, b'[{"tag_name": 7, "assets": []}]', r"tag_name is 7, expected a text"),
        ("latest", LATEST, b'[{"tag_name": "b1"}]', "has no assets"),
        ("latest", LATEST, b" " * (8 << 20) + b"[]", "at most 8388608 accepted"),
        ("b1000", TAG, b'{"tag_name": "b999", "assets": []}', "the release 'b999' for b1000"),
        ("b1000", TAG, b'{"tag_name": "../../b1000", "assets": []}', "the release '../../b1000' for b1000"),
        ("b1000", TAG, b'{"tag_name": "v0.9.0", "assets": []}', r"the release 'v0\.9\.0' for b1000"),
        ("v0.9.0", f"{TAGS}/v0.9.0", b'{"tag_name": "v0.9.0", "assets": []}', "v0.9.0 without a digest of nightly-tag"),
        ("stable", f"{REPOSITORY}/releases/latest", b'{"tag_name": "b1000", "assets": []}', "'b1000' for stable"),
        ("stable", f"{TAGS}/b999", b'{"tag_name": "b1000", "assets": []}', "the release 'b1000' for b999"),
        ("b1000", f"{REPOSITORY}/commits/b1000", b"master", "something else than a commit"),
        ("stable", FILE, b"b1000\n", "expected sha256 [0-9a-f]{64}, as the API says, found sha256 [0-9a-f]{64} from"),
    ],
)
def test_what_is_not_an_answer(api: ReleaseApi, reference: str, path: str, answer: bytes, message: str) -> None:
    api.instead[path] = (200, {}, answer)
    with pytest.raises(ProblemError, match=message) as caught:
        ask(api, reference)
    assert len(str(caught.value)) < 1000


def test_the_asset_of_a_stable_version_names_a_tag(api: ReleaseApi) -> None:
    api.releases["v0.10.0"]["nightly-tag.txt"] = b"../../../evil"
    assert "something else than a tag" in refused(api, "stable")


def test_names_that_are_no_archive_of_the_release_are_left_out(api: ReleaseApi) -> None:
    api.releases["b1000"].update(
        dict.fromkeys(
            (
                "../llama-b1000-bin-ubuntu-x64.tar.gz",
                "llama-b999-bin-ubuntu-x64.tar.gz",
                "llama-b1000-bin-ubuntu-x64.zip",
                "llama-b1000-bin-ubuntu-.tar.gz",
            ),
            b"evil",
        )
    )
    api.releases["b1000"]["cudart-llama-b1000-bin-ubuntu-cuda-12.8-x64.tar.gz"] = b"runtime"
    assert sorted(ask(api, "b1000").sums) == [
        "cudart-llama-b1000-bin-ubuntu-cuda-12.8-x64.tar.gz",
        *(f"llama-b1000-bin-ubuntu-{kind}.tar.gz" for kind in ("arm64", "cuda-12.8-x64", "x64")),
    ]


def test_a_release_that_does_not_exist(api: ReleaseApi) -> None:
    assert "upstream:b7, which is not a release of" in refused(api, "b7")
    assert len(api.asked) == 1


@pytest.mark.parametrize("status", [403, 429])
def test_a_rate_limit_is_told_with_its_reset_and_not_asked_again(api: ReleaseApi, status: int) -> None:
    limits = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1796000400"}
    api.instead[LATEST] = (status, limits, b'{"message": "API rate limit exceeded"}')
    message = refused(api, "latest")
    assert f"HTTP status {status}, and no request left before 2026-11-30 01:00:00 UTC" in message
    assert "upstream:b1234#sha256=" in message
    assert len(api.asked) == 1


@pytest.mark.parametrize("reset", ["", "9" * 18, "-1", "soon"])
def test_a_reset_that_is_no_time_is_not_shown(api: ReleaseApi, reset: str) -> None:
    api.instead[LATEST] = (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}, b"")
    assert "HTTP status 403" in refused(api, "latest")


def test_a_temporary_error_is_tried_again_only_a_few_times(api: ReleaseApi) -> None:
    api.instead[LATEST] = (502, {}, b"")
    assert "HTTP status 502" in refused(api, "latest")
    assert len(api.asked) == 2


@pytest.mark.parametrize(
    ("reference", "path", "answer"),
    [
        ("latest", LATEST, (200, {}, b"{}")),
        ("latest", LATEST, (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1796000400"}, b"")),
        ("latest", LATEST, (500, {}, b"")),
        ("b7", "", (404, {}, b"")),
        ("stable", FILE, (200, {}, b"b1000")),
        ("b1000", f"{REPOSITORY}/commits/b1000", (200, {}, b"master")),
    ],
)
def test_the_login_of_a_mirror_is_in_no_message(
    api: ReleaseApi, reference: str, path: str, answer: tuple[int, dict[str, str], bytes]
) -> None:
    api.instead[path] = answer
    places = (place.replace("://", "://user:s3cr3t@") for place in (api.api, api.downloads))
    with pytest.raises(ProblemError) as caught:
        resolve(reference, *places, Patience(seconds=5, total=5, tries=1))
    assert "s3cr3t" not in str(caught.value)
