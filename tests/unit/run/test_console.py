# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The lines that the console prints for a run."""

import io
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Snapshot
from llama_fleet.run import console
from llama_fleet.run.events import Event, Failure, Outcome, Progress, Remark, StageDone
from llama_fleet.settings import Stage

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

STAGES = (
    Stage("nvidia_driver", "Look"),
    Stage("llama_cpp", "Plan the release", plan=True),
    Stage("llama_cpp", "Provide the release"),
)


class Terminal(io.StringIO):
    shown = ""

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        self.shown = self.getvalue()


def building(percent: int, host: str = "h1") -> Progress:
    return Progress(host, Snapshot("building", percent, 100), "llama_cpp")


def fetching(percent: int) -> Progress:
    return Progress("h1", Snapshot("fetching", percent, 100), "gguf_model")


def show(stream: io.StringIO, *events: Event, times: tuple[float, ...] = (0.0,)) -> str:
    clock = iter([*times, *([times[-1]] * len(events))])
    listener = console.Console(STAGES, stream, lambda: next(clock))
    for event in events:
        listener(event)
    return stream.getvalue()


def stage(
    role: str = "llama_cpp", *, host: str = "h1", plan: bool = False, changed: bool = False, **result: object
) -> StageDone:
    return StageDone(host, role, "A release", plan, changed, 75.2, result)


def test_finished_stages_have_the_plays_names() -> None:
    plans = [stage(plan=True, would_change=wanted) for wanted in (True, False)]
    plans.append(stage(plan=True, would_change=False, ready=True))
    events = [*plans, stage(changed=True, would_change=True), stage(host="h1/chat"), stage("other")]
    assert show(io.StringIO(), *events).splitlines() == [
        "h1: Plan the release: there is work to do",
        "h1: Plan the release: nothing to do",
        "h1: Plan the release: nothing to do, it passes its gate",
        "h1: Provide the release: changed, 1 min 15 s",
        "h1/chat: Provide the release: ok",
        "h1: A release: ok",
    ]


def test_the_beginning_of_a_run_is_a_line_that_a_terminal_replaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for stream, shown in ((io.StringIO(), "planning\n"), (Terminal(), "\r\x1b[2Kplanning\r\x1b[2K")):
        listener = console.Console(STAGES, stream)
        listener.begin("planning")
        assert stream.getvalue() == shown.removesuffix("\r\x1b[2K")
        listener(stage())
        assert stream.getvalue() == f"{shown}h1: Provide the release: ok\n"


def test_a_terminal_gets_one_line_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")
    output = show(Terminal(), Progress("h1", Snapshot("building: all there is", 1, 100)), stage())
    assert output == f"{console.CLEAR_LINE}h1: building: all t{console.CLEAR_LINE}h1: Provide the release: ok\n"


def test_stages_side_by_side_share_the_line_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    events: list[Event] = [building(1), fetching(7), building(2), stage(), fetching(8)]
    assert show(Terminal(), *events).removeprefix(console.CLEAR_LINE).split(console.CLEAR_LINE) == [
        "h1: building: 1 %, [1/100]",
        "h1: building: 1 % | fetching: 7 %",
        "h1: building: 2 % | fetching: 7 %",
        "h1: Provide the release: ok\n",
        "h1: fetching: 8 %, [8/100]",
    ]


def test_elsewhere_each_stage_has_its_own_ten_seconds() -> None:
    events = [building(1), fetching(1), building(2), fetching(2), building(3), fetching(3)]
    assert show(io.StringIO(), *events, times=(0, 1, 2, 3, 10.5, 10.6)).splitlines() == [
        "h1: building: 1 %, [1/100]",
        "h1: fetching: 1 %, [1/100]",
        "h1: building: 3 %, [3/100]",
    ]


def test_a_dumb_terminal_is_none_and_lines_are_shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    output = Terminal()
    show(output, building(1), Remark("low space", warning=True), Remark("+ a line"))
    assert output.shown.splitlines() == ["h1: building: 1 %, [1/100]", "Warning: low space", "+ a line"]


def test_elsewhere_a_stage_gets_a_line_every_ten_seconds() -> None:
    events = [building(1), building(2), building(3), Progress("h1", Snapshot("testing"))]
    assert show(io.StringIO(), *events, times=(0, 5, 11, 12)).splitlines() == [
        "h1: building: 1 %, [1/100]",
        "h1: building: 3 %, [3/100]",
        "h1: testing",
    ]


def test_each_host_has_its_own_ten_seconds() -> None:
    events = [building(percent, host) for percent in (1, 2) for host in ("h1", "h2")]
    assert show(io.StringIO(), *events).splitlines() == ["h1: building: 1 %, [1/100]", "h2: building: 1 %, [1/100]"]


@pytest.mark.parametrize(
    ("failure", "line"),
    [
        (Failure("localhost", "port: expected y, found x."), "Error: port: expected y, found x."),
        (Failure("h1", "port: expected y, found x."), "Error: h1: port: expected y, found x."),
        (Failure("h1", "no route\nto it", unreachable=True), "Error: h1: cannot be reached: no route to it"),
        (Failure("", "no inventory"), "Error: no inventory"),
    ],
)
def test_failures_are_one_sentence(failure: Failure, line: str) -> None:
    assert show(io.StringIO(), failure) == f"{line}\n"


def test_a_fleets_answers_name_their_hosts() -> None:
    results: dict[str, dict[str, Mapping[str, object]]] = {
        name: {"llama_server": {"answer": f"I am {name}.\n", "endpoint": f"http://{name}:1"}} for name in ("h2", "h1")
    }
    lines = console.answers(Outcome(results=results)).splitlines()
    assert lines[1:6] == ["h1: I am h1.", "", "h1: http://h1:1", "", "h2: I am h2."]
    assert lines[-1].startswith("curl http://h1:1/v1/chat/completions -H 'Content-Type: application/json' -d ")


def test_instances_that_are_not_to_run_have_no_endpoint() -> None:
    results: dict[str, dict[str, Mapping[str, object]]] = {
        "h1/chat": {"llama_server": {"answer": "", "endpoint": ""}},
        "h1/embed": {"llama_server": {"answer": "", "endpoint": "http://h1:2"}},
    }
    lines = console.answers(Outcome(results=results)).splitlines()
    assert lines[0] == "h1/embed: http://h1:2"
    assert [line.partition("/v1/")[0] for line in lines[1:]] == ["curl http://h1:2"]


def test_where_nothing_was_asked_there_is_no_answer() -> None:
    results: dict[str, dict[str, Mapping[str, object]]] = {
        "localhost": {"llama_server": {"answer": "", "endpoint": "http://127.0.0.1:1"}}
    }
    [endpoint, line] = console.answers(Outcome(results=results)).splitlines()
    assert endpoint == "http://127.0.0.1:1"
    assert line.startswith("curl http://127.0.0.1:1/v1/chat/completions ")
