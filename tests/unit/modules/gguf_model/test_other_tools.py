# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The module gguf_model takes files that other tools have fetched already."""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import typing

import huggingface_hub
import pytest

from tests.unit.modules.gguf_model.case import (
    REPO,
    SHARDS,
    SIZE,
    Result,
    call,
    problem,
    requests_during,
    start,
    weights,
)

if typing.TYPE_CHECKING:
    from tests.hub import Hub

LABEL = "Q8_0"
FILE = "SmolLM-Q8_0.gguf"
SUM = hashlib.sha256(weights(FILE)).hexdigest()
MMPROJ = "mmproj-Q4_K_M.gguf"


@pytest.fixture(autouse=True)
def home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Return the home of the user, with no cache in it, and no variable that names one."""
    for name in ("HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "LLAMA_CACHE", "OLLAMA_MODELS", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def put(path: pathlib.Path, content: bytes) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def fetched_by_the_client(hub: Hub, folder: pathlib.Path, *names: str) -> None:
    """Fill a cache with the Hub's own client."""
    for name in names:
        huggingface_hub.hf_hub_download(REPO, name, cache_dir=folder, endpoint=hub.url, token=False)


def wants(wanted: Result, **changes: object) -> Result:
    return {**wanted, "source": f"{REPO}:{LABEL}", **changes}


