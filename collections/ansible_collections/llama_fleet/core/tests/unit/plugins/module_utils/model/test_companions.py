# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test what adapters and draft models a request wants, and how the results are merged."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import argument_spec
from ansible_collections.llama_fleet.core.plugins.module_utils.model import companions
from ansible_collections.llama_fleet.core.plugins.module_utils.model.request import Request, request_of
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

DEFAULTS = {name: argument.get("default") for name, argument in argument_spec(Request).items()}


def requested(**given: typing.Any) -> list[companions.Companion]:
    return companions.requested(request_of({**DEFAULTS, "plan_only": False, "source": "o/model", **given}, False))


@pytest.mark.parametrize(
    ("given", "source", "label", "scale"),
    [
        ("polite", "o/model", "polite", ""),
        ("polite:0.5", "o/model", "polite", "0.5"),
        ("loras/polite.gguf:-1", "o/model", "loras/polite.gguf", "-1"),
        ("a/lora", "a/lora", "true", ""),
        ("a/lora:F16", "a/lora", "F16", ""),
        ("hf://a/lora:F16:.25", "a/lora", "F16", ".25"),
        ("o/model:polite", "o/model", "polite", ""),
        ("hf.co/a/lora:F16", "a/lora", "F16", ""),
        ("https://huggingface.co/a/lora/blob/main/polite.gguf", "a/lora", "polite.gguf", ""),
        ("hf://o/model/polite.gguf", "o/model", "polite.gguf", ""),
        ("/srv/polite.gguf:2", "/srv/polite.gguf", "true", "2"),
    ],
)
def test_where_an_adapter_comes_from(given: str, source: str, label: str, scale: str) -> None:
    (each,) = requested(lora=[given])
    inside = each.request
    assert (str(inside.source), inside.label, each.scale, inside.kind) == (source, label, scale, "adapter")
    assert (inside.lora, inside.draft, inside.mmproj, inside.asked) == ((), "", "", f"adapter {label}")


def test_another_repository_has_its_own_revision() -> None:
    wanted = ["x", "a/b", "a/b@v3", "hf://o/model@v4/x.gguf"]
    revisions = [each.request.revision for each in requested(lora=wanted, revision="v2")]
    assert revisions == ["v2", "main", "v3", "v4"]


@pytest.mark.parametrize(
    ("given", "label"), [("true", "true"), ("yes", "true"), ("eagle3", "eagle3"), ("False", ""), ("", "")]
)
def test_a_draft_model(given: str, label: str) -> None:
    assert [each.request.label for each in requested(draft=given)] == [label] * bool(label)


@pytest.mark.parametrize("source", ["o/model", "https://host/m.gguf", f"pypi:x==1#sha256={'0' * 64}"])
def test_every_one_that_cannot_be_meant_is_reported(source: str) -> None:
    wrong = ["../x/y", "https://host/lora.gguf/x", ""] if source == "o/model" else ["polite"]
    with pytest.raises(ProblemError) as caught:
        requested(source=source, lora=wrong)
    assert [each.subject for each in caught.value.problems] == ["gguf_model_lora"] * len(wrong)
    assert "the absolute path of a file on the host" in str(caught.value)
