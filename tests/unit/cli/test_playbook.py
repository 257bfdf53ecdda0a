# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The output of ansible-playbook, event by event; tests/unit/plays/test_callback.py has whole runs."""

import io
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Snapshot, to_line
from llama_fleet.cli.playbook import Playbook

SITE, STATUS = "Provision llama-server", "Look at the instances"


def playbook(play: str = SITE, **options: bool) -> tuple[Playbook, io.StringIO]:
    stream = io.StringIO()
    shown = Playbook(stream, **options)
    shown.begin_play(play)
    return shown, stream


def end(shown: Playbook, kind: str = "runner_on_ok", role: str = "llama_cpp", **result: typing.Any) -> None:
    action = "llama_fleet.core.llama_cpp_release"
    data = {"host": "h1", "remote_addr": "h1", "task": "t", "resolved_action": action, "duration": 1.0}
    shown.happened(kind, role=f"llama_fleet.core.{role}", res=result, **data)


def test_stages_have_the_names_of_their_play() -> None:
    shown, stream = playbook()
    end(shown, changed=True)
    shown.begin_play("Stop llama-server")
    end(shown, role="llama_server", changed=False)
    assert stream.getvalue().splitlines() == [
        "h1: Provide the release: changed, 1.0 s",
        "h1: Stop the instance: ok",
    ]


def test_only_progress_and_warnings_are_not_printed_as_they_are() -> None:
    shown, stream = playbook()
    assert shown.said(to_line("h1", Snapshot("building")))
    assert [shown.said("[WARNING]: low space") for _time in range(2)] == [True, True]
    assert not shown.said("[ERROR]: no such file")
    assert not shown.said("{}")
    assert stream.getvalue().splitlines() == ["h1: building", "Warning: low space"]


def test_a_play_without_a_host_is_told_once_and_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    shown, stream = playbook()
    for _play in range(2):
        shown.has_no_host()
    shown.end()
    assert stream.getvalue() == "Warning: The inventory has no host for this play.\n"
    assert "Error" not in capsys.readouterr().out


def test_a_quiet_one_shows_the_end_alone(capsys: pytest.CaptureFixture[str]) -> None:
    shown, stream = playbook(is_quiet=True)
    end(shown, changed=True)
    assert not shown.said("[WARNING]: low space")
    shown.end()
    assert stream.getvalue() == ""
    assert capsys.readouterr().out.splitlines()[0] == "h1: changed llama_cpp"


def test_a_check_has_no_answers_at_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    for check in (False, True):
        shown, _stream = playbook(check=check)
        end(shown, role="llama_server", changed=True, endpoint="http://127.0.0.1:1", command=[])
        shown.end()
        output = capsys.readouterr().out
        assert ("h1: http://127.0.0.1:1" in output) is not check
        assert output.startswith(f"h1: {'would change' if check else 'changed'} llama_server\n")


def test_a_play_that_looks_shows_remarks_and_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    shown, stream = playbook(STATUS)
    end(shown, kind="runner_on_failed", msg="no Python", warnings=["old"])
    assert stream.getvalue() == ""
    shown.end()
    output = capsys.readouterr()
    assert output.err == "Warning: old\nError: h1: no Python\n"
    assert output.out.strip() == ""
