# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The module gguf_model with a model of the test hub, over real HTTP."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import pathlib
import re
import shutil
import signal

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.transfer import segments
from tests.hub import Fault, Hub
from tests.unit.modules.gguf_model.case import (
    HEADER,
    REPO,
    SHARDS,
    SIZE,
    TOKEN,
    Result,
    call,
    problem,
    requests_during,
    start,
    tree,
    wait_for,
    weights,
)


def test_split_model_then_nothing(hub: Hub, wanted: Result) -> None:
    first = call(wanted)
    commit = hub.repos.commit(REPO)
    folder = pathlib.Path(wanted["root"], "models", REPO, commit)
    assert first["changed"]
    assert (first["quant"], first["revision"], first["source"]) == ("Q4_K_M", commit, REPO)
    assert first["path"] == str(folder / SHARDS[0])
    assert first["size"] == first["downloaded"] == 3 * SIZE
    assert [file["sha256"] for file in first["files"]] == [hashlib.sha256(weights(name)).hexdigest() for name in SHARDS]
    assert [pathlib.Path(file["path"]).read_bytes() for file in first["files"]] == [weights(name) for name in SHARDS]
    assert {path.name for path in folder.iterdir()} == {*SHARDS, "manifest.json"}

    second: list[Result] = []
    assert requests_during(hub, lambda: second.append(call(wanted))) == 0
    assert second[0] == {**first, "changed": False, "downloaded": 0, "diff": second[0]["diff"]}
    assert second[0]["diff"]["before"] == second[0]["diff"]["after"]
    assert requests_during(hub, lambda: call(wanted, check_mode=True)) == 0


def test_what_main_meant_is_kept_until_another_revision_is_asked_for(hub: Hub, wanted: Result) -> None:
    old = call(wanted)["revision"]
    (hub.root / "repos" / REPO / "README.md").write_text("new\n", encoding="utf-8")
    assert requests_during(hub, lambda: call(wanted)) == 0
    new = call(wanted, revision=hub.repos.commit(REPO))
    assert new["changed"]
    assert new["revision"] != old


def test_token_is_sent_to_the_hub_only(hub: Hub, wanted: Result) -> None:
    assert call(wanted, source="owner/gated", token=f" {TOKEN}\n")["changed"]
    assert {entry.authorized for entry in hub.settle() if entry.origin == "storage"} == {False}
    assert {entry.authorized for entry in hub.settle() if entry.origin == "front"} == {True}


