# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Ask a llama-server for chat completions, for its models, and whether it serves a web interface."""

import contextlib
import dataclasses
import functools
import ssl
import typing
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence

import httpx2

from ansible_collections.llama_fleet.core.plugins.module_utils import untrusted
from ansible_collections.llama_fleet.core.plugins.module_utils.host.ports import is_loopback
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import trust as server_trust
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Many, Maybe, Number, Real, Record
from llama_fleet import printed
from llama_fleet.chat.connection import Guard
from llama_fleet.errors import ExitCode, FleetError

# Seconds to connect, without a byte from the server, for an answer, and for any other reply.
CONNECT, SILENCE, ANSWER, BRIEF = 10.0, 600.0, 3600.0, 20.0
# Most characters of an answer, and most bytes of any other reply or of one event of a stream.
MOST, MOST_BODY = 1 << 20, 1 << 20
_OK, _UNAUTHORIZED, _LOADING = 200, 401, 503
_FULL = "exceed_context_size_error"

Message = Mapping[str, str]


class ServerError(FleetError):
    """An error that the server answered, or an answer that is not one."""


class KeyRefusedError(ServerError):
    """An error of a server that asks for another API key."""


class UnreachableError(FleetError):
    """An error of a server that does not answer."""

    exit_code: int = ExitCode.UNREACHABLE


@dataclasses.dataclass(frozen=True)
class Target:
    """A server to ask. ``base`` is its URL without a slash at its end; ``trust`` identifies an own instance."""

    base: str
    key: str = dataclasses.field(default="", repr=False)
    authority: str = ""  # a file in PEM with the certificates to trust; empty: those of this machine
    trust: server_trust.Trust | None = None


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of an answer, or of the reasoning before it."""

    text: str
    reasoning: bool = False


@dataclasses.dataclass(frozen=True)
class Totals:
    """The end of an answer. ``speed`` is in tokens per second, 0 if not told; ``cut`` says that a limit ended it."""

    tokens: int = 0
    speed: float = 0.0
    cut: bool = False


def _text(value: object, where: str) -> str:
    """Return any text, with unpaired surrogates replaced, because the next request must be UTF-8."""
    if not isinstance(value, str):
        raise untrusted.ShapeError(f"{where} is not a text")
    return value.encode("utf-8", "replace").decode("utf-8")


_DELTA = Record(optional={"content": Maybe(_text, ""), "reasoning_content": Maybe(_text, "")})
_CHOICE = Record(optional={"delta": Maybe(_DELTA, {}), "finish_reason": Maybe(_text, "")})
_ERROR = Record(optional={"message": Maybe(_text, ""), "type": Maybe(_text, "")})
_CHUNK = Record(
    optional={
        "choices": Many(_CHOICE, most=16),
        "usage": Maybe(Record(optional={"completion_tokens": Number()}), {}),
        "timings": Maybe(Record(optional={"predicted_n": Number(), "predicted_per_second": Real()}), {}),
        "error": _ERROR,
    }
)
_FAILED = Record(optional={"error": Maybe(_ERROR, {})})
_MODELS = Record({"data": Many(Record({"id": untrusted.Word(4096)}))})


@dataclasses.dataclass(frozen=True)
class Server:
    """A client of the server at ``target``."""

    target: Target
    answer_seconds: float = ANSWER

    def answer(self, messages: Sequence[Message], **options: object) -> Iterator[Piece | Totals]:
        """Ask for the answer to a conversation and yield its pieces as they arrive, then its totals.

        ``options`` are fields of the request, such as max_tokens. Raises ServerError and UnreachableError.
        """
        body = {"messages": list(messages), "stream": True, "stream_options": {"include_usage": True}, **options}
        with self._asked("POST", "/v1/chat/completions", self.answer_seconds, body) as response:
            _require_ok(response)
            yield from _streamed(response)

    def models(self) -> list[str]:
        """Return the names of the models that the server offers. Raises ServerError and UnreachableError."""
        with self._asked("GET", "/v1/models", BRIEF) as response:
            _require_ok(response)
            try:
                listed = untrusted.parse(_body(response), _MODELS, "its list of models")
            except untrusted.ShapeError as error:
                raise ServerError(f"The server's answer cannot be used: {error}.") from error
        return [str(model["id"]) for model in listed["data"]]

    def has_interface(self) -> bool:
        """Return whether the server serves a web interface. Raises UnreachableError."""
        with self._asked("GET", "/", BRIEF, accept="text/html") as response:
            return response.status_code == _OK and response.headers.get("content-type", "").startswith("text/html")

    @contextlib.contextmanager
    def _asked(
        self, method: str, path: str, seconds: float, body: object = None, accept: str = "*/*"
    ) -> Iterator[httpx2.Response]:
        """Send a request and yield the response, whose body is not read yet."""
        target, place = self.target, urllib.parse.urlsplit(self.target.base)
        port = place.port or (443 if place.scheme == "https" else 80)
        guard = Guard(place.hostname or "", port, seconds, target.trust)
        # The web interface needs no key.
        keyed = {"Authorization": f"Bearer {target.key}"} if target.key and path != "/" else {}
        try:
            with (
                guard,
                httpx2.Client(
                    verify=self._context,
                    timeout=httpx2.Timeout(min(seconds, SILENCE), connect=CONNECT),
                    trust_env=not is_loopback(place.hostname or ""),
                ) as client,
                client.stream(
                    method,
                    target.base + path,
                    json=body,
                    headers={"Accept": accept, **keyed},
                    extensions={"trace": guard.trace},
                ) as response,
            ):
                yield response
        except (httpx2.TransportError, httpx2.InvalidURL, OSError) as error:
            reason = f"no end of its answer within {seconds:g} s" if guard.is_over else str(error)
            raise UnreachableError(
                f"{target.base} gave no answer: {printed.one_line(reason or type(error).__name__)}. "
                "Fix: Look with './llama-fleet status' whether it runs."
            ) from error

    @functools.cached_property
    def _context(self) -> ssl.SSLContext | bool:
        """Return what verifies the server's certificate. Raises FleetError if the file cannot be used."""
        if self.target.trust and self.target.trust.certificate:
            return self.target.trust.context()
        if not self.target.authority:
            return True
        try:
            context = ssl.create_default_context(cafile=self.target.authority)
        except (OSError, ValueError) as error:
            raise FleetError(f"{self.target.authority}: expected certificates in PEM, found {error}.") from error
        # A server's own certificate may stand alone, without the authority that signed it.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context


