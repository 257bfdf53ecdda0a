# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Show the results of read-only plays as a table, as JSON or as the result of a query."""

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

# Columns without a terminal: wide enough that no table wraps.
ANY_WIDTH = 1000

Facts = Mapping[str, typing.Any]
Rows = list[dict[str, typing.Any]]
Ask = Callable[[], Outcome]


@dataclasses.dataclass(frozen=True)
class View:
    """A table with a row for each item of ``rows``, formatted by ``columns``, followed by ``remarks``.

    ``failures`` returns the failures that no row shows. The columns in ``right`` are right-aligned; those in
    ``wrapped`` wrap to the width of the terminal.
    """

    rows: Callable[[Outcome], Rows]
    columns: Callable[[Facts], dict[str, Text]]
    remarks: Callable[[Outcome], Iterator[Text]]
    exit_status: Callable[[Outcome], int]
    failures: Callable[[Outcome], Iterator[str]]
    right: tuple[str, ...] = ()
    wrapped: tuple[str, ...] = ()


def query_of(text: str) -> jmespath.parser.ParsedResult:
    """Parse a JMESPath expression. Raises UsageError."""
    try:
        return jmespath.compile(text)
    except jmespath.exceptions.JMESPathError as error:
        raise UsageError(
            f"--query: expected a JMESPath expression, found '{text}': {str(error).splitlines()[0]}"
        ) from error


def show(view: View, ask: Ask, *, as_json: bool = False, query: str = "") -> int:
    """Call ``ask`` once and show its outcome. Return the exit status."""
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
    """Show the outcome of ``ask`` again and again, in place on a terminal, until Ctrl-C. Return 0."""
    terminal = _terminal()
    with _until_interrupted(), Live(console=terminal, auto_refresh=False, transient=False) as live:
        while True:
            outcome = ask()
            note = Text(f"{time.strftime('%H:%M:%S')}, refreshed in {seconds:g} s; Ctrl-C to stop", "dim")
            failures = [Text(f"Error: {sentence}", "red") for sentence in view.failures(outcome)]
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


def _terminal() -> Console:
    return Console(width=None if sys.stdout.isatty() else ANY_WIDTH)


def _rendered(view: View, outcome: Outcome) -> Group:
    rows = [view.columns(facts) for facts in view.rows(outcome)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    # Hide columns that are empty in every row.
    names = [name for name in (rows[0] if rows else ()) if any(row[name].plain for row in rows)]
    for name in names:
        table.add_column(name, justify="right" if name in view.right else "left", no_wrap=name not in view.wrapped)
    for row in rows:
        table.add_row(*(row[name] for name in names))
    return Group(*([table] if rows else []), *view.remarks(outcome))
