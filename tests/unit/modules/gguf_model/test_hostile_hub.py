# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A Hub whose answers are paths, other shapes, and sizes that cannot be: one sentence that names it, and no file
anywhere.
"""

from __future__ import annotations

import http.server
import json
import pathlib
import re
import threading
import typing

import pytest

from tests.unit.modules.gguf_model.case import REPO, Result, problem

SHA = "0123456789abcdef0123456789abcdef01234567"
SUM = "ab" * 32
MODEL: dict[str, typing.Any] = {"id": REPO, "sha": SHA, "siblings": []}
LFS = {"oid": SUM, "size": 900, "pointerSize": 134}
FILE: dict[str, typing.Any] = {"type": "file", "oid": SHA, "size": 900, "path": "m-Q4_K_M.gguf", "lfs": LFS}
# Another file of the host, which a Hub may want to have replaced or removed.
VICTIM = "victim"


class Answers(http.server.ThreadingHTTPServer):
    """Answers by the last part but one of the path: ``revision``, ``tree``; anything else is the file itself."""

    texts: dict[str, str]


class Handler(http.server.BaseHTTPRequestHandler):
    """One answer of any shape."""

    server: Answers

    def do_GET(self) -> None:
        self._tell(body=True)

    def do_HEAD(self) -> None:
        self._tell(body=False)

    def _tell(self, body: bool) -> None:
        kind = next((name for name in ("/revision/", "/tree/") if name in self.path), "")
        data = self.server.texts.get(kind, "").encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Repo-Commit", SHA)
        self.send_header("X-Linked-Etag", f'"{SUM}"')
        self.send_header("X-Linked-Size", "900")
        self.send_header("Content-Length", str(len(data) if kind else 900))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_words: object) -> None:
        """Keep quiet."""


@pytest.fixture
def hostile(wanted: Result) -> typing.Iterator[tuple[Result, dict[str, str]]]:
    server = Answers(("127.0.0.1", 0), Handler)
    server.texts = {"/revision/": json.dumps(MODEL), "/tree/": json.dumps([FILE])}
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    (pathlib.Path(wanted["root"]).parent / VICTIM).write_text("untouched", encoding="utf-8")
    yield {**wanted, "endpoint": f"http://127.0.0.1:{server.server_address[1]}"}, server.texts
    server.shutdown()
    thread.join(10)
    server.server_close()


def assert_untouched(wanted: Result) -> None:
    root = pathlib.Path(wanted["root"])
    assert (root.parent / VICTIM).read_text(encoding="utf-8") == "untouched"
    assert not [path for path in root.rglob("*") if path.is_file() and "locks" not in path.parts]


def one_sentence(told: str) -> bool:
    return told.count("\n") == 0 and told.isprintable() and told.endswith(".")


SHAS = [
    "../../../../victim",
    "/etc/passwd",
    SHA.upper(),
    SHA[:39],
    "",
    f"{SHA}\n",
    f"{SHA}/..",
    None,
    7,
    [SHA],
    {"sha": SHA},
    True,
]


@pytest.mark.parametrize("sha", SHAS)
def test_a_commit_that_is_none(hostile: tuple[Result, dict[str, str]], sha: object) -> None:
    wanted, answers = hostile
    answers["/revision/"] = json.dumps({**MODEL, "sha": sha})
    told = problem(wanted)
    assert told.startswith(
        "gguf_model_endpoint: expected a server that speaks the Hub's protocol, found an answer of "
        f"{wanted['endpoint']} for '{REPO}' that no Hub gives (the commit of 'main' "
    )
    assert one_sentence(told)
    assert_untouched(wanted)


OIDS = [
    "../../../../victim",
    "/etc/passwd",
    SUM.upper(),
    f"{SUM}0",
    f"sha256:{SUM}",
    f"{SUM}\n",
    7,
    [SUM],
    {"a": 1},
    True,
]
PATHS: list[object] = [
    "../../victim.gguf",
    "/etc/m-Q4_K_M.gguf",
    "a//m-Q4_K_M.gguf",
    "a/./m-Q4_K_M.gguf",
    "\x1b[2Jm-Q4_K_M.gguf",
    "m\0-Q4_K_M.gguf",
    "a\ud800-Q4_K_M.gguf",
]
PATHS += [f"{'x' * 300}-Q4_K_M.gguf", f"{'a/' * 600}m-Q4_K_M.gguf", 7, None, ["m-Q4_K_M.gguf"], {}]
SIZES = [-1, 1 << 60, 1.5, "900", None, [900], True, 10**400]


@pytest.mark.parametrize(
    "entry",
    [
        *({**FILE, "lfs": {**LFS, "oid": oid}} for oid in OIDS),
        *({**FILE, "path": path} for path in PATHS),
        *({**FILE, "size": size} for size in SIZES),
    ],
)
def test_a_file_that_cannot_be(hostile: tuple[Result, dict[str, str]], entry: dict[str, typing.Any]) -> None:
    wanted, answers = hostile
    answers["/tree/"] = json.dumps([entry])
    told = problem(wanted)
    assert told.startswith(
        "gguf_model_endpoint: expected a server that speaks the Hub's protocol, found an answer of "
        f"{wanted['endpoint']} for '{REPO}' that no Hub gives (an entry."
    )
    assert one_sentence(told)
    assert_untouched(wanted)


SHAPES = [
    "{}",
    "[]",
    "null",
    '"text"',
    "7",
    "[[]]",
    "[null]",
    '["x"]',
    '[{"type": "file"}]',
    "[" * 50_000,
    '{"error": {}}',
    "<html>",
    "",
]
ODD_LFS: list[object] = [[], "x", 7, {"oid": SUM}, True]
SHAPES += [json.dumps([{**FILE, "lfs": lfs}]) for lfs in ODD_LFS]
SHAPES += [
    json.dumps([{**FILE, "lastCommit": commit}]) for commit in ("x", {"id": 1}, {"id": 1, "title": 1, "date": 7})
]


@pytest.mark.parametrize("text", SHAPES)
@pytest.mark.parametrize("kind", ["/revision/", "/tree/"])
def test_no_shape_of_an_answer_ends_in_a_traceback(
    hostile: tuple[Result, dict[str, str]], kind: str, text: str
) -> None:
    wanted, answers = hostile
    answers[kind] = text
    told = problem(wanted)
    assert re.match("gguf_model_(endpoint: expected .+, found |source: expected .+, found no GGUF model)", told)
    assert one_sentence(told)
    assert_untouched(wanted)


def test_an_empty_model_is_none(hostile: tuple[Result, dict[str, str]]) -> None:
    wanted, answers = hostile
    answers["/tree/"] = json.dumps([{**FILE, "size": 0}])
    assert problem(wanted).startswith(
        f"gguf_model_source: expected a GGUF file, found 'm-Q4_K_M.gguf' in '{REPO}', which is empty"
    )