def _streamed(response: httpx2.Response) -> Iterator[Piece | Totals]:
    """Yield the pieces and totals of a streamed answer. Raises ServerError and ConnectionError."""
    totals, length = Totals(), 0
    for event in httpx2.EventSource(response, max_event_size=MOST_BODY):
        if event.data.strip() == "[DONE]":
            break
        try:
            chunk = untrusted.parse(event.data, _CHUNK, "a part of its answer", MOST_BODY)
        except untrusted.ShapeError as error:
            raise ServerError(f"The server's answer cannot be used: {error}.") from error
        if "error" in chunk:
            raise _refusal(_OK, chunk["error"])
        totals = _counted(totals, chunk)
        for piece in _pieces(chunk.get("choices", [])[:1]):
            length += len(piece.text)
            if length > MOST:
                yield dataclasses.replace(totals, cut=True)
                return
            yield piece
    else:
        raise ConnectionError("the connection ended before the answer did")
    yield totals


def _pieces(choices: Sequence[Mapping[str, typing.Any]]) -> Iterator[Piece]:
    for choice in choices:
        delta = choice.get("delta", {})
        if delta.get("reasoning_content"):
            yield Piece(delta["reasoning_content"], reasoning=True)
        if delta.get("content"):
            yield Piece(delta["content"])


def _counted(totals: Totals, chunk: Mapping[str, typing.Any]) -> Totals:
    timings, usage = chunk.get("timings", {}), chunk.get("usage", {})
    cut = any(choice.get("finish_reason") == "length" for choice in chunk.get("choices", []))
    return Totals(
        timings.get("predicted_n") or usage.get("completion_tokens") or totals.tokens,
        timings.get("predicted_per_second") or totals.speed,
        cut or totals.cut,
    )


def _require_ok(response: httpx2.Response) -> None:
    if response.status_code == _OK:
        return
    try:
        error = untrusted.parse(_body(response), _FAILED, "its answer").get("error", {})
    except untrusted.ShapeError:
        error = {}
    raise _refusal(response.status_code, error)


def _refusal(status: int, error: Mapping[str, str]) -> ServerError:
    """Return the error for what a server refused, in one sentence and the fix."""
    said = printed.one_line(error.get("message", "")[:500]).rstrip(".")
    if status == _UNAUTHORIZED:
        return KeyRefusedError(
            "The server wants another API key. Fix: Put it into LLAMA_API_KEY, or name its file with --api-key-file."
        )
    if status == _LOADING:
        return ServerError(f"The server is not ready: {said or 'it loads its model'}. Fix: Try again in a moment.")
    if error.get("type") == _FULL:
        return ServerError(f"The conversation is too long: {said}. Fix: Shorten it, or set a larger --ctx-size.")
    answered = "failed" if status == _OK else f"answered {status}"
    return ServerError(f"The server {answered}: {said or 'it gave no reason'}.")


def _body(response: httpx2.Response) -> bytes:
    """Return the body up to one byte more than is read of any."""
    data = b""
    for part in response.iter_bytes():
        data += part
        if len(data) > MOST_BODY:
            break
    return data
