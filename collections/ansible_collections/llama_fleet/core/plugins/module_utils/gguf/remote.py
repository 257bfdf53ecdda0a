# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Read a GGUF file on a web server by ranges; its size and first bytes cost one request."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import ask as http_ask
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import Reached, opened, tried, unreachable
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import BrokenError, OriginError, Road, bare
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.status import (
    refusal,
    require_unpacked,
    whole_number,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.reader import FIRST_BLOCK, Read
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

_MOST_SKIPPED = 1 << 30  # bytes to skip if a server does not support ranges
_REFUSED = (401, 403)


class RemoteGguf:
    """The file at ``url``. ``headers`` are sent to its own origin only, never to a redirect's target."""

    def __init__(self, url: str, headers: typing.Mapping[str, str], variable: str, first: int = FIRST_BLOCK) -> None:
        self._variable = variable
        # A short look does not wait long: the download waits, and reports what is wrong with the server.
        self._patience = http_ask.USUAL if first >= FIRST_BLOCK else dataclasses.replace(http_ask.USUAL, longest_wait=1)
        self._given = "the token that was given" if "Authorization" in headers else "no token"
        try:
            self._road = Road(url, headers)
        except OriginError as error:
            raise unreachable(variable, url, error) from error
        self.where = bare(url)  # without the query, which may hold a signature
        self.size = 0
        self._first = self._ask(0, first)

    def read(self, begin: int, end: int) -> bytes:
        """Return the bytes from ``begin`` to ``end`` (exclusive). Raises ProblemError."""
        return self._first[begin:end] if end <= len(self._first) else self._ask(begin, end)

    def _ask(self, begin: int, end: int) -> bytes:
        try:
            return tried(lambda: self._ask_once(begin, end), self._patience)
        except OriginError as error:
            if error.status == 416 and begin == 0:  # the file is empty
                return b""
            raise self._refusal(error) from None

    def _ask_once(self, begin: int, end: int) -> bytes:
        with opened(
            self._road, self._road.begin(), {"Range": f"bytes={begin}-{end - 1}"}, self._patience.large
        ) as reached:
            answer = reached.answer
            if answer.status not in (200, 206):
                raise refusal(answer, reached.place)
            require_unpacked(answer)
            self.size = self.size or self._reported_size(reached)
            skipped = 0 if answer.status == 206 else begin  # no support for ranges: skip the bytes before ``begin``
            if skipped > _MOST_SKIPPED:
                no_ranges = f"{self.where}, whose server sends no ranges"
                raise ProblemError(Problem(self._variable, no_ranges, "one that does", "use another server"))
            count = min(end, self.size) - begin
            answer.expect(skipped + count)
            data = answer.start(skipped + count)[skipped:]
            if len(data) < count and answer.left:  # the server promised more bytes
                raise BrokenError(f"an answer truncated at byte {begin + len(data)} of {self.size}")
            return data

    def _reported_size(self, reached: Reached) -> int:
        answer = reached.answer
        whole = (
            answer.header("Content-Range").rpartition("/")[2]
            if answer.status == 206
            else answer.header("Content-Length")
        )
        for text in (reached.linked.get("X-Linked-Size", ""), whole):
            size = whole_number(text)
            if size is not None:
                return size
        no_size = f"{self.where}, whose server reports no size"
        raise ProblemError(Problem(self._variable, no_size, "the size of the file", "use another server"))

    def _refusal(self, error: OriginError) -> ProblemError:
        if error.status not in _REFUSED:
            return unreachable(self._variable, self.where, error)
        status = f"HTTP status {error.status} from {self.where} with {self._given}"
        fix = "give the token of an account that was granted access"
        return ProblemError(Problem(self._variable, status, "a readable file", fix))


def lazily(url: str, headers: typing.Mapping[str, str], variable: str) -> Read:
    """Return a function that reads ranges of a file and asks for no byte before it is called."""
    opened_files: list[RemoteGguf] = []

    def read(begin: int, end: int) -> bytes:
        if not opened_files:
            opened_files.append(RemoteGguf(url, headers, variable, end))
        return opened_files[0].read(begin, end)

    return read