def test_token_of_the_host_is_not_used(hub: Hub, wanted: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert "expected the token of an account that was granted access, found none" in problem(
        wanted, source="owner/gated"
    )
    assert {entry.authorized for entry in hub.settle()} == {False}


def test_endpoint_of_the_host(hub: Hub, wanted: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"{hub.url}/")
    assert call(wanted, endpoint="")["changed"]


def test_full_disk_is_told_as_such(wanted: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert problem(wanted).startswith(
        "disk space: expected room for the whole file, found no space left while writing "
    )


def test_names_that_lead_out_of_the_folder_are_refused(
    hub: Hub, wanted: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [dataclasses.replace(file, path=f"../../{file.path}") for file in hub.repos.files(REPO)]
    monkeypatch.setattr(hub.repos, "files", lambda _repo: files)
    told = problem(wanted, source=f"{REPO}:../../SmolLM-Q8_0.gguf")
    assert told.startswith("gguf_model_endpoint: expected a server that speaks the Hub's protocol, found an answer of ")
    assert "an entry.path is '../../SmolLM-" in told
    assert not pathlib.Path(wanted["root"]).exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"source": "owner/gated"},
            (
                "gguf_model_token: expected the token of an account that was granted access, found none, and "
                "'owner/gated' is gated"
            ),
        ),
        (
            {"source": "owner/gated", "token": "hf_bob"},
            (
                "gguf_model_token: expected one of an account that was granted access, found a token of an "
                "account without access to 'owner/gated'"
            ),
        ),
        ({"token": "hf_wrong"}, "gguf_model_token: expected a valid access token, found a token that http"),
        (
            {"token": "hf_wr ong"},
            "gguf_model_token: expected an access token as the Hub shows it, found characters that no token has",
        ),
        (
            {"source": "owner/none"},
            (
                "gguf_model_source: expected a repository that this host may read, found 'owner/none', which "
                "is not on http"
            ),
        ),
        (
            {"source": "owner/none", "token": TOKEN},
            (
                "gguf_model_source: expected a repository that this host may read, found 'owner/none', which "
                "is not on http"
            ),
        ),
        (
            {"revision": "v9"},
            (
                "gguf_model_revision: expected a branch, tag or commit of it, found 'v9', which "
                "'owner/SmolLM-GGUF' on http"
            ),
        ),
        (
            {"quant": "Q5_K_M"},
            (
                "gguf_model_quant: expected one of: Q4_K_M (SmolLM-Q4_K_M-00001-of-00003.gguf and 2 more, 2.7 "
                "MB), Q8_0 (SmolLM-Q8_0.gguf, 0.9 MB), found 'Q5_K_M', which is not in 'owner/SmolLM-GGUF' at"
            ),
        ),
        (
            {"source": f"{REPO}:Q5_K_M"},
            (
                "gguf_model_source: expected one of: Q4_K_M (SmolLM-Q4_K_M-00001-of-00003.gguf and 2 more, 2.7 "
                "MB), Q8_0 (SmolLM-Q8_0.gguf, 0.9 MB), found 'Q5_K_M', which is not in"
            ),
        ),
        (
            {"endpoint": "http://127.0.0.1:9"},
            (
                "gguf_model_endpoint: expected a Hub that this host reaches, found no answer from http://127.0.0.1:9 "
                f"(Connection refused) for '{REPO}' (5 times in a row)"
            ),
        ),
    ],
)
@pytest.mark.parametrize("plan_only", [True, False])
def test_problems_before_anything_is_written(wanted: Result, changes: Result, said: str, plan_only: bool) -> None:
    told = problem(wanted, plan_only=plan_only, **changes)
    assert told.startswith(said)
    assert "\n" not in told
    assert "hf_" not in told
    assert not pathlib.Path(wanted["root"]).exists()


def test_no_such_quant_lists_those_there_are(wanted: Result) -> None:
    told = problem(wanted, quant="Q5_K_M")
    assert re.fullmatch(
        rf"gguf_model_quant: expected one of: Q4_K_M \({SHARDS[0]} and 2 more, 2\.7 MB\), "
        r"Q8_0 \(SmolLM-Q8_0\.gguf, 0\.9 MB\), found 'Q5_K_M', which is not in 'owner/SmolLM-GGUF' at [0-9a-f]{12}\.",
        told,
    )


def test_plan_and_check_mode_write_nothing(hub: Hub, wanted: Result) -> None:
    plan = call(wanted, plan_only=True)
    check = call(wanted, check_mode=True)
    assert (plan["changed"], plan["would_change"], check["changed"]) == (False, True, True)
    assert not pathlib.Path(wanted["root"]).exists()
    assert hub.sent == 2 * HEADER
    assert [file["name"] for file in plan["plan"]["fetch"]] == SHARDS
    assert plan["plan"]["size"] == 3 * SIZE
    assert len(check["diff"]["after"]["files"]) == 3
    done = call(wanted)
    assert (plan["path"], plan["files"], plan["revision"]) == (done["path"], done["files"], done["revision"])
    assert call(wanted, plan_only=True)["would_change"] is False


def test_wrong_bytes_are_not_taken(hub: Hub, wanted: Result) -> None:
    hub.faults[SHARDS[1]] = Fault(flip_at=1000, delay=3.0)  # after the other shards have come
    told = problem(wanted)
    assert f"with sha256 {hashlib.sha256(weights(SHARDS[1])).hexdigest()}" in told
    assert hub.url in told
    assert SHARDS[1] not in {pathlib.PurePath(path).name for path in tree(wanted["root"])}
    hub.faults.clear()
    assert call(wanted)["downloaded"] == SIZE  # the other shards stayed


