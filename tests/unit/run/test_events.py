# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The typed events and the outcome that the translator derives from ansible_runner's events."""

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Snapshot, to_line
from llama_fleet.errors import ExitCode
from llama_fleet.run.events import Event, Failure, Outcome, Progress, Remark, StageDone, Translator

Data = dict[str, typing.Any]


def ended(
    host: str = "localhost",
    *,
    kind: str = "runner_on_ok",
    action: str = "llama_fleet.core.llama_cpp_release",
    **result: typing.Any,
) -> Data:
    data = {
        "host": host,
        "resolved_action": action,
        "task": "A release",
        "role": "llama_fleet.core.llama_cpp",
        "duration": 75.2,
        "res": result,
    }
    return {"event": kind, "stdout": "", "event_data": data}


def said(text: str, kind: str = "verbose") -> Data:
    return {"event": kind, "stdout": text}


def translate(*events: Data, return_code: int = 0, verbosity: int = 0) -> tuple[list[Event], Outcome]:
    seen: list[Event] = []
    translator = Translator(verbosity, seen.append)
    for event in events:
        assert translator.handle(event) is False  # nothing is kept in files
    translator.conclude(return_code)
    return seen, translator.outcome


def test_calls_and_changes_are_counted_and_results_kept() -> None:
    seen, outcome = translate(
        ended(plan_only=True, changed=False, would_change=True),
        ended(changed=True, path="/r"),
        ended("other", changed=False, path="/s"),
    )
    assert [(event.host, event.plan, event.changed) for event in seen if isinstance(event, StageDone)] == [
        ("localhost", True, False),
        ("localhost", False, True),
        ("other", False, False),
    ]
    assert (outcome.calls, outcome.changed, outcome.exit_code) == (3, 1, ExitCode.OK)
    assert {host: result["path"] for host, result in outcome.of_role("llama_cpp").items()} == {
        "localhost": "/r",
        "other": "/s",
    }
    assert outcome.of_role("gguf_model") == {}


def test_instances_of_a_host_have_results_of_their_own() -> None:
    seen, outcome = translate(
        ended("h1", turn_of="chat", path="/c"), ended("h1", turn_of="embed", path="/e"), ended("h2", path="/s")
    )
    assert [event.host for event in seen if isinstance(event, StageDone)] == ["h1/chat", "h1/embed", "h2"]
    assert {host: result["path"] for host, result in outcome.of_role("llama_cpp").items()} == {
        "h1/chat": "/c",
        "h1/embed": "/e",
        "h2": "/s",
    }


def test_a_module_outside_of_roles_has_its_own_name() -> None:
    event = ended(action="llama_fleet.core.llama_server_info", instances=[])
    event["event_data"]["role"] = None
    assert translate(event)[1].of_role("llama_server_info") == {"localhost": {"instances": []}}


def test_what_a_later_failure_says_again_is_told_once() -> None:
    failed = [ended(kind="runner_on_failed", msg=text) for text in ("no GPU", "no GPU memory", "no GPU\nno disk")]
    seen, outcome = translate(*failed, return_code=2)
    assert seen == [Failure("localhost", text) for text in ("no GPU", "no GPU memory", "no disk")]
    assert outcome.failures == [Failure("localhost", "no GPU memory"), Failure("localhost", "no GPU\nno disk")]


@pytest.mark.parametrize(
    "action",
    [
        "ansible.builtin.include_role",
        "ansible.builtin.include_tasks",
        "ansible.builtin.set_fact",
        "ansible.builtin.validate_argument_spec",
        "llama_fleet.core.validate_variables",
    ],
)
def test_a_check_on_the_controller_is_no_call(action: str) -> None:
    seen, outcome = translate(ended(changed=False, action=action))
    assert (seen, outcome.calls) == ([], 0)


def test_a_failure_is_the_modules_own_message() -> None:
    seen, outcome = translate(
        ended(kind="runner_on_failed", msg="a: expected x, found b.\nc: expected y, found d.", exception="Traceback …"),
        return_code=2,
    )
    assert seen == [Failure("localhost", "a: expected x, found b.\nc: expected y, found d.")]
    assert (outcome.calls, outcome.exit_code) == (1, ExitCode.FAILED)


def test_a_failure_without_a_message_is_one() -> None:
    assert translate(ended(kind="runner_on_failed"), return_code=2)[0] == [
        Failure("localhost", "the task failed without a message")
    ]


def test_a_failure_that_the_play_ignores_is_none() -> None:
    event = ended(kind="runner_on_failed", msg="x")
    event["event_data"]["ignore_errors"] = True
    assert translate(event)[1].exit_code == ExitCode.OK


def test_unreachable_is_an_exit_code_of_its_own_unless_another_host_failed() -> None:
    unreachable = ended("far", kind="runner_on_unreachable", msg="Connection\nrefused")
    assert translate(unreachable, return_code=4)[1].exit_code == ExitCode.UNREACHABLE
    assert (
        translate(unreachable, ended(kind="runner_on_failed", msg="x"), return_code=6)[1].exit_code == ExitCode.FAILED
    )


