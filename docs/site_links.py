# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A hook of MkDocs: on the site, links to files outside docs/ lead to the repository.

In the repository the same links are relative paths, so they work there too.
"""

import pathlib
import re
import typing

ROOT = pathlib.Path(__file__).resolve().parents[1]
_LINK = re.compile(r"\]\(\.\./(?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")


class MissingFileError(Exception):
    """A page links to a file that is not in the repository."""


def on_page_markdown(markdown: str, page: typing.Any, config: typing.Any, **_more: object) -> str:
    """Return ``markdown`` with links to files outside docs/ pointing to the repository's web pages.

    Raise MissingFileError if a page links to a file that does not exist.
    """
    return rewrite(markdown, page.file.src_uri, config["extra"]["repository"])


def rewrite(markdown: str, name: str, repository: str) -> str:
    """Return the text of page ``name`` with each ``../PATH`` replaced by a URL below ``repository``."""

    def replace(match: re.Match[str]) -> str:
        target = ROOT / match["path"]
        if not target.exists():
            raise MissingFileError(f"docs/{name} links to ../{match['path']}, which does not exist")
        kind = "tree" if target.is_dir() else "blob"
        return f"]({repository}/{kind}/main/{match['path']}{match['anchor'] or ''})"

    return _LINK.sub(replace, markdown)
