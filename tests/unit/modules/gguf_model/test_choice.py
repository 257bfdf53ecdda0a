# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The files of a model: the quant that fits into the memory, and the projector."""

from __future__ import annotations

import os
import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.tiny_model import TINY, write_tiny_model
from tests.unit.modules.gguf_model.case import REPO, TOKEN, Result, call, problem, requests_during, weights

if typing.TYPE_CHECKING:
    from tests.hub import Hub

MIB = 1 << 20
# As many MiB as the file has, and as many slots times context as it is told; and what it was asked.
PROGRAM = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/asked"
echo "Host $(($(stat -c %s "$2") / 1048576)) $(($4 / 1024)) 0 "
"""


@pytest.fixture
def release(tmp_path: pathlib.Path) -> pathlib.Path:
    program = tmp_path / "release" / "bin" / "llama-fit-params"
    program.parent.mkdir(parents=True)
    program.write_text(PROGRAM, encoding="ascii")
    program.chmod(0o755)
    return tmp_path / "release"


def write_model(path: pathlib.Path, size: int) -> None:
    """Write a GGUF file of ``size`` MiB with a real header."""
    write_tiny_model(path)
    with path.open("r+b") as file:
        file.truncate(size * MIB)


@pytest.fixture
def fit(hub: Hub, wanted: Result, release: pathlib.Path) -> Result:
    """Parameters that take the best quant of three that fits into 100 MiB with 4 slots of 1024 tokens."""
    for repo in ("owner/three", "owner/gated"):
        folder = hub.root / "repos" / repo
        folder.mkdir(exist_ok=True)
        for path in folder.glob("*.gguf"):
            path.unlink()
        for quant, size in (("Q4_K_M", 40), ("Q8_0", 97), ("F16", 200)):
            write_model(folder / f"three-{quant}.gguf", size)
    return {
        **wanted,
        "source": "owner/three",
        "quant": "fit",
        "memory": "100",
        "release": str(release),
        "ctx_size": 1024,
        "parallel": 4,
    }


class TestFit:
    def test_the_best_that_fits(self, hub: Hub, fit: Result, release: pathlib.Path) -> None:
        planned = call(fit, plan_only=True)
        assert hub.sent < 10 * MIB  # headers
        assert (planned["quant"], planned["would_change"]) == ("Q4_K_M", True)
        shown = planned["memory"]
        assert (shown["available_mib"], shown["what"], shown["needed_mib"]) == (100, "given", 44)
        sizes = {"F16": 200, "Q8_0": 97, "Q4_K_M": 40}
        mib = {"F16": 0, "Q8_0": 101, "Q4_K_M": 44}
        assert shown["candidates"] == [
            {"quant": each, "size": sizes[each] * MIB, "mib": mib[each], "fits": each == "Q4_K_M"} for each in sizes
        ]
        assert not pathlib.Path(fit["root"]).exists()
        assert "-c 4096 -np 4" in (release / "bin" / "asked").read_text(encoding="ascii")
        done = call(fit)
        assert (done["path"], done["quant"], done["memory"]) == (planned["path"], "Q4_K_M", shown)

    def test_the_context_that_the_model_was_trained_with(self, fit: Result, release: pathlib.Path) -> None:
        call(fit, ctx_size=0, plan_only=True)
        assert f"-c {TINY.context * 4} -np 4" in (release / "bin" / "asked").read_text(encoding="ascii")
        assert "gguf_model_ctx_size: expected a number from 0, found -1." in problem(fit, ctx_size=-1)

    def test_chosen_once(self, hub: Hub, fit: Result, release: pathlib.Path) -> None:
        first = call(fit)
        (release / "bin" / "asked").unlink()
        again: list[Result] = []
        assert requests_during(hub, lambda: again.append(call(fit, release=""))) == 0
        assert (again[0]["changed"], again[0]["path"], again[0]["memory"]) == (False, first["path"], first["memory"])
        assert not (release / "bin" / "asked").exists()
        assert call(fit, memory="300", check_mode=True)["quant"] == "F16"
        assert call(fit, parallel=1, check_mode=True)["quant"] == "Q8_0"

    def test_a_choice_stands_when_a_file_is_fetched_again(self, fit: Result, release: pathlib.Path) -> None:
        first = call(fit)
        pathlib.Path(first["path"]).unlink()
        (release / "bin" / "asked").unlink()
        again = call(fit, release="")
        assert (again["changed"], again["path"], again["memory"]) == (True, first["path"], first["memory"])
        assert not (release / "bin" / "asked").exists()

    def test_absent_whatever_the_numbers_were(self, fit: Result) -> None:
        path = pathlib.Path(call(fit)["path"])
        assert call(fit, memory="300", release="", state="absent")["changed"] is True
        assert not path.exists()

    def test_free_memory(self, fit: Result) -> None:
        shown = call(fit, memory="auto", plan_only=True)["memory"]
        assert shown["available_mib"] > 1024
        assert shown["margin_mib"] >= 1024
        assert shown["what"].startswith("free ")

    def test_the_token_goes_along(self, hub: Hub, fit: Result) -> None:
        assert call(fit, source="owner/gated", token=TOKEN)["quant"] == "Q4_K_M"
        assert {entry.authorized for entry in hub.settle() if entry.origin == "storage"} == {False}

    def test_a_plan_waits_for_the_release(self, hub: Hub, fit: Result) -> None:
        for changes in ({"plan_only": True}, {"check_mode": True}):
            planned = call(fit, release="/nowhere", **changes)
            assert (planned["would_change"], planned["path"], planned["files"]) == (True, "", [])
            assert planned["plan"]["waits_for"].startswith("the release")
        assert not hub.settle()
        assert problem(fit, release="/nowhere").startswith(
            "gguf_model_release: expected the folder of a release of llama.cpp, found '/nowhere', which "
            "has no bin/llama-fit-params"
        )
        assert problem(fit, release="").startswith(
            "gguf_model_release: expected the folder of a release of llama.cpp, found no folder, and"
        )

    def test_none_fits(self, fit: Result) -> None:
        told = problem(fit, memory="20", plan_only=True)
        assert told.startswith("gguf_model_quant: expected one that fits, found no model in 'owner/three'")
        assert "Q4_K_M" in told

    @pytest.mark.parametrize("memory", ["lots", "0", "-1", "1.5"])
    def test_no_memory(self, fit: Result, memory: str) -> None:
        assert problem(fit, memory=memory).startswith(
            f"gguf_model_memory: expected 'auto' or a whole number of MiB, found '{memory}'."
        )

    def test_a_folder(self, hub: Hub, fit: Result, release: pathlib.Path) -> None:
        source = str(hub.root / "repos" / "owner" / "three")
        assert call(fit, source=source, plan_only=True, release="/nowhere")["plan"]["waits_for"]
        done = call(fit, source=source)
        assert (done["quant"], done["path"]) == ("Q4_K_M", f"{source}/three-Q4_K_M.gguf")
        (release / "bin" / "asked").unlink()
        assert call(fit, source=source)["changed"] is False
        assert not (release / "bin" / "asked").exists()

    def test_what_cannot_be_measured(self, fit: Result) -> None:
        for source in (f"https://host/model.gguf#sha256={'0' * 64}", f"pypi:demo==1.0#sha256={'0' * 64}"):
            assert problem(fit, source=source).startswith(
                "gguf_model_quant: expected a quant, or a repository on the Hub or a folder as "
                "gguf_model_source, found 'fit' with "
            )


class TestProjector:
    @pytest.fixture
    def folder(self, hub: Hub) -> pathlib.Path:
        folder = hub.root / "repos" / REPO
        (folder / "mmproj-Q4_K_M.gguf").unlink()
        (folder / "mmproj-SmolLM-F16.gguf").write_bytes(weights("f16"))
        (folder / "mmproj-SmolLM-BF16.gguf").write_bytes(weights("bf16"))
        return folder

    def test_taken_and_verified_alike(self, hub: Hub, wanted: Result, folder: pathlib.Path) -> None:
        assert folder.is_dir()
        planned = call(wanted, mmproj="true", plan_only=True)
        done = call(wanted, mmproj="true")
        assert pathlib.PurePath(done["mmproj"]).name == "mmproj-SmolLM-F16.gguf"
        assert (planned["mmproj"], planned["files"], planned["path"]) == (done["mmproj"], done["files"], done["path"])
        assert pathlib.Path(done["mmproj"]).read_bytes() == weights("f16")
        assert (len(done["files"]), done["size"]) == (4, 4 * 900_000)
        assert requests_during(hub, lambda: [call(wanted, mmproj="true"), call(wanted)]) == 0
        pathlib.Path(done["mmproj"]).unlink()
        assert call(wanted)["changed"] is False
        assert call(wanted, mmproj="true")["downloaded"] == 900_000

    def test_added_later(self, wanted: Result, folder: pathlib.Path) -> None:
        assert folder.is_dir()
        first = call(wanted)
        assert first["mmproj"] == ""
        later = call(wanted, mmproj="true")
        assert (later["changed"], later["downloaded"], later["path"]) == (True, 900_000, first["path"])

    def test_not_forgotten_by_a_run_without(self, hub: Hub, wanted: Result, folder: pathlib.Path) -> None:
        assert folder.is_dir()
        os.utime(call(wanted, mmproj="true")["path"], (1, 1))
        call(wanted)  # records the new time
        assert requests_during(hub, lambda: call(wanted, mmproj="true")) == 0

    def test_none_there(self, wanted: Result, folder: pathlib.Path) -> None:
        for path in folder.glob("mmproj*"):
            path.unlink()
        assert problem(wanted, mmproj="true", plan_only=True).startswith(
            f"gguf_model_mmproj: expected a repository with an mmproj file, found no projector in '{REPO}' at "
        )

    def test_beside_a_local_file(self, wanted: Result, folder: pathlib.Path) -> None:
        path = folder / "SmolLM-Q8_0.gguf"
        done = call(wanted, source=str(path), mmproj="true")
        assert (done["path"], done["mmproj"]) == (str(path), str(folder / "mmproj-SmolLM-F16.gguf"))
        assert call(wanted, source=str(path), mmproj="true")["changed"] is False

    def test_with_the_url_of_a_file(self, hub: Hub, wanted: Result) -> None:
        source = f"{hub.url}/files/plain.gguf#sha256={'0' * 64}"
        assert problem(wanted, source=source, mmproj="true").startswith(
            "gguf_model_mmproj: expected a repository on the Hub, a folder or a wheel, found true with the "
            "URL of a file"
        )
