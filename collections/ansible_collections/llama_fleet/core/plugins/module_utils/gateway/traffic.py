# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Take a server out of a gateway's traffic without a failed request, and bring it back.

Draining a model's only server answers its queued requests with 503 at once. So new requests of that model are held
first, until the queue is empty.
"""

from __future__ import annotations

import dataclasses
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import (
    argument_spec,
    directory,
    integer,
    range_problems,
    required_mapping,
    text,
    values,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway import contents as files
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.config import LOCK, SMALL, SOCKET
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.options import ROLE
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.runtime import RuntimeSocket, RuntimeSocketError
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.servers import is_literal, parse
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import locked, write_atomic
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.runtime import Seen, ServerState
    from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.servers import Server
    from ansible_collections.llama_fleet.core.plugins.module_utils.stage import Caller

AUTO, DRAIN, HOLD = "auto", "drain", "hold"
# Seconds between two looks.
STEP = 0.2
# A request that passed the hold just before it was set is in a queue or on a server after this many seconds.
_SETTLE = 0.3


@dataclasses.dataclass(frozen=True)
class Request:
    """The arguments of the module llama_gateway_traffic."""

    state: str = text(None, ("out", "ready"))
    server: typing.Mapping[str, typing.Any] = required_mapping()
    switch: str = text(AUTO, (AUTO, DRAIN, HOLD))
    drain_timeout: int = integer(600, 0, 86400)
    ready_timeout: int = integer(600, 1, 86400)
    root: pathlib.Path = directory("/etc/llama-fleet/gateway")
    runtime_root: pathlib.Path = directory("/run/llama-fleet-gateway")


ARGUMENTS = argument_spec(Request)


def run(module: Caller) -> dict[str, typing.Any]:
    """Take the server out of the traffic, or bring it back. Raises ProblemError."""
    request = Request(**values(Request, module.params))
    (server,) = parse([request.server])
    raise_if_any(range_problems(Request, ROLE, module.params))
    traffic = Traffic(RuntimeSocket(request.runtime_root / SOCKET), request.root)
    try:
        if module.check_mode:
            outcome = traffic.look(server, request.state, request.switch)
        elif request.state == "out":
            outcome = traffic.take_out(server.label, request.switch, request.drain_timeout)
        else:
            outcome = traffic.bring_back(server, request.ready_timeout)
    except (RuntimeSocketError, TrafficError) as error:
        fix = "look at the gateway with systemctl status llama-fleet-gateway, then run again"
        raise ProblemError(
            Problem(f"gateway of {server.name}", str(error), "a gateway that moves traffic", fix)
        ) from None
    if outcome.left and not module.check_mode:
        module.warn(f"{server.name}: {outcome.left} requests still run after {request.drain_timeout} s; they are cut")
    return dataclasses.asdict(outcome)


class TrafficError(Exception):
    """Traffic could not be moved; no hold is left. The message is a clause."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of a change of a server's traffic.

    ``way`` is ``drain``, ``hold`` or ``none`` if the gateway does not know the server. ``left`` are requests that were
    still running at the time limit.
    """

    way: str
    left: int = 0
    changed: bool = False


class Clock(typing.Protocol):
    """Tells and passes time; tests replace it."""

    def monotonic(self) -> float:
        """Return seconds."""

    def sleep(self, seconds: float, /) -> None:
        """Wait."""


@dataclasses.dataclass(frozen=True)
class Traffic:
    """The traffic of one gateway, whose files are in ``root``."""

    runtime: RuntimeSocket
    root: pathlib.Path
    clock: Clock = time

    def take_out(self, label: str, way: str, limit: float) -> Outcome:
        """Stop new requests to the server ``label``, and wait at most ``limit`` seconds for its running ones.

        Raises TrafficError if the queue of a held model does not empty in time; its hold is released then.
        """
        backend = self._backend_of(label)
        if not backend:
            return Outcome("none")
        end = self.clock.monotonic() + limit
        # Two runs that decide at once would each count on the other's server.
        with locked(self.root / LOCK):
            way, changed = self._begin(backend, label, way)
        if way == HOLD:
            self._await_queue(backend, end)
            changed = self._drain(backend, label) or changed
        return Outcome(way, self._wait_idle(backend, label, end), changed)

    def _begin(self, backend: str, label: str, way: str) -> tuple[str, bool]:
        """Hold the back end's requests or drain the server; return which, and whether that changed anything."""
        way = _way(self.runtime.seen(), backend, label, way)
        if way == DRAIN:
            return way, self._drain(backend, label)
        changed = backend not in self.held()
        if changed:
            self.runtime.do(f"add map {self.root / files.HOLDS} {backend} {files.HELD}")
            self._remember()
        return way, changed

    def _drain(self, backend: str, label: str) -> bool:
        server = self.runtime.seen().find(backend, label)
        if server is None or server.drained:
            return False
        self.runtime.set_state(backend, label, "drain")
        return True

    def look(self, server: Server, state: str, way: str) -> Outcome:
        """Return what a change of ``server`` to ``state`` would do."""
        backend = self._backend_of(server.label)
        seen = self.runtime.seen()
        before = seen.find(backend, server.label)
        if before is None:
            return Outcome("none")
        if state == "out":
            return Outcome(_way(seen, backend, server.label, way), before.busy, not before.drained)
        return Outcome("ready", 0, any(_differences(before, server).values()) or backend in self.held())

    def bring_back(self, server: Server, rise: float) -> Outcome:
        """Send requests to ``server`` again, at its address of now, and release its model's hold in any case.

        Raises TrafficError if the server is not up within ``rise`` seconds.
        """
        backend = self._backend_of(server.label)
        if not backend:
            return Outcome("none")
        changed = False
        try:
            changed = self._update(backend, server)
            up = self._wait(lambda seen: _serves(seen, backend, server.label), self.clock.monotonic() + rise)
        finally:
            changed = self.release(backend) or changed
        if not up:
            raise TrafficError(f"{server.name} does not answer the gateway's health check after {rise:g} s")
        return Outcome("ready", 0, changed)

    def _update(self, backend: str, server: Server) -> bool:
        """Set what differs of a server's address, slots, share and state; return whether anything did."""
        before = self.runtime.seen().find(backend, server.label)
        if before is None:
            return False
        different = _differences(before, server)
        if different["address"]:
            for name in (backend, SMALL + backend):
                self.runtime.set_address(name, server.label, *_endpoint(before, server))
        if different["slots"]:
            self.runtime.set_slots(backend, server.label, server.slots)
        if different["weight"]:
            self.runtime.set_weight(backend, server.label, server.weight)
        if different["state"]:
            self.runtime.set_state(backend, server.label, "ready")
        return any(different.values())

    def held(self) -> list[str]:
        """Return the back ends whose requests are held."""
        return sorted(self.runtime.map(self.root / files.HOLDS) or ())

    def release(self, backend: str) -> bool:
        """Let held requests of a back end go on; return whether any were held."""
        if backend not in self.held():
            return False
        self.runtime.do(f"del map {self.root / files.HOLDS} {backend}")
        self._remember()
        return True

    def _await_queue(self, backend: str, end: float) -> None:
        self.clock.sleep(_SETTLE)
        if not self._wait(lambda seen: not _queued(seen, backend), end):
            waiting = _queued(self.runtime.seen(), backend)
            self.release(backend)
            raise TrafficError(f"{waiting} requests still wait for a slot of {backend} at the time limit")

    def _remember(self) -> None:
        """Write the holds for a process that starts anew; a hold that outlives its run is shown, and healed."""
        text = "".join(f"{backend} {files.HELD}\n" for backend in self.held())
        write_atomic(self.root / files.HOLDS, text, 0o644)

    def _wait_idle(self, backend: str, label: str, end: float) -> int:
        """Return the number of requests that run at the end of the wait."""
        self.clock.sleep(_SETTLE)
        self._wait(lambda seen: not _busy(seen, backend, label), end)
        return _busy(self.runtime.seen(), backend, label)

    def _wait(self, done: typing.Callable[[Seen], bool], end: float) -> bool:
        while not done(self.runtime.seen()):
            if self.clock.monotonic() >= end:
                return False
            self.clock.sleep(STEP)
        return True

    def _backend_of(self, label: str) -> str:
        return next(
            (
                server.backend
                for server in self.runtime.seen().servers
                if server.name == label and not server.backend.startswith(SMALL)
            ),
            "",
        )


