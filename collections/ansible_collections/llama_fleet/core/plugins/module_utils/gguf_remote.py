# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A GGUF file on a web server, read by ranges: its size and its first bytes cost one request."""

from __future__ import annotations

import http.client
import typing
import urllib.error
import urllib.request

from ansible_collections.llama_fleet.core.plugins.module_utils.download import SameOriginRedirects, tried, unreachable
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf_header import FIRST_BLOCK
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

_TIMEOUT = 60.0  # seconds without a byte


class RemoteGguf:
    """The file at ``url``. ``headers`` go to its own origin and never to another one that it redirects to."""

    def __init__(self, url: str, headers: typing.Mapping[str, str], variable: str) -> None:
        self.where = url.partition("?")[0]  # a query may hold a signature
        self._url = url
        self._headers = headers
        self._variable = variable
        self.size = 0
        self._first = self._ask(0, FIRST_BLOCK)

    def read(self, begin: int, end: int) -> bytes:
        """The bytes from ``begin`` up to, not including, ``end``."""
        return self._first[begin:end] if end <= len(self._first) else self._ask(begin, end)

    def _ask(self, begin: int, end: int) -> bytes:
        try:
            return tried(lambda: self._ask_once(begin, end), self._url)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 416 and begin == 0:  # there is no first byte
                    return b""
                raise self._refusal(error) from None
        except OSError as error:
            raise unreachable(self._variable, self.where, error) from None
        except http.client.HTTPException as error:
            raise unreachable(self._variable, self.where, OSError(f"{type(error).__name__} {error}".strip())) from None

    def _ask_once(self, begin: int, end: int) -> bytes:
        redirects = SameOriginRedirects()
        request = urllib.request.Request(self._url, headers={"User-Agent": "llama-fleet", **self._headers, "Range": f"bytes={begin}-{end - 1}"})
        with urllib.request.build_opener(redirects).open(request, timeout=_TIMEOUT) as answer:
            self.size = self.size or self._told_size(answer, redirects.linked)
            if answer.status != 206:  # no ranges here: what goes before is passed over
                answer.read(begin)
            count = min(end, self.size) - begin
            data: bytes = answer.read(count)
            if len(data) < count and answer.length:  # what was promised is still to come
                raise OSError(f"the connection broke off at {begin + len(data)} of {self.size} bytes")
            return data

    def _told_size(self, answer: typing.Any, linked: typing.Mapping[str, str]) -> int:
        whole = answer.headers["Content-Range"].rpartition("/")[2] if answer.headers["Content-Range"] else answer.headers["Content-Length"]
        for told in (linked.get("X-Linked-Size"), whole):
            if told and told.isdigit():
                return int(told)
        raise ProblemError(Problem(self._variable, f"{self.where}, whose server tells no size", "the size of the file", "use another server"))

    def _refusal(self, error: urllib.error.HTTPError) -> ProblemError:
        if error.code not in (401, 403):
            return unreachable(self._variable, self.where, error)
        given = "the token that was given" if "Authorization" in self._headers else "no token"
        found = f"HTTP status {error.code} from {self.where} with {given}"
        return ProblemError(Problem(self._variable, found, "a file that may be read", "give the token of an account that was granted access"))
