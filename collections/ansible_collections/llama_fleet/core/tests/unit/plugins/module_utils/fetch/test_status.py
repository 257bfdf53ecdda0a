# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import status
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import BrokenError, Place, RefusedError


class Answer:
    """An answer of a server: its status and headers."""

    def __init__(self, number: int, **headers: str) -> None:
        self.status = number
        self.via = ""
        self.headers = {name.replace("_", "-").lower(): value for name, value in headers.items()}

    def header(self, name: str) -> str:
        return self.headers.get(name.lower(), "")


def refusal(answer: Answer, moved: bool = False) -> typing.Any:
    place = Place("https://host/a?token=s3cret", {}, moved=moved)
    return status.refusal(typing.cast("typing.Any", answer), place)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(404), RefusedError),
        (Answer(403), RefusedError),
        (Answer(500), BrokenError),
        (Answer(408), BrokenError),
        (Answer(429), status.BusyError),
        (Answer(503), status.BusyError),
        (Answer(403, X_Error_Message="Rate limit reached"), status.BusyError),
        (Answer(403, Retry_After="5"), status.BusyError),
    ],
)
def test_what_a_status_means(answer: Answer, kind: type[Exception]) -> None:
    error = refusal(answer)
    assert (type(error), error.status) == (kind, answer.status)


@pytest.mark.parametrize("number", [401, 403, 410])
def test_a_location_that_was_signed_for_a_while_expires(number: int) -> None:
    kinds = [type(error) for error in (refusal(Answer(number), moved=True), refusal(Answer(number)))]
    assert kinds == [status.ExpiredError, RefusedError]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry_After": "7"}, 7.0),
        ({"Retry_After": "soon"}, None),
        ({"Retry_After": "9" * 19}, None),
        ({"Retry_After": "Sun, 06 Nov 1994 08:49:47 GMT", "Date": "Sun, 06 Nov 1994 08:49:37 GMT"}, 10.0),
        ({"Retry_After": "Sun, 06 Nov 1994 08:49:37 GMT"}, 0.0),
        ({"RateLimit": '"api";r=0;t=300'}, 300.0),
        ({"RateLimit": '"api";r=3;t=300'}, None),
    ],
)
def test_how_long_a_busy_server_wants_to_be_left_alone(headers: dict[str, str], seconds: float | None) -> None:
    assert refusal(Answer(429, **headers)).after == seconds


def test_no_header_writes_to_a_terminal_and_no_query_is_told() -> None:
    told = str(refusal(Answer(404, X_Error_Code="Gone\x1b[2J\n" + "x" * 99), moved=True))
    assert told == f"HTTP status 404 (Gone[2J{'x' * 53}) from https://host/a"


@pytest.mark.parametrize(
    ("first", "what"),
    [
        (b"GGUF", ""),
        (b" \n<!DOCTYPE html>", "an HTML page instead of the file"),
        (b"version https://git-lfs.github.com", "a Git LFS pointer instead of the file"),
    ],
)
def test_what_stands_in_for_a_file(first: bytes, what: str) -> None:
    assert status.impostor(first) == what


@pytest.mark.parametrize(
    "headers", [{"Content_Type": "text/html; charset=utf-8"}, {"Content_Encoding": "gzip"}], ids=["page", "packed"]
)
def test_a_page_or_a_packed_body_is_no_file(headers: dict[str, str]) -> None:
    with pytest.raises(RefusedError):
        status.require_plain(typing.cast("typing.Any", Answer(200, **headers)))
    status.require_plain(typing.cast("typing.Any", Answer(200, Content_Encoding="identity")))
