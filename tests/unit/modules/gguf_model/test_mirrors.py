# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Other places than the Hub: mirrors, which nobody has to trust, and no network but them."""

from __future__ import annotations

import pathlib
import shutil
import typing

import pytest

from tests.unit.modules.gguf_model.case import REPO, SHARDS, SIZE, TOKEN, Result, call, problem, tree, weights

if typing.TYPE_CHECKING:
    from tests.hub import Hub


@pytest.fixture
def store(hub: Hub, wanted: Result, tmp_path: pathlib.Path) -> pathlib.Path:
    """Serve the models of another host from a plain web server, and return the folder of the repository's commit."""
    other = {**wanted, "root": str(tmp_path / "other"), "token": TOKEN}
    for repo in (REPO, "owner/gated"):
        call(other, source=repo)
    models = hub.root / "files" / "models"
    shutil.move(tmp_path / "other" / "models", models)
    hub.settle().clear()
    hub.log.clear()
    return models / REPO / hub.repos.commit(REPO)


def asked(hub: Hub) -> dict[str, int]:
    """Return the numbers of requests to the mirror, the Hub and the storage."""
    log = hub.settle()
    return {
        "mirror": sum(entry.path.startswith("/files/models/") for entry in log),
        "hub": sum("/resolve/" in entry.path or entry.path.startswith("/api/") for entry in log),
        "storage": sum(entry.origin == "storage" and entry.sent > 0 for entry in log),
    }


def test_mirror_goes_first_and_gets_no_token(hub: Hub, wanted: Result, store: pathlib.Path) -> None:
    done = call(wanted, source="owner/gated", token=TOKEN, mirrors=[f"{hub.url}/files/models/"])
    assert store.is_dir()
    assert done["downloaded"] == 3 * SIZE
    assert asked(hub)["mirror"] >= 3
    assert asked(hub)["storage"] == 1  # the first bytes, which tell what the file is
    assert {entry.authorized for entry in hub.settle() if entry.path.startswith("/files/")} == {False}


@pytest.mark.parametrize("what", ["missing", "spoiled", "dead"])
def test_mirror_that_cannot_be_trusted(hub: Hub, wanted: Result, store: pathlib.Path, what: str) -> None:
    mirrors = [f"{hub.url}/files/models"]
    if what == "missing":
        (store / SHARDS[1]).unlink()
    elif what == "spoiled":
        (store / SHARDS[1]).write_bytes(weights("spoiled"))
    else:
        mirrors = ["http://127.0.0.1:9"]
    done = call(wanted, mirrors=mirrors)
    assert [pathlib.Path(file["path"]).read_bytes() for file in done["files"]] == [weights(name) for name in SHARDS]
    assert asked(hub)["storage"] > 0


@pytest.mark.parametrize(
    ("mirror", "said"),
    [
        (
            "ftp://host/models",
            (
                "expected the URL of a web server's folder, such as 'http://10.0.0.1:8000/models', found "
                "'ftp://host/models'"
            ),
        ),
        ("https://me:hush@host/models", "a URL with a user name or password in it"),
        ("host", "'host'"),
    ],
)
def test_no_mirror(wanted: Result, mirror: str, said: str) -> None:
    told = problem(wanted, mirrors=[mirror])
    assert told.startswith("gguf_model_mirrors: ")
    assert said in told
    assert "hush" not in told


class TestOffline:
    def test_what_is_there(self, hub: Hub, wanted: Result) -> None:
        call(wanted)
        before = len(hub.settle())
        assert call(wanted, offline=True)["changed"] is False
        assert len(hub.settle()) == before

    def test_nothing_recorded(self, hub: Hub, wanted: Result) -> None:
        for changes in ({}, {"mirrors": [f"{hub.url}/files/models"]}, {"plan_only": True}):
            told = problem(wanted, offline=True, **changes)
            assert told.startswith(
                "gguf_model_offline: expected the commit, files and sums that an online run recorded, or the "
                "repository in HF_HUB_CACHE, HF_HOME or ~/.cache/huggingface, "
                f"found true, and no record of '{REPO}' at 'main'"
            )
        assert not hub.settle()
        assert not pathlib.Path(wanted["root"]).exists()

    def test_a_file_is_missing(self, hub: Hub, wanted: Result) -> None:
        there = [pathlib.Path(file["path"]) for file in call(wanted)["files"]]
        before = len(hub.settle())
        there[1].unlink()
        told = problem(wanted, offline=True)
        assert told.startswith(
            "gguf_model_offline: expected all of them there, found true, but 1 of 3 files are not in "
            f"{there[0].parent}: {SHARDS[1]}"
        )
        assert len(hub.settle()) == before

    def test_a_mirror_serves_what_is_recorded(self, hub: Hub, wanted: Result, store: pathlib.Path) -> None:
        folder = pathlib.Path(wanted["root"], "models", REPO, store.name)
        folder.mkdir(parents=True)
        shutil.copy(store / "manifest.json", folder)  # the record alone, carried by hand
        offline = {**wanted, "offline": True, "revision": store.name, "mirrors": [f"{hub.url}/files/models"]}
        planned = call(offline, check_mode=True)
        assert [file["name"] for file in planned["plan"]["fetch"]] == SHARDS
        done = call(offline)
        assert (done["changed"], done["downloaded"]) == (True, 3 * SIZE)
        assert [pathlib.Path(file["path"]).read_bytes() for file in done["files"]] == [weights(name) for name in SHARDS]
        assert asked(hub)["hub"] == 0

    def test_a_record_that_leads_out_of_its_folder(self, hub: Hub, wanted: Result, store: pathlib.Path) -> None:
        folder = pathlib.Path(wanted["root"], "models", REPO, store.name)
        folder.mkdir(parents=True)
        record = (store / "manifest.json").read_text(encoding="utf-8").replace(SHARDS[1], f"../../{SHARDS[1]}")
        (folder / "manifest.json").write_text(record, encoding="utf-8")
        told = problem(wanted, offline=True, revision=store.name, mirrors=[f"{hub.url}/files/models"])
        assert f"expected a relative path without '..', found the file name '../../{SHARDS[1]}' in a listing" in told

    def test_a_mirror_with_other_bytes_is_refused(self, hub: Hub, wanted: Result, store: pathlib.Path) -> None:
        call(wanted)
        hub.settle().clear()
        for path in pathlib.Path(wanted["root"]).rglob("*.gguf"):
            path.unlink()
        (store / SHARDS[2]).write_bytes(weights("spoiled"))
        told = problem(wanted, offline=True, mirrors=[f"{hub.url}/files/models"])
        assert f"{hub.url}/files/models/{REPO}/{store.name}/{SHARDS[2]}" in told
        assert not [path for path in tree(wanted["root"]) if path.endswith(SHARDS[2])]
