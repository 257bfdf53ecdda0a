# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Real runs of ansible-runner, over a tiny collection whose plays do what a test needs."""

import dataclasses
import json
import os
import pathlib
import re
import signal
import tempfile
import threading
import time

import pytest

from llama_fleet import foreground, runner
from llama_fleet.errors import ExitCode, RunInterruptedError
from llama_fleet.events import Event, Failure, Outcome, StageDone

PLAYS = {
    "echo": ["printf", "%s", "{{ text }}"],
    "fail": ["false"],
    # What grep looks for is on its own command line, so it starts after all have been read. It ends with 1 where it counts 0, hence `|| true`.
    "secret": ["sh", "-c", 'lines=$(cat /proc/[0-9]*/cmdline | tr -d "\\0"); echo "$lines" | grep -c s3cr3t-$((40+2)) || true'],
    "sleep": ["setsid", "sh", "-c", "echo $$ > {{ file }}; exec sleep 61"],
}


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> list[Event]:
    collection = tmp_path / "collections/ansible_collections/llama_fleet/core"
    (collection / "playbooks").mkdir(parents=True)
    (collection / "galaxy.yml").write_text("namespace: llama_fleet\nname: core\nversion: 0.0.1\n", encoding="utf-8")
    for name, command in PLAYS.items():
        task = {"name": name.capitalize(), "ansible.builtin.command": {"argv": command}}
        play = json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}])
        (collection / f"playbooks/{name}.yml").write_text(play, encoding="utf-8")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(runner, "COLLECTIONS", tmp_path / "collections")
    return []


def run(events: list[Event], playbook: str, **options: object) -> Outcome:
    return runner.run(dataclasses.replace(runner.Request(playbook, {}), **options), events.append)  # type: ignore[arg-type]  # fields by name


def no_traces(tmp_path: pathlib.Path) -> bool:
    return list((tmp_path / "tmp").iterdir()) == []


def test_a_text_is_never_a_template(events: list[Event], tmp_path: pathlib.Path) -> None:
    text = "{{ lookup('pipe', 'id') }} ü \"'\\"
    outcome = run(events, "echo", variables={"text": text})
    stage = next(event for event in events if isinstance(event, StageDone))
    assert stage.result["stdout"] == text
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
    assert run(events, "echo", inventories=(inventory,), variables={"text": ""}).exit_code == ExitCode.UNREACHABLE
    [failure] = [event for event in events if isinstance(event, Failure)]
    assert (failure.host, failure.unreachable) == ("far", True)
    assert "port 1" in failure.text


def test_an_inventory_that_says_nothing(events: list[Event], tmp_path: pathlib.Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {hosts: {}}\n", encoding="utf-8")
    assert run(events, "echo", inventories=(inventory,)).exit_code == ExitCode.FAILED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_and_all_it_started(events: list[Event], tmp_path: pathlib.Path, number: signal.Signals) -> None:
    file = tmp_path / "pid"

    def interrupt() -> None:
        deadline = time.monotonic() + 20
        while not (file.exists() and file.read_text(encoding="utf-8").strip()) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt).start()
    with pytest.raises(RunInterruptedError) as caught:
        run(events, "sleep", variables={"file": str(file)})
    assert caught.value.exit_code == 128 + number
    assert not foreground.Process.of(int(file.read_text(encoding="utf-8"))).is_alive()
    assert no_traces(tmp_path)


def test_the_runner_is_the_only_file_that_knows_ansible_runner() -> None:
    sources = pathlib.Path(runner.__file__).parent.glob("*.py")
    assert [path.name for path in sources if "import ansible_runner" in path.read_text(encoding="utf-8")] == ["runner.py"]
