# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""``python -m tests.harness.site FOLDER`` checks a built documentation site.

Its pages must load nothing from another host, and its search index must have every page and role variable.
"""

from __future__ import annotations

import html.parser
import json
import pathlib
import re
import sys

# The attribute by which each of these elements makes a browser fetch something.
_FETCHING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
# Links that a browser does not fetch by itself.
_NOT_FETCHED = ("canonical", "next", "prev", "alternate", "license")


class _Fetched(html.parser.HTMLParser):
    """A parser that collects the addresses that a browser fetches when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and given.get("rel") in _NOT_FETCHED:
            return
        address = given.get(_FETCHING.get(tag, ""))
        if address:
            self.addresses.append(address)


def foreign(folder: pathlib.Path) -> list[str]:
    """Return ``PAGE: ADDRESS`` for each address on another host that a page or style sheet fetches."""
    found = []
    for page in sorted(folder.rglob("*.html")):
        parser = _Fetched()
        parser.feed(page.read_text(encoding="utf-8"))
        found += [f"{page.relative_to(folder)}: {address}" for address in parser.addresses if _is_foreign(address)]
    for sheet in sorted(folder.rglob("*.css")):
        addresses = re.findall(r"url\(['\"]?([^'\")]+)", sheet.read_text(encoding="utf-8"))
        found += [f"{sheet.relative_to(folder)}: {address}" for address in addresses if _is_foreign(address)]
    return found


def _is_foreign(address: str) -> bool:
    return address.startswith(("http:", "https:", "//"))


def unsearchable(folder: pathlib.Path, words: list[str]) -> list[str]:
    """Return the ``words`` that the site's search index does not have."""
    index = json.loads((folder / "search" / "search_index.json").read_text(encoding="utf-8"))
    text = "\n".join(f"{entry['title']}\n{entry['text']}" for entry in index["docs"])
    return [word for word in words if not re.search(rf"\b{re.escape(word)}\b", text)]


def role_variables(reference: pathlib.Path) -> list[str]:
    """Return the names of the role variables of docs/reference.md."""
    return re.findall(r"^\| `(\w+)` \|", reference.read_text(encoding="utf-8"), re.MULTILINE)


def main() -> int:
    """Print each problem of the site in ``sys.argv[1]``; return 1 if there is one."""
    folder = pathlib.Path(sys.argv[1])
    variables = role_variables(pathlib.Path(__file__).resolve().parents[2] / "docs" / "reference.md")
    missing = unsearchable(folder, variables)
    problems = [*(f"fetched from another host: {line}" for line in foreign(folder))]
    problems += [f"not found by the search: {word}" for word in missing]
    print("\n".join(problems) or f"{folder}: no request to another host, {len(variables)} role variables in the search")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
