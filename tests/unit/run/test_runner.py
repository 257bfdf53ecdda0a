# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Real runs of ansible-runner, over a tiny collection whose plays do what a test needs."""

import dataclasses
import json
import os
import pathlib
import re
import signal
import sys
import tempfile
import threading
import time
import typing
from collections.abc import Iterator

import ansible_runner
import pytest

from llama_fleet.cli import foreground
from llama_fleet.errors import ExitCode, RunInterruptedError
from llama_fleet.run import runner
from llama_fleet.run.events import Event, Failure, Outcome, Remark, StageDone

# What the play itself can tell of its run.
TOLD = {
    "become": "{{ ansible_become | default('unset') }}",
    "check": "{{ ansible_check_mode }}",
    "diff": "{{ ansible_diff_mode }}",
    "verbosity": "{{ ansible_verbosity }}",
    "python": "{{ ansible_python_interpreter | default('unset') }}",
    "tmp": "{{ ansible_remote_tmp | default('unset') }}",
    "mode": "{{ lookup('pipe', 'stat -c %a $ANSIBLE_HOME/../variables.yml') }}",
    "home": "{{ lookup('env', 'ANSIBLE_HOME') }}",
    "path": "{{ lookup('env', 'PATH') }}",
    "config": "{{ lookup('env', 'ANSIBLE_CONFIG') }}",
    "host keys": "{{ lookup('env', 'ANSIBLE_HOST_KEY_CHECKING') }}",
    "ssh": "{{ lookup('env', 'ANSIBLE_SSH_EXTRA_ARGS') }}",
}
COMMAND = "ansible.builtin.command"
TASKS: dict[str, dict[str, dict[str, typing.Any]]] = {
    "echo": {COMMAND: {"argv": ["printf", "%s", "{{ text }}{{ nested.a[0] | default('') }}"]}},
    "fail": {COMMAND: {"argv": ["false"]}},
    # Only builtins have what is looked for: on a command line another run of this test would find it.
    "secret": {
        COMMAND: {
            "argv": [
                "sh",
                "-c",
                (
                    'all=$(cat /proc/[0-9]*/cmdline | tr -d "\\0"); case "$all" in *s3cr3t-$((40+2))*) echo 1;; '
                    "*) echo "
                    "0;; esac"
                ),
            ]
        }
    },
    "sleep": {COMMAND: {"argv": ["setsid", "sh", "-c", "echo $$ > {{ file }}; exec sleep 61"]}},
    "tell": {"ansible.builtin.debug": {"msg": TOLD}},
    "wait": {"llama_fleet.core.wait": {"file": "{{ file }}"}},
}
# An action that ends as those of the collection do, which then stop their jobs.
WAIT = """
import os, pathlib, signal, time
from ansible.plugins.action import ActionBase

class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        file = pathlib.Path(self._task.args["file"])
        def end(*_arguments):
            time.sleep(0.5)  # as long as a command on another host takes
            file.with_suffix(".ended").touch()
            raise KeyboardInterrupt
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        file.write_text(str(os.getpid()))
        time.sleep(60)
"""


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> list[Event]:
    collection = tmp_path / "collections/ansible_collections/llama_fleet/core"
    (collection / "playbooks").mkdir(parents=True)
    (collection / "galaxy.yml").write_text("namespace: llama_fleet\nname: core\nversion: 0.0.1\n", encoding="utf-8")
    (collection / "plugins/action").mkdir(parents=True)
    (collection / "plugins/action/wait.py").write_text(WAIT, encoding="utf-8")
    for name, task in TASKS.items():
        play = json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [{"name": name.capitalize(), **task}]}])
        (collection / f"playbooks/{name}.yml").write_text(play, encoding="utf-8")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(runner, "COLLECTIONS", tmp_path / "collections")
    return []


def run(events: list[Event], playbook: str, **options: object) -> Outcome:
    request = dataclasses.replace(runner.Request(playbook, {}), **options)  # type: ignore[arg-type]  # fields by name
    return runner.run(request, events.append)


def no_traces(tmp_path: pathlib.Path) -> bool:
    return list((tmp_path / "tmp").iterdir()) == []


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
    }
    assert capfd.readouterr() == ("", "")


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
    assert [told[name] for name in ("become", "python", "tmp", "home")] == ["unset", "unset", "unset", str(tmp_path)]


def interrupt_soon(file: pathlib.Path, *numbers: int) -> None:
    former = {number: signal.getsignal(number) for number in numbers}

    def interrupt() -> None:
        deadline = time.monotonic() + 120
        while not (file.exists() and file.read_text(encoding="utf-8").strip()):
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)
        for number in numbers:
            # After the run a signal would end the tests.
            if signal.getsignal(number) != former[number]:
                os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()


@pytest.fixture
def without_nohup() -> Iterator[None]:
    former = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, former)


@pytest.mark.usefixtures("without_nohup")
@pytest.mark.parametrize(
    ("numbers", "status"), [((signal.SIGINT, signal.SIGTERM), 130), ((signal.SIGTERM,), 143), ((signal.SIGHUP,), 129)]
)
def test_a_signal_ends_the_run_and_all_it_started(
    events: list[Event], tmp_path: pathlib.Path, numbers: tuple[int, ...], status: int
) -> None:
    file = tmp_path / "pid"
    former = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    interrupt_soon(file, *numbers)
    with pytest.raises(RunInterruptedError) as caught:
        run(events, "sleep", variables={"file": str(file)})
    assert caught.value.exit_code == status
    assert not foreground.Process.of(int(file.read_text(encoding="utf-8"))).is_alive()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == former
    assert no_traces(tmp_path)


def test_a_signal_is_seen_soon(events: list[Event], monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts: list[float] = []
    real = ansible_runner.run

    def observed(**options: object) -> object:
        result = real(**options)
        timeouts.append(result.config.pexpect_timeout)
        return result

    monkeypatch.setattr(ansible_runner, "run", observed)
    run(events, "fail")
    assert timeouts[0] <= 0.5


def test_actions_are_given_the_time_to_stop_their_jobs(
    events: list[Event], monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(runner, "GRACE", 30.0)
    interrupt_soon(tmp_path / "pid", signal.SIGINT)
    with pytest.raises(RunInterruptedError):
        run(events, "wait", variables={"file": str(tmp_path / "pid")})
    assert (tmp_path / "pid.ended").exists()


def test_the_runner_is_the_only_file_that_knows_ansible_runner() -> None:
    sources = pathlib.Path(runner.__file__).parent.glob("*.py")
    assert [path.name for path in sources if "import ansible_runner" in path.read_text(encoding="utf-8")] == [
        "runner.py"
    ]


@pytest.mark.parametrize(
    ("home", "local", "expected"),
    [("/nonexistent", True, True), ("", True, True), ("/", True, False), ("/nonexistent", False, False)],
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
