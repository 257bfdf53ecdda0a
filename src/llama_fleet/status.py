# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What runs where: asked of every host, shown as a table, as JSON or as what a query makes of it."""

import contextlib
import dataclasses
import json
import signal
import sys
import time
import typing
from collections.abc import Callable, Iterator, Mapping

import jmespath
import jmespath.exceptions
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from llama_fleet import console
from llama_fleet.errors import ExitCode, RunInterruptedError, UsageError
from llama_fleet.events import Outcome

ROLE = "llama_server_info"
# Wide enough for any table where there is no terminal that could wrap it.
ANY_WIDTH = 1000
_STYLES = {"running": "green", "loading": "yellow", "stopped": "dim"}
_RIGHT = ("GENERATION", "MEMORY", "GPU", "SLOTS", "TOKENS", "TOKENS/S", "UPTIME", "SPEED")

Facts = Mapping[str, typing.Any]
Rows = list[dict[str, typing.Any]]
Ask = Callable[[], Outcome]


@dataclasses.dataclass(frozen=True)
class View:
    """How what was found is shown: one row a ``rows`` item, in the columns that ``columns`` makes of it, then ``remarks``."""

    rows: Callable[[Outcome], Rows]
    columns: Callable[[Facts], dict[str, Text]]
    remarks: Callable[[Outcome], Iterator[str]]
    problem: Callable[[Outcome], bool]


def instances(outcome: Outcome) -> Rows:
    """Every instance of every host, with the host's name."""
    return [{"host": host, **facts} for host, result in sorted(outcome.of_role(ROLE).items()) for facts in result["instances"]]


def generations(outcome: Outcome) -> Rows:
    """Every generation of every instance, the newest first."""
    return [{"host": row["host"], "instance": row["instance"], **generation} for row in instances(outcome) for generation in reversed(row["generations"])]


def _status_columns(facts: Facts) -> dict[str, Text]:
    model = facts["model"].rpartition("/")[2]
    busy = f"{facts['slots_busy']}/{facts['slots']}" if facts["slots"] >= 0 else _count(facts["slots_busy"])
    return {
        "HOST": Text(facts["host"]),
        "INSTANCE": Text(facts["instance"]),
        "STATE": Text(facts["state"], _STYLES.get(facts["state"], "red")),
        "GENERATION": Text(_count(facts["generation"] or -1)),
        "BUILD": Text(facts["build"]),
        "MODEL": Text(model, overflow="fold"),
        "QUANT": Text(facts["quant"]),
        "DEVICE": Text(facts["device"]),
        "MEMORY": Text(_mib(facts["memory_mib"])),
        "GPU": Text(_mib(facts["gpu_memory_mib"])),
        "SLOTS": Text(busy),
        "TOKENS": Text(_count(facts["tokens_predicted"])),
        "TOKENS/S": Text(_speed(facts["tokens_per_second"])),
        "UPTIME": Text(uptime(facts["uptime_seconds"])),
    }


def _status_remarks(outcome: Outcome) -> Iterator[str]:
    for facts in instances(outcome):
        for sentence in facts["drift"]:
            yield f"{facts['host']}: {facts['instance']}: {sentence}"
        for sentence in facts["unknown"]:
            yield f"{facts['host']}: {facts['instance']}: not known: {sentence}"
    yield from _bare(outcome)


def _bare(outcome: Outcome) -> Iterator[str]:
    return (f"{host}: no instance" for host, result in sorted(outcome.of_role(ROLE).items()) if not result["instances"])


def _not_as_wanted(outcome: Outcome) -> bool:
    return any(facts["state"] != "running" or facts["drift"] for facts in instances(outcome)) or any(_bare(outcome))


def _generation_columns(facts: Facts) -> dict[str, Text]:
    return {
        "HOST": Text(facts["host"]),
        "INSTANCE": Text(facts["instance"]),
        "GENERATION": Text(str(facts["number"])),
        "": Text("current" if facts["current"] else "", "bold"),
        "GATE": Text("passed", "green") if facts["good"] else Text("not passed", "red"),
        "MADE": Text(facts["created"]),
        "BUILD": Text(facts["build"]),
        "MODEL": Text(facts["model"], overflow="fold"),
        "SPEED": Text(_speed(facts["speed"] or -1)),
    }


