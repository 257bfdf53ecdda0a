# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What was found on hosts, shown as a table, as JSON or as what a query makes of it."""

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

from llama_fleet.errors import ExitCode, RunInterruptedError, UsageError
from llama_fleet.run.events import Outcome

# Wide enough for any table where there is no terminal that could wrap it.
ANY_WIDTH = 1000

Facts = Mapping[str, typing.Any]
Rows = list[dict[str, typing.Any]]
Ask = Callable[[], Outcome]


@dataclasses.dataclass(frozen=True)
class View:
    """How what was found is shown: one row a ``rows`` item, in the columns that ``columns`` makes of it, then
    ``remarks``.

    ``failures`` are those of the run that no row tells of. The columns ``right`` are aligned to the right, those in
    ``wrapped`` take what room there is.
    """

    rows: Callable[[Outcome], Rows]
    columns: Callable[[Facts], dict[str, Text]]
    remarks: Callable[[Outcome], Iterator[Text]]
    exit_status: Callable[[Outcome], int]
    failures: Callable[[Outcome], Iterator[str]]
    right: tuple[str, ...] = ()
    wrapped: tuple[str, ...] = ()


def query_of(text: str) -> jmespath.parser.ParsedResult:
    """A JMESPath expression; UsageError where it is none."""
    try:
        return jmespath.compile(text)
    except jmespath.exceptions.JMESPathError as error:
        raise UsageError(
            f"--query: expected a JMESPath expression, found '{text}': {str(error).splitlines()[0]}"
        ) from error


def show(view: View, ask: Ask, *, as_json: bool = False, query: str = "") -> int:
    """Ask once; the exit status."""
    parsed = query_of(query) if query else None
    outcome = ask()
    for sentence in view.failures(outcome):
        sys.stderr.write(f"Error: {sentence}\n")
    if as_json or parsed:
        rows = view.rows(outcome)
        sys.stdout.write(json.dumps(_answer(parsed, rows) if parsed else rows, indent=2) + "\n")
    else:
        _terminal().print(_rendered(view, outcome))
    return view.exit_status(outcome)


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
            told = [Text(f"Error: {sentence}", "red") for sentence in view.failures(outcome)]
            page = Group(_rendered(view, outcome), *told, note)
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


def _terminal() -> Console:
    return Console(width=None if sys.stdout.isatty() else ANY_WIDTH)


def _rendered(view: View, outcome: Outcome) -> Group:
    rows = [view.columns(facts) for facts in view.rows(outcome)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    # What no row says takes no room.
    names = [name for name in (rows[0] if rows else ()) if any(row[name].plain for row in rows)]
    for name in names:
        table.add_column(name, justify="right" if name in view.right else "left", no_wrap=name not in view.wrapped)
    for row in rows:
        table.add_row(*(row[name] for name in names))
    return Group(*([table] if rows else []), *view.remarks(outcome))
