# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the choice of a locale for Ansible, and real runs in environments that it refuses."""

import locale

import pytest

from llama_fleet.errors import ExitCode
from llama_fleet.run import locales
from llama_fleet.run.events import Event, Failure
from tests.unit.run.tiny_plays import run

WANTED = {"LC_ALL": "C.UTF-8"}
ENVIRONMENTS = [
    pytest.param({"LC_ALL": "C"}, WANTED, id="C"),
    pytest.param({"LC_ALL": "POSIX"}, WANTED, id="POSIX"),
    pytest.param({"LANG": "xx_XX.UTF-8"}, WANTED, id="missing"),
    pytest.param({"LC_ALL": "C", "LANG": "C.UTF-8"}, WANTED, id="overridden"),
    pytest.param({}, WANTED, id="none"),
    pytest.param({"LANG": "C.UTF-8"}, {}, id="usable"),
    pytest.param({"LC_ALL": "C.UTF-8", "LANG": "xx"}, {}, id="usable for all"),
]


def set_locale(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """Set the locale variables of the environment, and no others."""
    for name in ("LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LANG", "LANGUAGE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(("environment", "wanted"), ENVIRONMENTS)
def test_a_locale_that_ansible_refuses_is_replaced(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], wanted: dict[str, str]
) -> None:
    before = locale.setlocale(locale.LC_ALL)
    set_locale(monkeypatch, environment)
    assert locales.variables() == wanted
    assert locale.setlocale(locale.LC_ALL) == before


def test_a_machine_without_a_usable_locale_gets_ansibles_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locales, "_is_usable", lambda _name: False)
    assert locales.variables() == WANTED


@pytest.mark.parametrize("environment", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX"}, {"LANG": "xx_XX.UTF-8"}])
def test_a_play_runs_in_each_of_them(
    events: list[Event], monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    set_locale(monkeypatch, environment)
    outcome = run(events, "echo", variables={"text": "ü", "nested": {"a": ["ü"]}})
    assert (outcome.exit_code, outcome.calls) == (ExitCode.OK, 1)


def test_what_ansible_said_before_it_ended_is_told(events: list[Event], monkeypatch: pytest.MonkeyPatch) -> None:
    set_locale(monkeypatch, {"LC_ALL": "C"})
    monkeypatch.setattr(locales, "variables", dict)
    assert run(events, "echo").exit_code == ExitCode.FAILED
    [failure] = [event for event in events if isinstance(event, Failure)]
    assert failure.text == (
        "ansible-playbook ended with exit status 1. It said:\n"
        "ERROR: Ansible requires the locale encoding to be UTF-8; Detected None."
    )
