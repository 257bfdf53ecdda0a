# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Tests of the checks of the documentation site, and of its links to the repository."""

import html
import importlib.util
import json
import pathlib
import re
import types

import pytest

from tests.harness import site

ROOT = pathlib.Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"


def load(name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_page_that_fetches_from_another_host_is_found(tmp_path: pathlib.Path) -> None:
    (tmp_path / "own.html").write_text(
        '<link rel="stylesheet" href="a.css"><script src="../b.js"></script>'
        '<a href="https://example.org">a link is not fetched</a><link rel="canonical" href="https://example.org/own">',
        encoding="utf-8",
    )
    assert site.foreign(tmp_path) == []
    (tmp_path / "other.html").write_text(
        '<script src="//cdn.example.org/x.js"></script><link rel="stylesheet" href="https://fonts.example.org/f">'
        '<img src="http://example.org/i.png">',
        encoding="utf-8",
    )
    (tmp_path / "a.css").write_text("@font-face {src: url('https://fonts.example.org/g')} b {background: url(c.svg)}")
    assert site.foreign(tmp_path) == [
        "other.html: //cdn.example.org/x.js",
        "other.html: https://fonts.example.org/f",
        "other.html: http://example.org/i.png",
        "a.css: https://fonts.example.org/g",
    ]


def test_a_variable_that_the_search_does_not_know_is_found(tmp_path: pathlib.Path) -> None:
    (tmp_path / "search").mkdir()
    docs = [{"title": "Reference", "text": "llama_server_port <td>TCP</td>"}]
    (tmp_path / "search" / "search_index.json").write_text(json.dumps({"docs": docs}), encoding="utf-8")
    assert site.unsearchable(tmp_path, ["llama_server_port", "llama_server_po"]) == ["llama_server_po"]


def test_the_reference_lists_role_variables() -> None:
    names = site.role_variables(DOCS / "reference.md")
    assert len(names) > 100
    assert {"llama_server_port", "gguf_model_source"} <= set(names)


def test_links_to_files_outside_the_docs_lead_to_the_repository() -> None:
    rewrite = load("site_links").rewrite
    text = "[a](../compose.yaml), [b](../examples/quadlet), [c](../CONTRIBUTING.md#tests), [d](fleet.md)"
    assert rewrite(text, "x.md", "https://example.org/r") == (
        "[a](https://example.org/r/blob/main/compose.yaml), [b](https://example.org/r/tree/main/examples/quadlet), "
        "[c](https://example.org/r/blob/main/CONTRIBUTING.md#tests), [d](fleet.md)"
    )


def test_a_link_to_a_file_that_does_not_exist_is_an_error() -> None:
    links = load("site_links")
    with pytest.raises(links.MissingFileError, match=r"docs/x\.md links to \.\./nowhere\.md"):
        links.rewrite("[a](../nowhere.md)", "x.md", "https://example.org/r")


def test_the_picture_is_made_of_its_source() -> None:
    source = (DOCS / "architecture.dot").read_text(encoding="utf-8")
    words = {line for label in re.findall(r'label="([^"]*)"', source) for line in label.split("\\n")}
    picture = html.unescape((DOCS / "architecture.svg").read_text(encoding="utf-8"))
    assert set(re.findall(r"<text[^>]*>([^<]+)</text>", picture)) == words
    arrows = sum(line.count("->") for line in source.splitlines() if not line.lstrip().startswith("//"))
    assert picture.count('class="edge"') == arrows + 2  # one arrow in the source is that of three programs
