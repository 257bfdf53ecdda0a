# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Plan what a gateway needs: the files that differ, and what its process has to do."""

from __future__ import annotations

import dataclasses
import difflib
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gateway import config, contents, unit
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.frontend import CERTIFICATE
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.host import PROGRAM, GatewayHost, Observed, text
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.options import Options
    from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.servers import Model, Server

# Files whose content no output may show, with what is said instead: even a digest helps to guess a short key.
_HIDDEN = {CERTIFICATE: "another certificate or key", contents.KEYS: "other keys of clients"}
# Files that a running HAProxy reads only when it starts or reloads.
_READ_ONCE = (config.CONFIGURATION, contents.SCRIPT, CERTIFICATE)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The changes that a gateway needs.

    ``texts`` are the files that differ, and ``before`` what was in them. ``process`` is empty, reload or restart.
    ``back`` are servers, by back end and name, that a run has left out of the traffic, and ``held`` are back ends whose
    requests it still holds.
    """

    install: bool
    texts: typing.Mapping[str, str]
    before: typing.Mapping[str, str | None]
    unit: str
    unit_before: str | None
    maps: typing.Mapping[str, str]
    process: str
    enable: bool
    back: typing.Sequence[tuple[str, str]]
    held: typing.Sequence[str]
    record: typing.Sequence[typing.Mapping[str, typing.Any]]
    digest: str

    @property
    def changes(self) -> bool:
        parts = (self.install, self.texts, self.unit, self.maps, self.process, self.enable, self.back, self.held)
        return any(map(bool, parts))


def make_plan(
    host: GatewayHost,
    options: Options,
    models: typing.Sequence[Model],
    kept: typing.Sequence[Server],
    seen: Observed,
) -> Plan:
    wanted = texts(options, models)
    differing = {name: content for name, content in wanted.items() if seen.files.get(name) != content}
    unit_text = unit.render(options, host.program or f"/usr/sbin/{PROGRAM}")
    digest = config.digest(wanted[config.CONFIGURATION])
    maps = {
        name: wanted[name]
        for name in contents.MAPS
        if name in seen.maps and seen.maps[name] != contents.entries(wanted[name])
    }
    if seen.unit != unit_text or not seen.active or seen.seen is None:
        process = "restart"
    elif seen.seen.digest != digest or set(differing) & set(_READ_ONCE):
        process = "reload"
    else:
        process = ""
    record = [dataclasses.asdict(server) for server in kept]
    return Plan(
        not host.program,
        differing,
        {name: seen.files.get(name) for name in differing},
        unit_text if seen.unit != unit_text else "",
        seen.unit,
        {} if process else maps,
        process,
        not seen.enabled,
        _left_out(options, kept, seen),
        _releasable(options, models, seen, process),
        record,
        digest,
    )


def _releasable(options: Options, models: typing.Sequence[Model], seen: Observed, process: str) -> list[str]:
    """Return the back ends that are held and whose servers may return. Raises ProblemError before a reload."""
    out = {model.backend for model in models for server in model.servers if server.name in options.out}
    if process and out & set(seen.held):
        # After a reload, the old process could not be told to let its held requests go on.
        names = ", ".join(sorted(out & set(seen.held)))
        fix = "bring its server back first with llama_gateway_traffic, at the address of now"
        raise ProblemError(Problem("llama_gateway_out", f"requests that are held for {names}", "none at a reload", fix))
    return sorted(set(seen.held) - out)


def _left_out(options: Options, kept: typing.Sequence[Server], seen: Observed) -> list[tuple[str, str]]:
    """Return the servers, by back end and name, that are out of the traffic and may return."""
    return [
        (state.backend, state.name)
        for state in (seen.seen.servers if seen.seen else ())
        if (state.drained or state.maintenance) and not state.backend.startswith(config.SMALL)
        if state.name in {server.label for server in kept if server.name not in options.out}
    ]


def texts(options: Options, models: typing.Sequence[Model]) -> dict[str, str]:
    """Return the content of every file below the root. Raises ProblemError if the certificate cannot be read."""
    certificate = _certificate(options)
    texts = {**contents.contents(options, models), config.CONFIGURATION: config.render(options, models, certificate)}
    return {**texts, CERTIFICATE: certificate} if certificate else texts


def _certificate(options: Options) -> str:
    """Return certificate and key as HAProxy reads them: in one file."""
    parts = []
    for name in ("tls_certificate", "tls_key"):
        path = getattr(options, name)
        if not path:
            continue
        content = text(pathlib.Path(path))
        if not content or "-----BEGIN " not in content:
            raise ProblemError(Problem(f"llama_gateway_{name}", path, "a readable PEM file on the gateway's host"))
        parts.append(content.rstrip() + "\n")
    return "".join(parts)


def diff(seen: Observed, plan: Plan) -> dict[str, str]:
    """Return the difference of the files without secrets, and what happens to the process."""
    lines: list[str] = []
    for name, content in sorted(plan.texts.items()):
        if name in _HIDDEN:
            lines.append(f"{name}: {_HIDDEN[name]}\n")
            continue
        before = config.without_secrets(seen.files.get(name) or "").splitlines(keepends=True)
        after = config.without_secrets(content).splitlines(keepends=True)
        lines += difflib.unified_diff(before, after, name, name, n=1)
    lines += [f"{name}: back in the traffic\n" for _backend, name in plan.back]
    lines += [f"{backend}: no longer held\n" for backend in plan.held]
    if plan.process:
        lines.append(f"process: {plan.process}\n")
    return {"prepared": "".join(lines)}
