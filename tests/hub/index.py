# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Serve a package index (PEP 503 as HTML, PEP 691 as JSON) from a flat folder of wheels and source distributions."""

from __future__ import annotations

import hashlib
import html
import json
import re
import typing

if typing.TYPE_CHECKING:
    import pathlib

JSON = "application/vnd.pypi.simple.v1+json"


def normalized(project: str) -> str:
    return re.sub(r"[-_.]+", "-", project).lower()


def project_of(name: str) -> str:
    """Return the project in a file's name; empty if it is not a distribution's name."""
    if name.endswith(".whl"):
        return normalized(name.partition("-")[0])
    if name.endswith(".tar.gz"):
        return normalized(name[: -len(".tar.gz")].rpartition("-")[0])
    return ""


class Index:
    """The pages of the index."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._sums: dict[tuple[str, int, int], str] = {}

    def page(self, project: str, accept: str) -> tuple[str, str] | None:
        """Return the content type and text of a project's page, or of the project list if ``project`` is empty; None if
        unknown.
        """
        paths = (
            sorted(path for path in self._folder.glob("*") if project_of(path.name)) if self._folder.is_dir() else []
        )
        if not project:
            return self._projects(sorted({project_of(path.name) for path in paths}), accept)
        files = [path for path in paths if project_of(path.name) == normalized(project)]
        if not files:
            return None
        return self._json(project, files) if JSON in accept else self._html(files)

    def _projects(self, names: list[str], accept: str) -> tuple[str, str]:
        if JSON in accept:
            return JSON, json.dumps({"meta": {"api-version": "1.0"}, "projects": [{"name": name} for name in names]})
        links = "".join(f'<a href="{name}/">{name}</a>\n' for name in names)
        return "text/html", f"<!DOCTYPE html><html><body>\n{links}</body></html>"

    def _json(self, project: str, files: list[pathlib.Path]) -> tuple[str, str]:
        entries: list[dict[str, typing.Any]] = [
            {
                "filename": path.name,
                "url": f"../../packages/{path.name}",
                "hashes": {"sha256": self._sum(path)},
                "size": path.stat().st_size,
            }
            for path in files
        ]
        return JSON, json.dumps({"meta": {"api-version": "1.0"}, "name": normalized(project), "files": entries})

    def _html(self, files: list[pathlib.Path]) -> tuple[str, str]:
        links = "".join(
            f'<a href="../../packages/{html.escape(path.name)}#sha256={self._sum(path)}">{html.escape(path.name)}</a>\n'
            for path in files
        )
        return "text/html", f"<!DOCTYPE html><html><body>\n{links}</body></html>"

    def _sum(self, path: pathlib.Path) -> str:
        status = path.stat()
        key = (path.name, status.st_size, status.st_mtime_ns)
        if key not in self._sums:
            with path.open("rb") as file:
                digest = hashlib.sha256()
                for chunk in iter(lambda: file.read(1 << 20), b""):
                    digest.update(chunk)
            self._sums[key] = digest.hexdigest()
        return self._sums[key]
