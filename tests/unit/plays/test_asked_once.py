# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The requests of a whole fleet to llama.cpp's release API, counted at a stand-in: the plays and actions are real."""

import pathlib
from collections.abc import Iterator

import pytest

from ansible_collections.llama_fleet.core.tests.unit.fakes.release_api import REPOSITORY, ReleaseApi, release_api
from tests.unit.plays.fleet import Fleet

LATEST = f"{REPOSITORY}/releases?per_page=10"
HOSTS = [f"h{number}" for number in range(3)]
CPU = {"nvidia_driver_gpu": "none"}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Iterator[ReleaseApi]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    with release_api() as fake:
        fake.nightly("b999", x64=b"old")
        fake.nightly("b1000", x64=b"programs")
        fake.stable("v0.8.0", "b999")
        yield fake


def several(api: ReleaseApi, *sources: str) -> dict[str, object]:
    """Return a host with an instance for each source."""
    entries = {
        f"i{number}": {"llama_cpp_source": source, "llama_server_port": 8000 + number}
        for number, source in enumerate(sources)
    }
    return {
        **CPU,
        "llama_cpp_method": "auto",
        "llama_cpp_upstream_api": api.api,
        "llama_cpp_upstream_url": api.downloads,
        "llama_server_instances": entries,
    }


def published(fleet: Fleet) -> set[tuple[str, bool]]:
    """Return which source was planned with the release that the API has described, and which without."""
    return {
        (call["source"], bool(call["published"]))
        for host in HOSTS
        for call in fleet.plans(host)
        if call["module"] == "llama_cpp_release"
    }


def test_all_hosts_and_instances_of_a_run_ask_once_for_each_channel(fleet: Fleet, api: ReleaseApi) -> None:
    host = several(api, "upstream:latest", "upstream:latest", "upstream:stable")
    assert fleet.run("site", dict.fromkeys(HOSTS, host)).exit_code == 0
    assert published(fleet) == {("upstream:latest", True), ("upstream:stable", True)}
    # Of latest the list and the commit; of stable two releases, the nightly tag and the commit.
    assert len(api.asked) == len(set(api.asked)) == 6


@pytest.mark.parametrize("status", [403, 500])
def test_all_hosts_and_instances_of_a_run_meet_one_failure(fleet: Fleet, api: ReleaseApi, status: int) -> None:
    api.instead[LATEST] = (status, {}, b"")
    git = "git+https://github.com/ggml-org/llama.cpp"
    outcome = fleet.run("site", dict.fromkeys(HOSTS, several(api, git, git)))
    assert outcome.exit_code == 0, "a host that can build does so"
    assert published(fleet) == {(git, False)}, "neither before nor after the question"
    assert api.asked == [LATEST]
    models = [call for host in HOSTS for call in fleet.plans(host) if call["module"] == "gguf_model"]
    assert len(models) == 2 * len(HOSTS), "a plan that waits for the answer asks for no model"
