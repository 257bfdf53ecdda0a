# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Answer a call of the Hub that only mirrors make: the entries at given paths."""

from __future__ import annotations

import json
import typing
import urllib.parse

from tests.hub.server import _Front, _tree

if typing.TYPE_CHECKING:
    from tests.hub import Hub


class _WithPathsInfo(_Front):
    def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        parts = urllib.parse.unquote(self.path).strip("/").split("/")
        if len(parts) != 6 or parts[4] != "paths-info":
            self.refuse(404, "Not found")
            return
        repo = "/".join(parts[2:4])
        if self._access(repo, parts[5]) is not None:
            form = "json" not in self.headers.get("Content-Type", "")
            paths = urllib.parse.parse_qs(body).get("paths", []) if form else json.loads(body)["paths"]
            self.answer_json([entry for entry in _tree(self.hub.repos.files(repo)) if entry["path"] in paths])


def answer_paths_info(hub: Hub) -> None:
    """Make ``hub`` answer that call."""
    hub._front.RequestHandlerClass = _WithPathsInfo