def _way(seen: Seen, backend: str, label: str, way: str) -> str:
    others = [other for other in seen.of(backend) if other.name != label and other.serves]
    return way if way != AUTO else DRAIN if others else HOLD


def _endpoint(before: ServerState, server: Server) -> tuple[str, int]:
    """Return the IP address and the port of ``server``. HAProxy itself resolves a name, when it starts."""
    address = server.address if is_literal(server.address) else before.address.rpartition(":")[0]
    return address, server.port


def _differences(before: ServerState, server: Server) -> dict[str, bool]:
    address, port = _endpoint(before, server)
    return {
        "address": before.address != f"{address}:{port}",
        "slots": before.slots != server.slots,
        "weight": before.weight != server.weight,
        "state": before.drained or before.maintenance,
    }


def _serves(seen: Seen, backend: str, label: str) -> bool:
    server = seen.find(backend, label)
    return server is not None and server.serves


def _queued(seen: Seen, backend: str) -> int:
    """Return the requests that wait for a slot: with a hash they queue at a server, else at the back end."""
    return seen.waiting.get(backend, 0) + sum(server.waiting for server in seen.of(backend))


def _busy(seen: Seen, backend: str, label: str) -> int:
    servers = (seen.find(name, label) for name in (backend, SMALL + backend))
    return sum(server.busy + server.waiting for server in servers if server)
