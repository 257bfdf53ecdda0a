# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What the translator makes of ansible_runner's events, and what the console shows of it."""

import io
import typing

import pytest

from llama_fleet import console
from llama_fleet.errors import ExitCode
from llama_fleet.events import Event, Failure, Outcome, Progress, Remark, StageDone, Translator
from llama_fleet.settings import Stage

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

STAGES = (Stage("nvidia_driver", "Look"), Stage("llama_cpp", "Plan the release", plan=True), Stage("llama_cpp", "Provide the release"))
Data = dict[str, typing.Any]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def ended(host: str = "localhost", *, kind: str = "runner_on_ok", action: str = "llama_fleet.core.llama_cpp_release", **result: typing.Any) -> Data:
    data = {"host": host, "resolved_action": action, "task": "A release", "role": "llama_fleet.core.llama_cpp", "duration": 75.2, "res": result}
    return {"event": kind, "stdout": "", "event_data": data}


def said(text: str, kind: str = "verbose") -> Data:
    return {"event": kind, "stdout": text}


def translate(*events: Data, return_code: int = 0, verbosity: int = 0) -> tuple[list[Event], Outcome]:
    seen: list[Event] = []
    translator = Translator(verbosity, seen.append)
    for event in events:
        translator.handle(event)
    translator.conclude(return_code)
    return seen, translator.outcome


def test_calls_and_changes_are_counted_and_results_kept() -> None:
    seen, outcome = translate(ended(changed=False, would_change=True), ended(changed=True, path="/r"), ended("other", changed=False, path="/s"))
    assert [(event.host, event.turn, event.changed) for event in seen if isinstance(event, StageDone)] == [
        ("localhost", 0, False),
        ("localhost", 1, True),
        ("other", 0, False),
    ]
    assert (outcome.calls, outcome.changed, outcome.exit_code) == (3, 1, ExitCode.OK)
    assert {host: result["path"] for host, result in outcome.of_role("llama_cpp").items()} == {"localhost": "/r", "other": "/s"}
    assert outcome.of_role("gguf_model") == {}


@pytest.mark.parametrize("action", ["ansible.builtin.validate_argument_spec", "llama_fleet.core.validate_variables"])
def test_a_check_on_the_controller_is_no_call(action: str) -> None:
    seen, outcome = translate(ended(changed=False, action=action))
    assert (seen, outcome.calls) == ([], 0)


def test_a_failure_is_the_modules_own_message() -> None:
    seen, outcome = translate(ended(kind="runner_on_failed", msg="a: found b.\nc: found d.", exception="Traceback …"), return_code=2)
    assert seen == [Failure("localhost", "a: found b.\nc: found d.")]
    assert (outcome.calls, outcome.exit_code) == (1, ExitCode.FAILED)


def test_a_failure_that_the_play_ignores_is_none() -> None:
    event = ended(kind="runner_on_failed", msg="x")
    event["event_data"]["ignore_errors"] = True
    assert translate(event)[1].exit_code == ExitCode.OK


def test_unreachable_is_an_exit_code_of_its_own_unless_another_host_failed() -> None:
    unreachable = ended("far", kind="runner_on_unreachable", msg="Connection\nrefused")
    assert translate(unreachable, return_code=4)[1].exit_code == ExitCode.UNREACHABLE
    assert translate(unreachable, ended(kind="runner_on_failed", msg="x"), return_code=6)[1].exit_code == ExitCode.FAILED


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("[h1] building llama.cpp: 45 %, [120/267], 3 min 2 s left\r\n", Progress("h1", "building llama.cpp: 45 %, [120/267], 3 min 2 s left")),
        ("\x1b[0;34m[h1] starting llama-server\x1b[0m", Progress("h1", "starting llama-server")),
    ],
)
def test_progress(line: str, event: Event) -> None:
    assert translate(said(line))[0] == [event]


@pytest.mark.parametrize("line", ["PLAY [Provision]", "", "[WARNING]: x", "[h1]"])
def test_other_lines_are_not_progress(line: str) -> None:
    assert translate(said(line))[0] == []


def test_a_warning_is_told_once() -> None:
    assert translate(said("[WARNING]: low space\n", "warning"), said("[WARNING]: low space", "warning"))[0] == [Remark("low space", warning=True)]


@pytest.mark.parametrize("event", [said("ERROR! no such file"), said("[ERROR]: no such file", "error")])
def test_what_ansible_says_before_any_host_is_the_failure(event: Data) -> None:
    seen, outcome = translate(event, return_code=1)
    assert seen == [Failure("", "no such file")]
    assert outcome.exit_code == ExitCode.FAILED


def test_an_error_line_beside_a_hosts_failure_is_not_told_again() -> None:
    assert len(translate(said("[ERROR]: Task failed: x", "error"), ended(kind="runner_on_failed", msg="x"), return_code=2)[0]) == 1


def test_no_host_and_no_word_are_failures_too() -> None:
    assert translate(said("", "playbook_on_no_hosts_matched"))[1].exit_code == ExitCode.FAILED
    assert translate(return_code=250)[0] == [Failure("", "ansible-playbook ended with exit status 250.")]


def test_verbose_is_ansibles_own_words() -> None:
    assert translate(said("TASK [x]"), verbosity=1)[0] == [Remark("TASK [x]")]


def show(stream: io.StringIO, *events: Event, times: tuple[float, ...] = (0.0,)) -> str:
    clock = iter([*times, *([times[-1]] * len(events))])
    listener = console.Console(STAGES, stream, lambda: next(clock))
    for event in events:
        listener(event)
    return stream.getvalue()


def stage(turn: int = 1, *, changed: bool = False, **result: object) -> StageDone:
    return StageDone("h1", "llama_cpp", "A release", turn, changed, 75.2, result)


def test_finished_stages_have_the_plays_names() -> None:
    events = [stage(0, would_change=True), stage(0, would_change=False), stage(changed=True, would_change=True), stage(), stage(2)]
    assert show(io.StringIO(), *events).splitlines() == [
        "h1: Plan the release: there is work to do",
        "h1: Plan the release: nothing to do",
        "h1: Provide the release: changed, 1 min 15 s",
        "h1: Provide the release: ok",
        "h1: A release: ok",
    ]


def test_a_terminal_gets_one_line_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")
    output = show(Terminal(), Progress("h1", "building: 1 % of all there is"), stage())
    assert output == f"{console.CLEAR_LINE}h1: building: 1 % o{console.CLEAR_LINE}h1: Provide the release: ok\n"


def test_elsewhere_a_stage_gets_a_line_every_ten_seconds() -> None:
    events = [Progress("h1", f"building: {percent} %") for percent in (1, 2, 3)] + [Progress("h1", "testing")]
    assert show(io.StringIO(), *events, times=(0, 5, 11, 12)).splitlines() == ["h1: building: 1 %", "h1: building: 3 %", "h1: testing"]


@pytest.mark.parametrize(
    ("failure", "line"),
    [
        (Failure("localhost", "port: found x."), "Error: port: found x."),
        (Failure("h1", "port: found x."), "Error: h1: port: found x."),
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
    lines = console.answers(Outcome(results=results), with_key=True).splitlines()
    assert lines[1:6] == ["h1: I am h1.", "", "h1: http://h1:1", "", "h2: I am h2."]
    assert lines[-1].startswith('curl http://h1:1/v1/chat/completions -H "Content-Type: application/json" -H "Authorization: Bearer $LLAMA_API_KEY"')
