# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Real runs of ansible-runner, over a tiny collection whose plays do what a test needs."""

import os
import pathlib
import re
import sys
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.plugin_utils import published_binaries
from llama_fleet.errors import ExitCode
from llama_fleet.run import runner
from llama_fleet.run.events import Event, Failure, Remark, StageDone
from tests.unit.run.tiny_plays import no_traces, run


def test_a_text_is_never_a_template(events: list[Event], tmp_path: pathlib.Path) -> None:
    text = "{{ lookup('pipe', 'id') }} ü \"'\\"
    outcome = run(events, "echo", variables={"text": text, "nested": {"a": [text]}})
    stage = next(event for event in events if isinstance(event, StageDone))
    assert stage.result["stdout"] == text + text
    assert (outcome.exit_code, outcome.calls, outcome.changed) == (ExitCode.OK, 1, 1)
    assert outcome.seconds > 0
    assert no_traces(tmp_path)


def test_a_secret_is_on_no_command_line_and_nowhere_afterwards(events: list[Event], tmp_path: pathlib.Path) -> None:
    run(events, "secret", variables={"secret": "s3cr3t-42"})
    stage = next(event for event in events if isinstance(event, StageDone))
    assert stage.result["stdout"] == "0"
    assert no_traces(tmp_path)


def test_a_failed_task(events: list[Event], tmp_path: pathlib.Path) -> None:
    assert run(events, "fail").exit_code == ExitCode.FAILED
    [failure] = [event for event in events if isinstance(event, Failure)]
    assert (failure.host, failure.unreachable) == ("localhost", False)
    assert re.fullmatch(r".*non-zero return code\.?", failure.text)
    assert no_traces(tmp_path)


def test_check_mode_reaches_the_module(events: list[Event]) -> None:
    outcome = run(events, "fail", check=True)
    assert (outcome.exit_code, outcome.changed) == (ExitCode.OK, 0)


def test_a_play_that_is_not_there(events: list[Event]) -> None:
    assert run(events, "nothing").exit_code == ExitCode.FAILED
    [failure] = [event for event in events if isinstance(event, Failure)]
    assert "llama_fleet.core.nothing" in failure.text


def test_a_host_that_cannot_be_reached(events: list[Event], tmp_path: pathlib.Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {hosts: {far: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n", encoding="utf-8")
    assert (
        run(events, "echo", inventories=(inventory,), variables={"text": "", "nested": {"a": []}}).exit_code
        == ExitCode.UNREACHABLE
    )
    [failure] = [event for event in events if isinstance(event, Failure)]
    assert (failure.host, failure.unreachable) == ("far", True)
    assert "port 1" in failure.text


def test_an_inventory_that_says_nothing(events: list[Event], tmp_path: pathlib.Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {hosts: {}}\n", encoding="utf-8")
    assert run(events, "echo", inventories=(inventory,)).exit_code == ExitCode.FAILED


def tell(events: list[Event], **options: object) -> dict[str, typing.Any]:
    run(events, "tell", **options)
    return dict(next(event for event in events if isinstance(event, StageDone)).result["msg"])


def test_this_machine_needs_nothing_of_the_users(
    events: list[Event], monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("CONFIG", "HOST_KEY_CHECKING", "SSH_EXTRA_ARGS"):
        monkeypatch.delenv(f"ANSIBLE_{name}", raising=False)
    (tmp_path / "ansible.cfg").touch()
    told = tell(events)
    assert re.fullmatch(rf"{tmp_path}/tmp/llama-fleet-run-\w+/home", told["home"])
    assert told.pop("tmp") == f"{told.pop('home')}/tmp"
    assert told.pop("path").startswith(f"{pathlib.Path(sys.executable).parent}:")
    assert told == {
        "become": False,
        "check": False,
        "diff": False,
        "verbosity": 0,
        "python": sys.executable,
        "mode": "600",
        "config": f"{tmp_path}/ansible.cfg",
        "host keys": "True",
        "ssh": "-o BatchMode=yes",
        "lock": "~/.config/llama-fleet/upstream.lock",
    }
    assert capfd.readouterr() == ("", "")


def test_the_lock_of_this_machine_is_the_roles_for_an_inventory_without_a_folder() -> None:
    wish = published_binaries.wish({"source": "upstream:latest"}, "")
    assert wish
    assert wish.lock == pathlib.Path(runner.UPSTREAM_LOCK).expanduser()


def test_what_is_asked_for_reaches_ansible_and_the_users_own_settings_win(
    events: list[Event], monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "ansible.cfg").touch()
    (tmp_path / "own.cfg").touch()
    own = {"config": f"{tmp_path}/own.cfg", "host keys": "False", "ssh": "-4"}
    for name, value in zip(("CONFIG", "HOST_KEY_CHECKING", "SSH_EXTRA_ARGS"), own.values(), strict=True):
        monkeypatch.setenv(f"ANSIBLE_{name}", value)
    told = tell(events, become=True, check=True, diff=True, verbosity=1)
    assert told.items() >= {"become": True, "check": True, "diff": True, "verbosity": 1, **own}.items()
    assert any(isinstance(event, Remark) and "TASK [Tell]" in event.text for event in events)


def test_a_fleets_hosts_are_as_their_inventory_says(
    events: list[Event], monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setenv("ANSIBLE_HOME", str(tmp_path))
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {hosts: {near: {ansible_connection: local}}}\n", encoding="utf-8")
    (tmp_path.parent / "variables.yml").touch()
    told = tell(events, inventories=(inventory,))
    assert [told[name] for name in ("become", "python", "tmp", "lock")] == ["unset"] * 4
    assert told["home"] == str(tmp_path)


def test_the_runner_is_the_only_file_that_knows_ansible_runner() -> None:
    sources = pathlib.Path(runner.__file__).parent.glob("*.py")
    assert [path.name for path in sources if "import ansible_runner" in path.read_text(encoding="utf-8")] == [
        "runner.py"
    ]


@pytest.mark.parametrize(
    ("home", "local", "expected"),
    [("/home/none", True, True), ("", True, True), ("/", True, False), ("/home/none", False, False)],
)
def test_a_user_without_home_and_name_gets_them_on_this_machine(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, home: str, local: bool, expected: bool
) -> None:
    def nobody() -> typing.NoReturn:
        raise KeyError("uid not found")

    monkeypatch.setenv("HOME", home)
    monkeypatch.setattr("getpass.getuser", nobody)
    monkeypatch.setattr(os, "access", lambda path, _mode: path == "/")
    told = runner._environment(tmp_path, "MARK=x", local=local)
    assert ("USER" in told) is local
    assert told.get("HOME") == (str(tmp_path / "home") if expected else None)
