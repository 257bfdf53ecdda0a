# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The faults of the test hub are what the Hub's own client takes them for."""

from __future__ import annotations

import typing

import huggingface_hub
import pytest

from tests.hub import Fault, Hub

if typing.TYPE_CHECKING:
    import pathlib

REPO = "owner/model"
NAMES = [f"{number}.gguf" for number in range(7)]


@pytest.fixture
def hub(tmp_path: pathlib.Path) -> typing.Iterator[Hub]:
    folder = tmp_path / "repos" / REPO
    folder.mkdir(parents=True)
    for name in NAMES:
        (folder / name).write_bytes(b"GGUF")
    with Hub(tmp_path) as hub:
        yield hub


@pytest.fixture
def client(hub: Hub) -> huggingface_hub.HfApi:
    return huggingface_hub.HfApi(endpoint=hub.url, token=False)


@pytest.mark.parametrize(("page", "requests"), [(0, 1), (7, 1), (3, 3), (1, 7)])
def test_a_listing_comes_in_pages(hub: Hub, client: huggingface_hub.HfApi, page: int, requests: int) -> None:
    hub.page = page
    assert [entry.path for entry in client.list_repo_tree(REPO, recursive=True)] == NAMES
    assert len(hub.settle()) == requests


def test_the_api_can_refuse(hub: Hub, client: huggingface_hub.HfApi) -> None:
    hub.faults["api"] = Fault(status=429, code="RateLimited", message="slow down", retry_after="3")
    with pytest.raises(huggingface_hub.errors.HfHubHTTPError, match="slow down") as caught:
        client.model_info(REPO, timeout=60)
    assert (caught.value.response.status_code, caught.value.response.headers["Retry-After"]) == (429, "3")
    assert client.model_info(REPO, timeout=60).sha == hub.repos.commit(REPO)


def test_a_pointer_is_taken_for_the_file_by_others(hub: Hub, tmp_path: pathlib.Path) -> None:
    hub.faults["0.gguf"] = Fault(pointer=True)
    with pytest.raises(OSError, match="Consistency check failed"):
        huggingface_hub.hf_hub_download(REPO, "0.gguf", endpoint=hub.url, cache_dir=tmp_path / "cache", token=False)
