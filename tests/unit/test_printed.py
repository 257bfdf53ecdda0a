# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""No output carries a control character that a host, a server or a file's name has in it: one test for each surface."""

import io
import json
import pathlib
import typing

import pytest
import rich.console

from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Snapshot, to_line
from llama_fleet import printed, settings
from llama_fleet.cli import commands, doctor, foreground, status, views
from llama_fleet.container import health, narrator, startlog
from llama_fleet.errors import FleetError
from llama_fleet.run import console, events
from tests.unit.cli.fake_hosts import facts
from tests.unit.run.test_events import ended, said

# Clears the screen, names the window, starts the line anew, turns the direction of writing.
EVIL = "a\x1b[2J\x1b]0;b\x07\x9b31m\rc\u202ed"
SHOWN = r"a\x1b[2J\x1b]0;b\x07\x9b31m\rc\u202ed"


def is_clean(text: str) -> bool:
    return all(each.isprintable() or each in "\n\t" for each in text)


def translated(*happened: typing.Any) -> tuple[list[events.Event], events.Outcome]:
    seen: list[events.Event] = []
    translator = events.Translator(0, seen.append)
    for event in happened:
        translator.handle(event)
    translator.conclude(0)
    return seen, translator.outcome


def test_texts_and_names_at_every_depth() -> None:
    assert printed.text(EVIL + "\n\t") == SHOWN + "\n\t"
    assert printed.one_line("a\n\tb") == r"a\n\tb"
    assert printed.every_text({EVIL: [EVIL, {"x": (EVIL,)}, 1, None]}) == {SHOWN: [SHOWN, {"x": [SHOWN]}, 1, None]}


def test_a_run_on_the_console() -> None:
    happened = [
        said(to_line("h1", Snapshot(EVIL))),
        said(f"[WARNING]: {EVIL}", "warning"),
        said(f"diff {EVIL}", "runner_on_file_diff"),
        said(f"ERROR! {EVIL}", "error"),
        ended(EVIL, changed=True, path=EVIL),
        ended(kind="runner_on_failed", msg=EVIL, problems=[{"found": EVIL}]),
        ended(kind="runner_on_failed", msg="x", module_stderr=EVIL),
        ended("far", kind="runner_on_unreachable", msg=EVIL),
    ]
    seen, outcome = translated(*happened)
    assert len(seen) == 7
    stream = io.StringIO()
    listener = console.Console((), stream)
    for event in seen:
        listener(event)
    # Ansible's own colours go, and with them what looks alike.
    assert is_clean(stream.getvalue())
    assert stream.getvalue().count(r"\x9b31m") == 7
    assert all(is_clean(str(failure)) for failure in outcome.failures)


def test_the_answer_of_a_model() -> None:
    result = {"answer": EVIL, "endpoint": f"http://h/{EVIL}"}
    event = ended("h1", **result)
    event["event_data"]["role"] = "llama_fleet.core.llama_server"
    assert SHOWN in console.answers(translated(event)[1])
    assert is_clean(console.answers(translated(event)[1]))


def table(view: views.View, outcome: events.Outcome) -> str:
    stream = io.StringIO()
    rich.console.Console(file=stream, width=500).print(views._rendered(view, outcome))
    return stream.getvalue()


@pytest.mark.parametrize("view", [status.STATUS, status.GENERATIONS], ids=["status", "generations"])
def test_the_table_of_instances(view: views.View) -> None:
    generation = {**facts()["generations"][1], "build": EVIL, "model": EVIL}
    found = facts(instance=EVIL, build=EVIL, model=EVIL, drift=[EVIL], unknown=[EVIL], generations=[generation])
    event = ended("h1", action="llama_fleet.core.llama_server_info", instances=[found])
    event["event_data"]["role"] = None
    told = table(view, translated(event)[1])
    assert SHOWN in told
    assert is_clean(told)


def test_the_table_of_the_doctor() -> None:
    check = {"code": "x", "severity": "error", "subject": EVIL, "found": EVIL, "wanted": EVIL, "fix": EVIL}
    event = ended("h1", action="llama_fleet.core.preflight_info", checks=[check])
    event["event_data"]["role"] = None
    told = table(doctor.VIEW, translated(event)[1])
    assert told.count(SHOWN) == 5
    assert is_clean(told)


def test_the_start_of_a_container(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startlog, "PHASE", str(tmp_path / "phase.json"))
    for as_json in (False, True):
        stream = io.StringIO()
        log = startlog.Log(as_json, stream)
        log.warning(EVIL)
        for event in translated(said(to_line("h1", Snapshot(EVIL))))[0] if as_json else []:
            narrator.Narrator(log, ())(event)
        assert is_clean(stream.getvalue())
        assert not as_json or json.loads(stream.getvalue().splitlines()[0])["text"] == EVIL


def test_the_health_check(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(startlog, "PHASE", str(tmp_path / "phase.json"))
    startlog.phase(startlog.PREPARING, EVIL)
    health.main()
    told = capsys.readouterr().out
    assert SHOWN in told
    assert is_clean(told)


def test_an_error_of_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def load() -> typing.NoReturn:
        raise FleetError(EVIL)

    monkeypatch.setattr(settings, "load", load)
    assert commands.main(["status"]) == 1
    assert capsys.readouterr().err == f"Error: {SHOWN}\n"


def test_the_log_of_a_server_in_the_foreground(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, stream = tmp_path / "log", io.StringIO()
    log.touch()
    (tmp_path / "stopped").touch()

    def is_alive(_process: foreground.Process) -> bool:
        log.write_text(EVIL, encoding="utf-8")
        return False

    monkeypatch.setattr(foreground.Process, "is_alive", is_alive)
    assert foreground.follow(1, log, tmp_path, lambda: 0, stream) == 0
    assert SHOWN in stream.getvalue()
    assert is_clean(stream.getvalue())
