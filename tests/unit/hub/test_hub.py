# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The test hub speaks the Hub's protocol: its own client and pip say so."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import typing
import urllib.error
import urllib.request
import zipfile

import huggingface_hub
import pytest

from tests.hub import Fault, Hub

REPO = "owner/model"
WEIGHTS = b"GGUF" + bytes(range(256)) * 1000


@pytest.fixture
def hub(tmp_path: pathlib.Path) -> typing.Iterator[Hub]:
    for repo in (REPO, "owner/gated"):
        (tmp_path / "repos" / repo / "sub").mkdir(parents=True)
        (tmp_path / "repos" / repo / "sub" / "a-Q8_0.gguf").write_bytes(WEIGHTS)
        (tmp_path / "repos" / repo / "README.md").write_text("hello\n", encoding="utf-8")
    (tmp_path / "repos" / "owner" / "gated" / ".hub.json").write_text(
        '{"gated": true, "granted": ["alice"]}', encoding="utf-8"
    )
    (tmp_path / "accounts.json").write_text('{"hf_alice": "alice", "hf_bob": "bob"}', encoding="utf-8")
    with Hub(tmp_path) as hub:
        yield hub


def test_the_real_client_reads_a_repository(hub: Hub) -> None:
    api = huggingface_hub.HfApi(endpoint=hub.url, token=False)
    info = api.model_info(REPO)
    assert info.sha == hub.repos.commit(REPO)
    tree = {entry.path: entry for entry in api.list_repo_tree(REPO, recursive=True, revision=info.sha)}
    assert set(tree) == {"README.md", "sub", "sub/a-Q8_0.gguf"}
    weights = typing.cast("typing.Any", tree["sub/a-Q8_0.gguf"])
    url = huggingface_hub.hf_hub_url(REPO, "sub/a-Q8_0.gguf", endpoint=hub.url)
    metadata = huggingface_hub.get_hf_file_metadata(url, token=False)
    assert (metadata.etag, metadata.size, metadata.commit_hash) == (weights.lfs.sha256, len(WEIGHTS), info.sha)
    assert f":{hub.storage_port}/" in metadata.location


@pytest.mark.parametrize("path", ["README.md", "sub/a-Q8_0.gguf"])
def test_the_real_client_downloads(hub: Hub, tmp_path: pathlib.Path, path: str) -> None:
    found = huggingface_hub.hf_hub_download(REPO, path, endpoint=hub.url, cache_dir=tmp_path / "cache", token=False)
    assert pathlib.Path(found).read_bytes() == (tmp_path / "repos" / REPO / path).read_bytes()


@pytest.mark.parametrize(
    ("token", "repo", "revision", "error", "status"),
    [
        (False, "owner/none", "main", "RepositoryNotFoundError", 401),
        ("hf_bob", "owner/none", "main", "RepositoryNotFoundError", 404),
        (False, REPO, "nope", "RevisionNotFoundError", 404),
        (False, "owner/gated", "main", "GatedRepoError", 401),
        ("hf_bob", "owner/gated", "main", "GatedRepoError", 403),
        ("hf_nobody", REPO, "main", "HfHubHTTPError", 401),
    ],
)
def test_the_real_client_knows_each_refusal(
    hub: Hub, token: str | bool, repo: str, revision: str, error: str, status: int
) -> None:
    url = huggingface_hub.hf_hub_url(repo, "sub/a-Q8_0.gguf", revision=revision, endpoint=hub.url)
    with pytest.raises(huggingface_hub.errors.HfHubHTTPError) as caught:
        huggingface_hub.get_hf_file_metadata(url, token=token)
    assert (type(caught.value).__name__, caught.value.response.status_code) == (error, status)


def test_the_storage_refuses_authorization(hub: Hub) -> None:
    (weights,) = [file for file in hub.repos.files(REPO) if file.lfs]
    request = urllib.request.Request(
        f"http://{hub.host}:{hub.storage_port}/{weights.sha256}", headers={"Authorization": "Bearer x"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    assert caught.value.code == 400
    caught.value.close()


def test_ranges_and_faults(hub: Hub, tmp_path: pathlib.Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "plain").write_bytes(WEIGHTS)
    request = urllib.request.Request(f"{hub.url}/files/plain", headers={"Range": "bytes=4-7"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert (answer.status, answer.read()) == (206, WEIGHTS[4:8])
        assert answer.headers["Content-Range"] == f"bytes 4-7/{len(WEIGHTS)}"
    hub.faults["plain"] = Fault(flip_at=5, ranges=False)
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
        body = answer.read()
    assert [index for index, (got, sent) in enumerate(zip(body, WEIGHTS, strict=True)) if got != sent] == [5]
    assert hub.sent == 4 + len(WEIGHTS)


@pytest.mark.parametrize("accept", ["application/vnd.pypi.simple.v1+json", "text/html"])
def test_index_in_both_forms(hub: Hub, tmp_path: pathlib.Path, accept: str) -> None:
    wheel(tmp_path / "simple")
    with urllib.request.urlopen(
        urllib.request.Request(f"{hub.url}/simple/demo/", headers={"Accept": accept}), timeout=10
    ) as answer:
        assert answer.headers["Content-Type"] == accept
        assert b"demo-1.0-py3-none-any.whl" in answer.read()


def test_the_real_pip_installs_from_it(hub: Hub, tmp_path: pathlib.Path) -> None:
    wheel(tmp_path / "simple")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--isolated",
        "--no-cache-dir",
        "--disable-pip-version-check",
        "--target",
        str(tmp_path / "to"),
    ]
    done = subprocess.run(
        [*command, "--index-url", f"{hub.url}/simple", "demo==1.0"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "to" / "demo.py").is_file()


def wheel(folder: pathlib.Path) -> None:
    """Write the smallest wheel that pip accepts."""
    folder.mkdir()
    with zipfile.ZipFile(folder / "demo-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("demo.py", "")
        archive.writestr("demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
        archive.writestr("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("demo-1.0.dist-info/RECORD", "")
