# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The code that the pages about extending llama-fleet quote is the code of the file that their heading names."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "collections" / "ansible_collections" / "llama_fleet" / "core" / "plugins"
# Pages, and how many lines of code each quotes at least.
PAGES = {"add-a-model-source": 10, "add-a-runtime": 12, "add-an-option": 5}
HEADING = re.compile(r"^## \d+\. `(?P<file>[\w/.]+\.(?:py|yml))`", re.MULTILINE)


def quotes(text: str) -> list[tuple[str, str]]:
    """Return each quoted line of code with the file that the heading before it names."""
    found = []
    for section in re.split(r"^(?=## )", text, flags=re.MULTILINE):
        heading = HEADING.match(section)
        for block in re.findall(r"^```(?:python|yaml)\n(.*?)^```", section, re.DOTALL | re.MULTILINE):
            assert heading, f"code below a heading that names no file: {section.splitlines()[0]}"
            lines = [line.strip() for line in block.splitlines()]
            found += [(heading["file"], line) for line in lines if line not in ("", "...")]
    return found


@pytest.mark.parametrize(("page", "least"), PAGES.items())
def test_the_code_that_a_page_quotes_is_in_its_file(page: str, least: int) -> None:
    found = quotes((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"))
    assert len(found) >= least
    folders = {name: PLUGINS if name.startswith("modules/") else PLUGINS / "module_utils" for name, _line in found}
    texts = {name: (folder / name).read_text(encoding="utf-8") for name, folder in folders.items()}
    lines = {name: {line.strip() for line in text.splitlines()} for name, text in texts.items()}
    assert [(name, line) for name, line in found if line not in lines[name]] == []
