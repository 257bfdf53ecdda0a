# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test that all forms of an address mean the same, for any name of a repository, file or revision."""

from __future__ import annotations

import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import label
from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import HubSource, parse_source
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

RESERVED = {"models", "datasets", "spaces", "collections", "api", "docs", "blog"}
OWNERS = st.from_regex(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,12}[A-Za-z0-9])?", fullmatch=True).filter(
    lambda name: "--" not in name and name.lower() not in RESERVED
)
REPOS = st.from_regex(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,20}[A-Za-z0-9_])?", fullmatch=True).filter(
    lambda name: ".." not in name and "--" not in name and not name.endswith((".git", ".gguf"))
)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,20}", fullmatch=True)
FILES = st.lists(NAMES.filter(lambda name: not name.lower().endswith(".gguf")), min_size=1, max_size=3).map(
    lambda parts: "/".join(parts) + ".gguf"
)
REVISIONS = st.one_of(
    st.just(""),
    st.from_regex(r"[0-9a-f]{40}", fullmatch=True),
    NAMES.filter(lambda name: ".." not in name and not label(name) and name != "main" and name != "refs"),
    st.integers(1, 999).map(lambda number: f"refs/pr/{number}"),
)


@given(OWNERS, REPOS, FILES, REVISIONS)
def test_every_form_of_a_file_means_it(owner: str, name: str, file: str, revision: str) -> None:
    repo = f"{owner}/{name}"
    at = f"@{revision}" if revision else ""
    viewed = urllib.parse.quote(revision or "main", safe="")
    page, path = f"huggingface.co/{repo}", urllib.parse.quote(file)
    forms = {
        f"{repo}{at}:{file}",
        f"{repo}{at}/{file}",
        f"hf://{repo}{at}/{file}",
        f"huggingface://{repo}{at}/{file}",
        f"hf.co/{repo}{at}:{urllib.parse.quote(file, safe='/')}",
        f"https://{page}/blob/{viewed}/{path}",
        f"https://{page}/tree/{viewed}?show_file_info={urllib.parse.quote(file, safe='')}",
    }
    assert {parse_source(form) for form in forms} == {HubSource(repo, file, revision)}
    assert parse_source(str(HubSource(repo, file, revision))) == HubSource(repo, file, revision)


@given(OWNERS, REPOS, NAMES.filter(lambda name: name != "latest"))
def test_every_form_of_a_label_means_it(owner: str, name: str, quant: str) -> None:
    forms = [f"{start}{owner}/{name}:{quant}" for start in ("", "hf://", "hf.co/", "https://huggingface.co/")]
    assert {parse_source(form) for form in forms} == {HubSource(f"{owner}/{name}", quant)}


@given(st.text(max_size=80))
def test_any_text_is_a_source_or_a_problem(text: str) -> None:
    try:
        source = parse_source(text)
    except ProblemError as error:
        assert all(problem.subject == "gguf_model_source" for problem in error.problems)
    else:
        assert parse_source(str(source)) == source


@given(st.text(alphabet="ab/:@.%?#-~ gu", max_size=40))
@pytest.mark.parametrize("start", ["", "hf://", "https://huggingface.co/", "https://h.co/"])
def test_texts_that_are_almost_addresses(start: str, text: str) -> None:
    try:
        source = parse_source(start + text)
    except ProblemError:
        return
    assert parse_source(str(source)) == source
    if isinstance(source, HubSource):
        assert all(part not in ("", ".", "..") for part in source.repo.split("/"))
        assert ".." not in source.revision