def test_page_instead_of_a_model(hub: Hub, wanted: Result) -> None:
    hub.faults[SHARDS[0]] = Fault(html=True)
    assert ", found an HTML page instead of the file from" in problem(wanted)


def test_pointer_instead_of_a_model(hub: Hub, wanted: Result) -> None:
    hub.faults[SHARDS[0]] = Fault(pointer=True)
    assert "Git LFS pointer" in problem(wanted)


def test_broken_connections(hub: Hub, wanted: Result) -> None:
    hub.faults[SHARDS[0]] = Fault(cut_at=200_000, cuts=1)
    hub.faults[SHARDS[2]] = Fault(cut_at=100_000, cuts=1, ranges=False)
    assert call(wanted)["changed"]


def test_no_room(wanted: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
    told = problem(wanted, plan_only=True)
    assert told.startswith("disk space: expected 70 MB, found 0 MB free below")
    assert told.endswith("or point gguf_model_root at another file system.")


def test_touched_file_is_checked_and_a_changed_one_fetched_again(hub: Hub, wanted: Result) -> None:
    files = [pathlib.Path(file["path"]) for file in call(wanted)["files"]]
    os.utime(files[0], (1, 1))
    again = call(wanted)
    assert (again["changed"], again["downloaded"]) == (False, 0)
    assert requests_during(hub, lambda: call(wanted)) == 0
    files[1].write_bytes(b"GGUF" + bytes(SIZE - 4))
    files[2].unlink()
    repaired = call(wanted)
    assert (repaired["changed"], repaired["downloaded"]) == (True, 2 * SIZE)
    assert [path.read_bytes() for path in files] == [weights(name) for name in SHARDS]


def test_second_quant_of_a_repository_stands_beside_the_first(hub: Hub, wanted: Result) -> None:
    call(wanted)
    other = call(wanted, quant="q8_0")
    assert (other["quant"], other["downloaded"]) == ("Q8_0", SIZE)
    assert requests_during(hub, lambda: [call(wanted), call(wanted, source=f"{REPO}:Q8_0")]) == 0


def test_killed_and_taken_up_again(hub: Hub, wanted: Result) -> None:
    hub.faults[SHARDS[1]] = Fault(rate=100_000)
    parts = [
        pathlib.Path(wanted["root"], "models", REPO, ".parts", hashlib.sha256(weights(name)).hexdigest())
        for name in SHARDS
    ]
    with start(wanted) as process:
        wait_for(lambda: [segments.waiting_bytes(part) for part in parts] == [SIZE, 0, SIZE] and hub.sent > 2.1 * SIZE)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not [path for path in tree(wanted["root"]) if path.endswith(".gguf")]
    hub.faults.clear()
    result = call(wanted)
    assert result["downloaded"] == SIZE  # that of the second shard, which is but one segment
    assert [pathlib.Path(file["path"]).read_bytes() for file in result["files"]] == [weights(name) for name in SHARDS]
    assert not list(pathlib.Path(wanted["root"]).rglob("*.part*"))


def test_second_run_waits_and_then_fetches_nothing(hub: Hub, wanted: Result) -> None:
    hub.faults[SHARDS[0]] = Fault(rate=900_000)
    with start(wanted) as process:
        wait_for(lambda: hub.sent > HEADER)
        assert call(wanted)["downloaded"] == 0
        assert process.wait() == 0
    assert hub.sent == 3 * SIZE + 2 * HEADER


def test_token_is_in_no_output(wanted: Result) -> None:
    for source, token in (("owner/gated", "hf_wrong"), ("owner/gated", TOKEN)):
        with start({**wanted, "source": source, "token": token}) as process:
            output, _nothing = process.communicate()
        assert '"changed": true' in output or "does not accept" in output
        assert token not in output