class TestTheHubsClient:
    def test_its_files_are_not_fetched_again(self, hub: Hub, wanted: Result, home: pathlib.Path) -> None:
        cache = home / ".cache/huggingface/hub"
        fetched_by_the_client(hub, cache, FILE)
        before = hub.sent
        done = call(wants(wanted))
        assert (done["changed"], done["downloaded"]) == (True, 0)
        assert hub.sent - before < SIZE  # only a header was asked for, to see that it is a model
        blob = cache / "models--owner--SmolLM-GGUF" / "blobs" / SUM
        assert done["reused"] == [{"path": done["path"], "from": str(blob), "size": SIZE}]
        assert pathlib.Path(done["path"]).read_bytes() == weights(FILE)
        assert pathlib.Path(done["path"]).samefile(blob)  # this user's own, so it takes no disk space
        again = call(wants(wanted))
        assert (again["changed"], again["reused"]) == (False, [])
        shutil.rmtree(cache)
        assert call(wants(wanted), verify="always")["changed"] is False

    def test_of_a_split_model_only_what_is_missing_is_fetched(
        self, hub: Hub, wanted: Result, home: pathlib.Path
    ) -> None:
        fetched_by_the_client(hub, home / ".cache/huggingface/hub", SHARDS[0], SHARDS[2], MMPROJ)
        done = call(wanted, mmproj="true")
        assert done["downloaded"] == SIZE
        assert [pathlib.Path(file["path"]).name for file in done["reused"]] == [SHARDS[0], SHARDS[2], MMPROJ]
        assert [pathlib.Path(file["path"]).read_bytes() for file in done["files"]] == [
            weights(name) for name in (*SHARDS, MMPROJ)
        ]

    @pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", ""])
    def test_offline_nothing_is_asked(
        self, variable: str, hub: Hub, wanted: Result, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fetched_by_the_client(hub, tmp_path / "hf/hub", FILE)
        commit = hub.repos.commit(REPO)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        if variable:
            monkeypatch.setenv(variable, "1")
        given = wants(wanted, offline=not variable)
        results: list[Result] = []
        assert requests_during(hub, lambda: results.append(call(given, check_mode=True))) == 0
        assert requests_during(hub, lambda: results.append(call(given))) == 0
        assert requests_during(hub, lambda: results.append(call(given))) == 0
        plan, done, again = results
        assert [file["from"] for file in plan["plan"]["copies"]] == [file["from"] for file in done["reused"]]
        assert (done["quant"], done["revision"], done["source"]) == (LABEL, commit, REPO)
        assert (done["downloaded"], done["size"]) == (0, SIZE)
        assert not again["changed"]
        monkeypatch.delenv(variable or "HF_HUB_OFFLINE", raising=False)
        assert call(wants(wanted))["path"] == done["path"]  # online, the recorded revision is the same one

    def test_offline_another_label_is_not_there(
        self, hub: Hub, wanted: Result, home: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fetched_by_the_client(hub, home / ".cache/huggingface/hub", FILE)
        monkeypatch.setenv("HF_HUB_OFFLINE", "yes")
        text = problem(wanted, quant="Q4_K_M")
        assert f"one of: {LABEL} ({FILE}, 0.9 MB)" in text
        text = problem(wants(wanted, source=f"other/repo:{LABEL}"))
        assert text.startswith("HF_HUB_OFFLINE: expected")
        assert "the repository in HF_HUB_CACHE, HF_HOME or ~/.cache/huggingface" in text
        assert "give the path of a file on the host as gguf_model_source" in text
        text = problem(wants(wanted), reuse=False)
        assert "no record of" in text
        assert "HF_HOME" not in text

    def test_a_variable_that_is_off_switches_nothing_off(self, wanted: Result, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        assert call(wants(wanted))["downloaded"] == SIZE


@pytest.mark.parametrize(
    "name",
    [
        f".ollama/models/blobs/sha256-{SUM}",
        f".docker/models/blobs/sha256/{SUM}",
        f".cache/llama.cpp/owner_SmolLM-GGUF_{FILE}",
        f".cache/llama.cpp/{FILE}",
        f".lmstudio/models/{REPO}/{FILE}",
        f".local/share/ramalama/store/huggingface/{REPO}/blobs/sha256-{SUM}",
    ],
)
class TestEachTool:
    def test_its_file_is_taken(self, name: str, wanted: Result, home: pathlib.Path) -> None:
        there = put(home / name, weights(FILE))
        plan = call(wants(wanted), check_mode=True)
        assert plan["plan"]["copies"] == [{"name": FILE, "from": str(there), "size": SIZE, "disk": 0}]
        assert (plan["plan"]["fetch"], plan["plan"]["size"]) == ([], 0)
        done = call(wants(wanted))
        assert done["downloaded"] == 0
        assert [file["from"] for file in done["reused"]] == [str(there)]
        assert there.read_bytes() == weights(FILE)

    def test_other_bytes_under_its_name_are_not_taken(self, name: str, wanted: Result, home: pathlib.Path) -> None:
        there = put(home / name, weights("other"))
        done = call(wants(wanted))
        assert (done["downloaded"], done["reused"]) == (SIZE, [])
        assert pathlib.Path(done["path"]).read_bytes() == weights(FILE)
        other = hashlib.sha256(weights("other")).hexdigest()
        assert done["warnings"] == [
            f"{there} was not reused: expected sha256 {SUM}, found other bytes than its name says (sha256 {other})."
        ]
        assert there.read_bytes() == weights("other")


class TestWithout:
    def test_it_can_be_switched_off(self, wanted: Result, home: pathlib.Path) -> None:
        put(home / f".ollama/models/blobs/sha256-{SUM}", weights(FILE))
        assert call(wants(wanted), reuse=False)["downloaded"] == SIZE

    def test_wrong_bytes_offline_are_told_with_their_name(self, hub: Hub, wanted: Result, home: pathlib.Path) -> None:
        fetched_by_the_client(hub, home / ".cache/huggingface/hub", FILE)
        blob = home / ".cache/huggingface/hub/models--owner--SmolLM-GGUF/blobs" / SUM
        blob.write_bytes(weights("other"))
        text = problem(wants(wanted), offline=True)
        assert "1 of 1 files are not in" in text
        assert f"{blob} was not reused: expected sha256 {SUM}, found other bytes" in text
        assert not list(pathlib.Path(wanted["root"]).rglob("*.gguf"))


def test_a_url_with_a_sum_is_found_by_it(hub: Hub, wanted: Result, home: pathlib.Path) -> None:
    put(hub.root / "files" / "a.gguf", weights(FILE))
    put(home / ".cache/huggingface/hub/models--any--repo/blobs" / SUM, weights(FILE))
    done = call(wanted, source=f"{hub.url}/files/a.gguf#sha256={SUM}")
    assert (done["downloaded"], len(done["reused"])) == (0, 1)


def test_a_file_that_must_be_copied_needs_its_room(
    wanted: Result, home: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = put(home / f".ollama/models/blobs/sha256-{SUM}", weights(FILE))
    full = shutil.disk_usage("/")._replace(free=(64 << 20) + SIZE - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: full)
    assert call(wants(wanted), check_mode=True)["plan"]["copies"][0]["disk"] == 0
    there.chmod(0o600)
    assert "disk space" in problem(wants(wanted))


def test_the_progress_tells_where_it_comes_from(wanted: Result, home: pathlib.Path) -> None:
    put(home / f".ollama/models/blobs/sha256-{SUM}", weights(FILE)).chmod(0o600)
    call(wants(wanted))
    told = pathlib.Path(wanted["progress_file"]).read_text(encoding="utf-8")
    assert f"taking {FILE} from {home}/.ollama/models, 0 bytes over the network" in told


def test_killed_while_copying_the_next_run_finishes(wanted: Result, home: pathlib.Path) -> None:
    """Replace what a killed run left under the part's name."""
    put(home / f".ollama/models/blobs/sha256-{SUM}", weights(FILE)).chmod(0o600)
    part = pathlib.Path(wanted["root"], "models", REPO, ".parts", SUM)
    put(part, weights(FILE)[:1000] + bytes(SIZE - 1000))
    done = call(wants(wanted))
    assert (done["downloaded"], len(done["reused"])) == (0, 1)
    assert pathlib.Path(done["path"]).read_bytes() == weights(FILE)
    assert not part.parent.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run as another user")
def test_as_ansible_runs_it(hub: Hub, wanted: Result, home: pathlib.Path) -> None:
    """The module's own process finds the cache through its environment."""
    fetched_by_the_client(hub, home / ".cache/huggingface/hub", FILE)
    output, _ = start(wants(wanted)).communicate(timeout=60)
    assert '"downloaded": 0' in output
    assert f'"from": "{home}/.cache/huggingface/hub/models--owner--SmolLM-GGUF/blobs/{SUM}"' in output
