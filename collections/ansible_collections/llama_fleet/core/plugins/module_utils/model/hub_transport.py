# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What huggingface_hub asks goes over this project's own connections: the same rules for redirects and secrets, the
same limits, the same tries.

Its own client waits as long as a server says, follows a listing's next page with the token wherever that is, and has no
limit for headers.
"""

from __future__ import annotations

import contextlib
import importlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import ask as http_ask
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

MOST_REQUESTS = 500  # of one run: a listing of 100,000 files has 100 pages
_LARGEST = 32 << 20  # bytes of an answer
_SECRETS = ("authorization", "cookie")
# What belongs to a connection, and a packing that nobody here would undo.
_OURS = ("host", "connection", "accept-encoding", "content-length", "transfer-encoding")


@contextlib.contextmanager
def guarded(client: typing.Any, endpoint: str) -> typing.Iterator[None]:
    """Have all that ``client``, the module huggingface_hub, asks meanwhile go this way.

    Raises ProblemError for one that cannot.
    """
    if not hasattr(client, "set_client_factory"):
        found = f"version {getattr(client, '__version__', 'unknown')} in the Python that runs modules"
        raise ProblemError(
            Problem(
                "huggingface_hub",
                found,
                "1.0 or newer",
                "upgrade it on the host, or remove it: one is installed for llama-fleet then",
            )
        )
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
    """A transport of httpx, whichever of its names the client knows it by.

    Redirects come back one by one, each a request of its own.
    """

    def __init__(self, library: typing.Any, endpoint: str) -> None:
        self._library = library
        self._road = Road(endpoint)
        self._patience = http_ask.USUAL
        self._pool = Pool(self._patience.small)
        self._requests = 0

    def __enter__(self) -> typing.Any:
        return self

    def __exit__(self, *error: object) -> None:
        """The client is closed after an error, and its next one goes on with this transport."""

    def close(self) -> None:
        """See ``__exit__``."""

    def end(self) -> None:
        self._pool.close()

    def handle_request(self, request: typing.Any) -> typing.Any:
        """Answer as httpx wants it. Raises OriginError, which the client hands on as it is."""
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
        told = [(name, value) for name, value in answer.headers if name.lower() != "transfer-encoding"]
        return self._library.Response(answer.status, headers=told, content=body)


def _require_lasting(answer: Answer, place: Place) -> None:
    """Raise what may pass, so that it is asked again here, and what another server refuses: the client would name
    the wrong cause.
    """
    error: OriginError = refusal(answer, place)
    if isinstance(error, (BusyError, BrokenError)):
        raise error
    if place.moved:
        lead = RefusedError(f"HTTP status {answer.status} from {bare(place.url)}, to which it leads,")
        lead.status = answer.status
        raise lead
