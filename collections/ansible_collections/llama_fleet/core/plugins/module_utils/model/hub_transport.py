# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Route the requests of huggingface_hub through this project's connections.

These have rules for redirects, secrets, limits and retries.

Its own client waits as long as a server asks, sends the token to any next page of a listing, and limits no headers.
"""

from __future__ import annotations

import contextlib
import importlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import ask as http_ask
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import children
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import tried
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pool import Pool
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import (
    BrokenError,
    OriginError,
    Place,
    RefusedError,
    Road,
    bare,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.status import BusyError, refusal, require_unpacked
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pool import Answer

MOST_REQUESTS = 500  # per run; a listing of 100,000 files has 100 pages
_LARGEST = 32 << 20  # bytes of an answer
# Statuses of a cache for a request that it does not know. A refusal of the Hub itself has a code.
UNKNOWN = (400, 404, 405, 501)
_SECRETS = ("authorization", "cookie")
# Headers that belong to the connection, and a compression that nothing here would undo.
_OURS = ("host", "connection", "accept-encoding", "content-length", "transfer-encoding")


@contextlib.contextmanager
def guarded(client: typing.Any, endpoint: str) -> typing.Iterator[None]:
    """Route all requests of ``client``, the module huggingface_hub, through this transport until the block ends.

    Raises ProblemError if the client is too old for that.
    """
    if not hasattr(client, "set_client_factory"):
        installed = f"version {getattr(client, '__version__', 'unknown')} in the Python that runs modules"
        fix = "upgrade it on the host, or remove it: one is installed for llama-fleet then"
        raise ProblemError(Problem("huggingface_hub", installed, "1.0 or newer", fix))
    with children.unset():
        plain = client.get_session()
    library = importlib.import_module(type(plain).__module__.partition(".")[0])
    settings = {"event_hooks": plain.event_hooks, "follow_redirects": True, "timeout": None}
    transport = _Transport(library, endpoint)
    client.set_client_factory(lambda: library.Client(transport=transport, **settings))
    try:
        yield
    finally:
        client.set_client_factory(lambda: library.Client(**settings))
        transport.end()


class _Transport:
    """A transport of httpx, by whatever name the client imports it. Each redirect is a separate request."""

    def __init__(self, library: typing.Any, endpoint: str) -> None:
        self._library = library
        self._road = Road(endpoint)
        self._patience = http_ask.USUAL
        self._pool = Pool(self._patience.small)
        self._requests = 0

    def __enter__(self) -> typing.Any:
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing: the client is closed after an error, and its successor uses this transport again."""

    def close(self) -> None:
        """See ``__exit__``."""

    def end(self) -> None:
        self._pool.close()

    def handle_request(self, request: typing.Any) -> typing.Any:
        """Answer a request of httpx. Raises OriginError, which the client passes on unchanged."""
        self._requests += 1
        if self._requests > MOST_REQUESTS:
            raise RefusedError(f"more than {MOST_REQUESTS} answers that lead to a further one")
        place = self._road.begin(str(request.url))
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in _OURS and not (place.moved and name.lower() in _SECRETS)
        }
        return tried(lambda: self._ask(request.method, place, headers), self._patience)

    def _ask(self, method: str, place: Place, headers: typing.Mapping[str, str]) -> typing.Any:
        answer = self._pool.ask(place, {**headers, "Accept-Encoding": "identity"}, method)
        try:
            if answer.status >= 400:
                _require_lasting(answer, place)
            require_unpacked(answer)
            body = b"" if method == "HEAD" else answer.body(_LARGEST)
        finally:
            answer.close()
        kept = [(name, value) for name, value in answer.headers if name.lower() != "transfer-encoding"]
        return self._library.Response(answer.status, headers=kept, content=body)


def _require_lasting(answer: Answer, place: Place) -> None:
    """Raise for a temporary failure, so that it is retried here, and for a refusal after a redirect.

    The client would report the wrong cause of both.
    """
    error: OriginError = refusal(answer, place)
    if isinstance(error, (BusyError, BrokenError)):
        raise error
    if place.moved:
        lead = RefusedError(f"HTTP status {answer.status} from {bare(place.url)}, to which it leads,")
        lead.status = answer.status
        raise lead


def is_unknown(error: BaseException | None) -> bool:
    """Return whether a server does not know a request, rather than the Hub what was requested."""
    response = getattr(error, "response", None)
    status = getattr(error, "status", 0) if isinstance(error, OriginError) else getattr(response, "status_code", 0)
    return status in UNKNOWN and not (getattr(response, "headers", None) or {}).get("X-Error-Code")
