# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Read the results of ``tests/gpu/run`` from another machine, in shapes that a report can rely on."""

from __future__ import annotations

import dataclasses
import json
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import plain_text, untrusted
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import (
    Many,
    Maybe,
    Number,
    Real,
    Record,
    Table,
    Text,
)
from tests.gpu import journal
from tests.gpu.phases import image, instance, noop, release, speeds

if typing.TYPE_CHECKING:
    import pathlib

Values = dict[str, typing.Any]
LARGEST = 64 << 20  # bytes of a file
_LINES = 20_000
_WORD, _WORDS = Text(most=200), Text(most=4096)
_MIB = Number(most=1 << 30)
_SPEED = Real(most=1e9)


def _name(value: object, where: str) -> str:
    """Return a name for a table cell in Markdown, without characters that would end the cell or be markup."""
    return plain(_WORD(value, where))


def plain(text: str) -> str:
    """Return a text without characters that would end a table cell or be markup."""
    return " ".join(re.sub(r"[|<>`\\\[\]]", " ", text).split())


def _reason(value: object, where: str) -> str:
    """Return the reason of a failed phase on one line; it may contain lines of a log."""
    if not isinstance(value, str):
        return str(_WORD(value, where))
    return plain_text.printable(" ".join(value.split()), 500)


_RUN = Record(
    {"mode": Text("gpu|cpu|recorded"), "date": Text(r"\d{4}-\d\d-\d\dT[0-9:.+]{5,40}")},
    {
        "gpus": Many(Record({"name": _name, "driver_version": _name}, {"memory.total": _name}), most=64),
        "cores": Number(1, 1 << 16),
        "memory_bytes": Number(),
        "machine": _name,
        "kernel": _name,
        "source": Text(most=1000),
    },
)
_OUTCOME = Record({"outcome": Text("done|not here|failed|ended|skipped"), "seconds": Real(most=1e7), "reason": _reason})
_MEMORY = Record(
    {
        "planned_mib": _MIB,
        "taken_mib": _MIB,
        "cuda_context_mib": _MIB,
        "error_percent": Maybe(Real(-1e6, 1e6)),
        "measured_by": _name,
    },
    {"devices": Many(_name, most=64)},
)
_INSTANCE = Record(
    {
        "model": Record({"shape": _name, "parameters": Number(1), "bytes": Number(1)}),
        "device": _name,
        "slots": Number(1, 4096),
        "context": Number(1, 1 << 30),
        "ready_seconds": Maybe(Real(most=1e6)),
        "memory": _MEMORY,
    },
    {"nodes": Table(_name, most=500), "opened": Many(_name, most=500), "allowed": Many(_name, most=100)},
)
_CASE = Record(
    {
        "model": _name,
        "flash_attn": Text("on|off|auto"),
        "cache_type": _name,
        "by": Text("llama-server|llama-bench"),
        "clients": Number(1, 4096),
        "prompt_tokens": Number(1, 1 << 30),
        "generated_tokens": Number(1, 1 << 30),
        "prompt_tokens_per_second": _SPEED,
        "generated_tokens_per_second": _SPEED,
    }
)
_BUILT = Record({"release": Record({"build": _name}, {"origin": _name}), "seconds": Real(most=1e7)})
_UP = Record(
    {
        "run": _name,
        "changed": Number(most=1 << 20),
        "module_calls": Number(most=1 << 20),
        "seconds": Real(most=1e7),
        "cpu_seconds": Real(most=1e7),
    }
)
_START = Record({"start": _name, "ready_seconds": Real(most=1e7)})
_NOT_SEEN = Record({"not_seen": _WORDS})
_LINE = Record({}, {"run": _RUN, "phase": Text("[a-z][a-z0-9-]{0,40}")})


class ResultsError(Exception):
    """A file is not the results of a run; the message says why, as a sentence."""


@dataclasses.dataclass
class Results:
    """The results of one file; ``cut`` counts its lines that are no JSON, as a killed run leaves one."""

    name: str
    runs: list[Values] = dataclasses.field(default_factory=list)
    outcomes: dict[str, Values] = dataclasses.field(default_factory=dict)
    instances: dict[str, Values] = dataclasses.field(default_factory=dict)
    cases: list[Values] = dataclasses.field(default_factory=list)
    ups: dict[str, Values] = dataclasses.field(default_factory=dict)
    starts: dict[str, Values] = dataclasses.field(default_factory=dict)
    build: str = ""
    not_seen: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    cut: int = 0

    @property
    def run(self) -> Values:
        """Return the latest call."""
        return self.runs[-1]

    @property
    def on_gpu(self) -> bool:
        return str(self.run["mode"]) == "gpu"


def read(path: pathlib.Path) -> Results:
    """Return what the file says; raise ResultsError if it is malformed, OSError if it cannot be read."""
    with path.open("rb") as file:
        text = file.read(LARGEST + 1)
    if len(text) > LARGEST or text.count(b"\n") > _LINES:
        raise ResultsError(f"{path.name} is longer than {LARGEST} bytes or {_LINES} lines, and no file of results is")
    found = Results(path.name)
    for number, line in enumerate(text.splitlines(), 1):
        where = f"line {number} of {path.name}"
        try:
            value = json.loads(line) if line.strip() else {}
        except (ValueError, RecursionError):
            found.cut += 1
            continue
        try:
            _take(found, untrusted.check(value, _LINE, where), value, where)
        except untrusted.ShapeError as error:
            raise ResultsError(str(error)) from None
    if not found.runs:
        raise ResultsError(f"{path.name} has no line that begins a run; it is no file of tests/gpu/run")
    if len(modes := {run["mode"] for run in found.runs}) > 1:
        raise ResultsError(f"{path.name} mixes runs of the modes {', '.join(sorted(modes))}")
    return found


def _take(found: Results, line: Values, value: Values, where: str) -> None:
    """Put one line where it belongs; for a repeated phase the last result counts."""
    if "run" in line:
        found.runs.append(line["run"])
    phase = line.get("phase")
    if phase is None:
        return
    if "outcome" in value:
        found.outcomes[phase] = untrusted.check(value, _OUTCOME, where)
        return
    values = value.get("values")
    where = f"{where}.values"
    if isinstance(values, dict) and "not_seen" in values:
        found.not_seen.setdefault(phase, []).append(untrusted.check(values, _NOT_SEEN, where)["not_seen"])
    elif phase == instance.NAME:
        one = untrusted.check(values, _INSTANCE, where)
        found.instances[one["model"]["shape"]] = one
    elif phase in (speeds.NAME, speeds.MORE):
        case = untrusted.check(values, _CASE, where)
        found.cases = [each for each in found.cases if key(each) != key(case)] + [case]
    elif phase == noop.PHASE.name:
        up = untrusted.check(values, _UP, where)
        found.ups[up["run"]] = up
    elif phase == image.PHASE.name and isinstance(values, dict) and "start" in values:
        begun = untrusted.check(values, _START, where)
        found.starts[begun["start"]] = begun
    elif phase == release.PHASE.name and isinstance(values, dict) and "release" in values:
        found.build = untrusted.check(values, _BUILT, where)["release"]["build"]


def key(case: Values) -> tuple[typing.Any, ...]:
    """Return what identifies the case of a speed."""
    return tuple(case[name] for name in speeds.KEYS)


def failed(found: Results) -> dict[str, str]:
    """Return the phases that failed, each with its reason."""
    return {name: outcome["reason"] for name, outcome in found.outcomes.items() if outcome["outcome"] == journal.FAILED}
