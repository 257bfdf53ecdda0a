# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test that projectors, adapters and draft models are chosen, fetched and recorded beside a model."""

from __future__ import annotations

import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.types import TEXT
from ansible_collections.llama_fleet.core.tests.unit.fakes.gguf import LLAMA, gguf, pair, tensor, text
from tests.unit.modules.gguf_model.case import Result, call, problem, requests_during

if typing.TYPE_CHECKING:
    from tests.hub import Hub

REPO = "lab/vision"


def kind(name: str) -> bytes:
    return pair("general.type", TEXT, text(name))


def architecture(name: str) -> bytes:
    return pair("general.architecture", TEXT, text(name))


MODEL = gguf(LLAMA, tensors=[tensor("output_norm.weight")], data=1024)
ADAPTER = gguf(kind("adapter"), LLAMA, pair("adapter.type", TEXT, text("lora")))
FILES = {
    REPO: {
        "Vision-Q4_K_M.gguf": MODEL,
        "Vision-Q8_0.gguf": MODEL,
        "mmproj-Vision-F16.gguf": gguf(architecture("clip")),
        "mmproj-Vision-BF16.gguf": gguf(architecture("clip"), kind("mmproj")),
        "Vision-lora-polite.gguf": ADAPTER,
        "Vision-lora-terse.gguf": ADAPTER,
        "Vision-eagle3-F16.gguf": gguf(architecture("eagle3")),
    },
    "lab/LoRA-F16-GGUF": {"LoRA-f16.gguf": ADAPTER},
    "lab/small": {"Small-Q4_K_M.gguf": MODEL},
    "lab/plain": {"Plain-Q8_0.gguf": MODEL, "vision-tower.gguf": gguf(architecture("clip"))},
}
SIZES = {"Vision-Q4_K_M.gguf": 500_000, "Vision-Q8_0.gguf": 900_000, "Plain-Q8_0.gguf": 900_000}


@pytest.fixture(autouse=True)
def _repositories(hub: Hub) -> None:
    for repo, files in FILES.items():
        (hub.root / "repos" / repo).mkdir(parents=True)
        for name, content in files.items():
            (hub.root / "repos" / repo / name).write_bytes(content + name.encode() + bytes(SIZES.get(name, 10_000)))


@pytest.fixture
def vision(wanted: Result) -> Result:
    return {**wanted, "source": REPO}


def names(paths: typing.Iterable[str]) -> list[str]:
    return [pathlib.PurePath(path).name for path in paths]


@pytest.mark.parametrize(
    ("mmproj", "name"),
    [
        ("true", "mmproj-Vision-F16.gguf"),
        ("BF16", "mmproj-Vision-BF16.gguf"),
        ("mmproj-vision-bf16.gguf", "mmproj-Vision-BF16.gguf"),
        ("false", ""),
    ],
)
def test_a_projector(hub: Hub, vision: Result, mmproj: str, name: str) -> None:
    done = call(vision, mmproj=mmproj)
    assert pathlib.PurePath(done["mmproj"]).name == name
    assert requests_during(hub, lambda: call(vision, mmproj=mmproj)) == 0


def test_another_projector_is_another_choice(vision: Result) -> None:
    assert names([call(vision, mmproj=label)["mmproj"] for label in ("F16", "BF16", "F16")]) == [
        "mmproj-Vision-F16.gguf",
        "mmproj-Vision-BF16.gguf",
        "mmproj-Vision-F16.gguf",
    ]
    assert call(vision, state="absent", quant="Q4_K_M")["changed"]
    assert not list(pathlib.Path(vision["root"]).rglob("*.gguf"))


def test_a_projector_that_only_its_header_tells(wanted: Result) -> None:
    assert names([call(wanted, source="lab/plain", mmproj="true")["mmproj"]]) == ["vision-tower.gguf"]


def test_what_is_no_projector(vision: Result) -> None:
    assert "a LoRA adapter by its header" in problem(vision, mmproj="Vision-lora-polite.gguf")
    assert "gguf_model_mmproj: expected one of: BF16 (mmproj-Vision-BF16.gguf" in problem(vision, mmproj="Q8_0x")


class TestAdapters:
    def test_of_the_repository_of_another_and_of_the_host(
        self, hub: Hub, vision: Result, tmp_path: pathlib.Path
    ) -> None:
        own = tmp_path / "own.gguf"
        own.write_bytes(ADAPTER)
        wanted = {**vision, "lora": ["polite:0.5", "lab/LoRA-F16-GGUF", f"{own}:-1"]}
        planned = call(wanted, plan_only=True)
        assert planned["would_change"]
        assert names(each["name"] for each in planned["plan"]["fetch"]) == [
            "Vision-Q4_K_M.gguf",
            "Vision-lora-polite.gguf",
            "LoRA-f16.gguf",
        ]
        done = call(wanted)
        assert names(done["lora"]) == ["Vision-lora-polite.gguf:0.5", "LoRA-f16.gguf", "own.gguf:-1"]
        assert planned["lora"] == done["lora"]
        assert planned["plan"]["size"] == done["downloaded"] == done["size"] - own.stat().st_size
        assert done["size"] == sum(pathlib.Path(each["path"]).stat().st_size for each in done["files"])
        assert all(each["sha256"] for each in done["files"])
        again: list[Result] = []
        assert requests_during(hub, lambda: again.append(call(wanted))) == 0
        assert (again[0]["changed"], again[0]["lora"]) == (False, done["lora"])

    def test_one_is_fetched_again(self, vision: Result) -> None:
        path = pathlib.Path(call(vision, lora=["terse"])["lora"][0])
        path.unlink()
        assert call(vision, lora=["terse"], plan_only=True)["would_change"]
        assert call(vision, lora=["terse"])["changed"]
        assert path.is_file()

    @pytest.mark.parametrize(
        ("lora", "told"),
        [
            ("Q8_0", "a model by its header"),
            ("eagle3-F16", "a draft head for speculative decoding by its header"),
            ("lab/small", "which means none of the files"),
            ("true", "which means 2 of the files"),
            ("rude", "expected one of: polite (Vision-lora-polite.gguf"),
        ],
    )
    def test_what_is_none(self, vision: Result, lora: str, told: str) -> None:
        message = problem(vision, lora=[lora])
        assert message.startswith("gguf_model_lora: expected ")
        assert told in message


class TestDraft:
    @pytest.mark.parametrize(
        ("draft", "name", "kind"),
        [
            ("true", "Vision-eagle3-F16.gguf", "draft-eagle3"),
            ("F16", "Vision-eagle3-F16.gguf", "draft-eagle3"),
            ("lab/small:Q4_K_M", "Small-Q4_K_M.gguf", "draft-simple"),
        ],
    )
    def test_a_head_or_a_small_model(self, hub: Hub, vision: Result, draft: str, name: str, kind: str) -> None:
        done = call(vision, draft=draft)
        assert (names([done["draft"]]), done["draft_type"]) == ([name], kind)
        assert requests_during(hub, lambda: call(vision, draft=draft)) == 0

    def test_an_adapter_is_none(self, vision: Result) -> None:
        assert "expected a draft head for speculative decoding, found 'LoRA-f16.gguf'" in problem(
            vision, draft="lab/LoRA-F16-GGUF:f16"
        )