def test_a_stage_that_has_only_begun_is_neither_shown_nor_counted() -> None:
    seen, outcome = translate(ended(changed=False, would_change=True, begun={"role": "llama_cpp"}))
    assert (seen, outcome.calls, outcome.results) == ([], 0, {})


def test_progress_comes_as_one_line_of_json() -> None:
    snapshot = Snapshot("building llama.cpp", 120, 267, elapsed=140.0, pid=7)
    seen, _outcome = translate(said(f"\x1b[0;34m{to_line('h1/chat', snapshot, 'llama_cpp')}\x1b[0m\r\n"))
    assert seen == [Progress("h1/chat", snapshot, "llama_cpp")]
    assert typing.cast("Progress", seen[0]).text == "building llama.cpp: 44 %, [120/267], 2 min 51 s left"


def test_verbose_shows_no_json() -> None:
    snapshot = Snapshot("building")
    assert translate(said(to_line("h1", snapshot)), verbosity=1)[0] == [Progress("h1", snapshot)]


def test_a_stage_of_a_hostile_host_stays_on_its_line() -> None:
    seen, _outcome = translate(said(to_line("h1", Snapshot("a\x1b[2J\n[good] stage"))))
    assert [typing.cast("Progress", event).text for event in seen] == [r"a\x1b[2J\n[good] stage"]


@pytest.mark.parametrize(
    "line",
    [
        "PLAY [Provision]",
        "",
        "[WARNING]: x",
        "[h1] building: 1 %, [1/100]",
        "{",
        '{"llama_fleet_progress_of": "h1"}',
        '{"llama_fleet_progress_of": "h1", "snapshot": {"stage": "x", "done": "1"}}',
        '{"llama_fleet_progress_of": 7, "snapshot": {"stage": "x"}}',
    ],
)
def test_other_lines_are_not_progress(line: str) -> None:
    assert translate(said(line))[0] == []


@pytest.mark.parametrize("kind", ["warning", "system_warning"])
def test_a_warning_is_told_once(kind: str) -> None:
    assert translate(said("[WARNING]: low\r\nspace\n", kind), said("[WARNING]: low\nspace", kind))[0] == [
        Remark("low\nspace", warning=True)
    ]


def test_a_diff_is_told() -> None:
    assert translate(said("--- before\n+++ after", "runner_on_file_diff"))[0] == [Remark("--- before\n+++ after")]


@pytest.mark.parametrize("event", [said("ERROR! no such file"), said("[ERROR]: no such file", "error")])
def test_what_ansible_says_before_any_host_is_the_failure(event: Data) -> None:
    seen, outcome = translate(event, return_code=1)
    assert seen == [Failure("", "no such file")]
    assert outcome.exit_code == ExitCode.FAILED


def test_an_error_line_beside_a_hosts_failure_is_not_told_again() -> None:
    assert (
        len(
            translate(said("[ERROR]: Task failed: x", "error"), ended(kind="runner_on_failed", msg="x"), return_code=2)[
                0
            ]
        )
        == 1
    )


def test_no_host_and_no_word_are_failures_too() -> None:
    assert translate(said("", "playbook_on_no_hosts_matched"))[1].exit_code == ExitCode.FAILED
    assert translate(return_code=250)[0] == [Failure("", "ansible-playbook ended with exit status 250.")]


def test_verbose_is_ansibles_own_words() -> None:
    events = [said("TASK [x]"), said(""), said("[WARNING]: low space", "warning")]
    assert translate(*events, verbosity=1)[0] == [Remark("TASK [x]"), Remark("[WARNING]: low space")]


@pytest.mark.parametrize("kind", ["runner_on_ok", "runner_on_failed"])
def test_what_a_result_warns_of_is_told_once(kind: str) -> None:
    seen = translate(
        ended("h1", kind=kind, warnings=["not\x1b[2J shared", "old"]), ended("h2", kind=kind, warnings=["old"])
    )[0]
    assert [event for event in seen if isinstance(event, Remark)] == [
        Remark(r"not\x1b[2J shared", warning=True),
        Remark("old", warning=True),
    ]


def test_an_end_without_an_error_tells_the_last_lines() -> None:
    lines = "\n".join(["Traceback", "", *(f"line {number}\x1b" for number in range(20))])
    _seen, outcome = translate(said(lines), return_code=250)
    [failure] = outcome.failures
    first, *rest = failure.text.splitlines()
    assert first == "ansible-playbook ended with exit status 250. It said:"
    assert rest == [f"line {number}\\x1b" for number in range(20)]
    _seen, quiet = translate(return_code=250)
    assert [failure.text for failure in quiet.failures] == ["ansible-playbook ended with exit status 250."]