def _without_generations(outcome: Outcome) -> Iterator[str]:
    for facts in instances(outcome):
        if not facts["generations"]:
            yield f"{facts['host']}: {facts['instance']}: no generation"
        yield from (f"{facts['host']}: {facts['instance']}: not known: {sentence}" for sentence in facts["unknown"] if not facts["generations"])
    yield from _bare(outcome)


STATUS = View(instances, _status_columns, _status_remarks, _not_as_wanted)
GENERATIONS = View(generations, _generation_columns, _without_generations, lambda outcome: any(_without_generations(outcome)))


def query_of(text: str) -> jmespath.parser.ParsedResult:
    """A JMESPath expression; UsageError where it is none."""
    try:
        return jmespath.compile(text)
    except jmespath.exceptions.JMESPathError as error:
        raise UsageError(f"--query: found '{text}', wanted an expression of JMESPath: {str(error).splitlines()[0]}") from error


def show(view: View, ask: Ask, *, as_json: bool = False, query: str = "") -> int:
    """Ask once; the exit status."""
    parsed = query_of(query) if query else None
    outcome = ask()
    for failure in outcome.failures:
        sys.stderr.write(f"Error: {console.failure_text(failure)}\n")
    if as_json or parsed:
        rows = view.rows(outcome)
        sys.stdout.write(json.dumps(_answer(parsed, rows) if parsed else rows, indent=2) + "\n")
    else:
        _terminal().print(_rendered(view, outcome))
    return exit_status(view, outcome)


def _answer(parsed: jmespath.parser.ParsedResult, rows: Rows) -> object:
    try:
        return parsed.search(rows)
    except jmespath.exceptions.JMESPathError as error:
        raise UsageError(f"--query: {str(error).splitlines()[0]}") from error


def watch(view: View, ask: Ask, seconds: float) -> int:
    """Ask again and again, in place where there is a terminal, until Ctrl-C, which is no error."""
    terminal = _terminal()
    with _until_interrupted(), Live(console=terminal, auto_refresh=False, transient=False) as live:
        while True:
            outcome = ask()
            note = Text(f"{time.strftime('%H:%M:%S')}, again in {seconds:g} s; Ctrl-C ends it", "dim")
            failures = [Text(f"Error: {console.failure_text(failure)}", "red") for failure in outcome.failures]
            page = Group(_rendered(view, outcome), *failures, note)
            if terminal.is_terminal:
                live.update(page, refresh=True)
            else:
                terminal.print(page)
            time.sleep(seconds)
    return ExitCode.OK


@contextlib.contextmanager
def _until_interrupted() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        return
    except RunInterruptedError as error:
        if error.exit_code != 128 + signal.SIGINT:
            raise


def exit_status(view: View, outcome: Outcome) -> int:
    return outcome.exit_code or (ExitCode.FAILED if view.problem(outcome) else ExitCode.OK)


def _terminal() -> Console:
    return Console(width=None if sys.stdout.isatty() else ANY_WIDTH)


def _rendered(view: View, outcome: Outcome) -> Group:
    rows = [view.columns(facts) for facts in view.rows(outcome)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    # What no row says takes no room.
    names = [name for name in (rows[0] if rows else ()) if any(row[name].plain for row in rows)]
    for name in names:
        table.add_column(name, justify="right" if name in _RIGHT else "left", no_wrap=name != "MODEL")
    for row in rows:
        table.add_row(*(row[name] for name in names))
    return Group(*([table] if rows else []), *(Text(remark, "yellow") for remark in view.remarks(outcome)))


def _count(number: int) -> str:
    return f"{number:,}" if number >= 0 else ""


def _speed(number: float) -> str:
    return f"{number:.1f}" if number >= 0 else ""


def _mib(number: int) -> str:
    if number <= 0:
        return ""
    return f"{number / 1024:.1f} GiB" if number >= 1024 else f"{number} MiB"


def uptime(seconds: int) -> str:
    """The two largest units: ``3 d 4 h``."""
    if seconds <= 0:
        return ""
    units = (("d", seconds // 86400), ("h", seconds // 3600 % 24), ("min", seconds // 60 % 60), ("s", seconds % 60))
    first = next(index for index, (_unit, count) in enumerate(units) if count)
    return " ".join(f"{count} {unit}" for unit, count in units[first : first + 2] if count)
