# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The command line: usage errors, what a handler hands to the runner, and what it makes of the outcome."""

import importlib.metadata
import os
import pathlib
import platform
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from llama_fleet import settings
from llama_fleet.cli import commands, foreground, privileges
from llama_fleet.errors import RunInterruptedError
from llama_fleet.run import runner
from llama_fleet.run.events import Failure, Listener, Outcome
from tests.unit import imports

CATALOGUE = settings.load()
FOLDER = "/instances/small"
RESULT = {
    "answer": "Blue.",
    "endpoint": "http://127.0.0.1:9",
    "runtime": "process",
    "pid": 7,
    "log": "/log",
    "environment_file": f"{FOLDER}/generations/1/environment",
}


class Runs:
    """Stands in for the play."""

    def __init__(self, result: dict[str, object]) -> None:
        self.result = result
        self.requests: list[runner.Request] = []
        self.failures: list[Failure] = []
        self.untouched: list[str] = []

    def __call__(self, request: runner.Request, _listener: Listener) -> Outcome:
        self.requests.append(request)
        return Outcome(
            calls=7,
            seconds=5.1,
            failures=self.failures,
            results={"localhost": {"llama_server": self.result}},
            untouched=self.untouched,
        )


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    runs = Runs(dict(RESULT))
    monkeypatch.setattr(runner, "run", runs)
    monkeypatch.setattr(foreground, "follow", lambda *_arguments: pytest.fail("followed"))
    monkeypatch.setattr(privileges, "needs_become", lambda _command: False)
    for name in ("HF_TOKEN", "LLAMA_API_KEY", "GGUF_MODEL_TOKEN", "LLAMA_SERVER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return runs


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--ctx-sise", "1"],
            "No such option '--ctx-sise'. (Did you mean one of: '--batch-size', '--ctx-size', '--ubatch-size'?)",
        ),
        (["--ctx-size", "4k"], "Invalid value for '--ctx-size': '4k' is not a valid integer."),
        (
            ["--runtime", "dockre"],
            (
                "Invalid value for '--runtime': 'dockre' is not one of 'auto', 'systemd', 'quadlet', 'docker', "
                "'process', "
                "'exec'."
            ),
        ),
        (["--extra-options", "mlock"], "Invalid value for '--extra-options': expected NAME=VALUE, found 'mlock'."),
        (["--inventory", "/nowhere"], "Path '/nowhere' does not exist."),
        (["one", "two"], "Got unexpected extra argument (two)"),
        (["--serial", "1"], "--serial and --max-fail-percentage need an inventory. Fix: Add one with -i."),
        (
            ["--max-fail-percentage", "0"],
            "--serial and --max-fail-percentage need an inventory. Fix: Add one with -i.",
        ),
        (
            ["--serial", "1,half"],
            (
                "Invalid value for '--serial': expected numbers of hosts, or shares of them, with commas "
                "between, such as 1,25%,100%, found '1,half'."
            ),
        ),
        (["--serial", "0"], "such as 1,25%,100%, found '0'."),
        (["--serial", "101%"], "such as 1,25%,100%, found '101%'."),
        (["--api-key-file", "/nowhere"], "File '/nowhere' does not exist."),
        (["--api-key-file", "/"], "File '/' is a directory."),
        (["--api-key-file", "/dev/null"], "Invalid value for '--api-key-file': /dev/null is empty."),
    ],
)
def test_wrong_usage_is_a_sentence_and_runs_nothing(
    arguments: list[str], sentence: str, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.main(["up", "--detach", *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert runs.requests == []


def test_a_secret_file_that_is_no_text_is_refused_without_showing_it(
    runs: Runs, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"s3cr3t\xff")
    assert commands.main(["up", "--api-key-file", str(file)]) == 2
    error = capsys.readouterr().err
    assert f"'--api-key-file': {file} is not a text." in error
    assert "s3cr3t" not in error
    assert runs.requests == []


@pytest.mark.parametrize("arguments", [["--port", "1"], ["model"], ["--detach"]])
def test_down_takes_only_what_says_where(arguments: list[str], runs: Runs) -> None:
    assert commands.main(["down", *arguments]) == 2
    assert runs.requests == []


def test_down_stops_what_is_below_the_prefix(runs: Runs, tmp_path: pathlib.Path) -> None:
    assert commands.main(["down", "--prefix", str(tmp_path), "--instance", "small"]) == 0
    [request] = runs.requests
    assert request.playbook == "down"
    assert request.variables == {
        "llama_server_instance": "small",
        "llama_server_runtime": "process",
        "llama_server_root": f"{tmp_path}/etc/llama-fleet",
        "llama_server_runtime_root": f"{tmp_path}/run/llama-fleet",
    }


@pytest.mark.parametrize("command", ["up", "down"])
@pytest.mark.parametrize(("unreachable", "status"), [(False, 1), (True, 3)])
def test_a_failed_run_is_the_exit_status_and_no_answer(
    runs: Runs, command: str, unreachable: bool, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.failures = [Failure("h1", "no", unreachable)]
    assert commands.main([command]) == status
    assert capsys.readouterr().out == "changed=0 in 5.1 s, 7 module calls\n"


@pytest.mark.parametrize(
    ("interruption", "status"),
    [(KeyboardInterrupt(), 130), (RunInterruptedError(signal.SIGINT), 130), (RunInterruptedError(15), 143)],
)
def test_an_interrupted_run_has_its_own_exit_status(
    monkeypatch: pytest.MonkeyPatch, runs: Runs, interruption: BaseException, status: int
) -> None:
    def interrupt(*_arguments: object) -> Outcome:
        raise interruption

    monkeypatch.setattr(runner, "run", interrupt)
    assert commands.main(["up"]) == status
    assert runs.requests == []


def test_an_interruption_before_the_command_is_one_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> settings.Catalogue:
        raise KeyboardInterrupt

    monkeypatch.setattr(settings, "load", interrupt)
    assert commands.main(["version"]) == 130


def test_the_module_ends_with_the_exit_status() -> None:
    environment = {**os.environ, "PYTHONPATH": imports.PYTHONPATH}
    done = subprocess.run(
        [sys.executable, "-m", "llama_fleet", "upp"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "No such command 'upp'" in done.stderr


def test_up_hands_on_what_was_given_and_nothing_else(runs: Runs) -> None:
    arguments = [
        "up",
        "a/b:Q8_0",
        "--detach",
        "--port",
        "9000",
        "--devices",
        "CUDA0,CUDA1",
        "--extra-options",
        "flash-attn=on",
        "--extra-options",
        "swa-full=true",
    ]
    assert commands.main([*arguments, "--no-llama-cpp-install-packages", "--prompt", ""]) == 0
    request = runs.requests[0]
    assert request.playbook == "site"
    assert request.variables == {
        "gguf_model_source": "a/b:Q8_0",
        "llama_server_port": 9000,
        "llama_server_devices": ["CUDA0", "CUDA1"],
        "llama_server_extra_options": {"flash-attn": "on", "swa-full": True},
        "llama_cpp_install_packages": False,
        "llama_server_prompt": "",
    }


def test_up_prints_the_answer_the_endpoint_and_a_line_to_paste(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["up", "--detach"]) == 0
    assert runs.requests[0].variables == {"llama_server_prompt": commands.PROMPT}
    output = capsys.readouterr().out
    assert "changed=0 in 5.1 s, 7 module calls\n" in output
    assert "Blue.\n" in output
    assert "curl http://127.0.0.1:9/v1/chat/completions -H " in output
    assert "Authorization" not in output


def test_secrets_come_from_the_environment_or_a_file(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "from-environment")
    file = tmp_path / "key"
    file.write_text("from-file\n", encoding="utf-8")
    assert commands.main(["up", "--detach", "--api-key-file", str(file)]) == 0
    assert runs.requests[0].variables["gguf_model_token"] == "from-environment"
    assert runs.requests[0].variables["llama_server_api_key"] == "from-file"
    output = capsys.readouterr().out
    assert "from-file" not in output


def test_a_secret_file_wins_over_the_environment(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setenv("LLAMA_API_KEY", "from-environment")
    (tmp_path / "key").write_text("from-file", encoding="utf-8")
    assert commands.main(["up", "--detach", "--api-key-file", str(tmp_path / "key")]) == 0
    assert runs.requests[0].variables["llama_server_api_key"] == "from-file"


def test_a_file_of_several_secrets_holds_one_a_line(runs: Runs, tmp_path: pathlib.Path) -> None:
    (tmp_path / "keys").write_text("one\n\n  two \n", encoding="utf-8")
    assert commands.main(["up", "--detach", "--api-keys-file", str(tmp_path / "keys")]) == 0
    assert runs.requests[0].variables["llama_server_api_keys"] == ["one", "two"]


def test_a_prefix_moves_the_roots_and_needs_no_root(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(privileges, "needs_become", lambda _command: pytest.fail("asked for root"))
    monkeypatch.chdir(tmp_path)
    assert commands.main(["up", "--detach", "--prefix", "box", "--llama-cpp-root", "tools"]) == 0
    variables = runs.requests[0].variables
    assert variables["llama_server_runtime"] == "process"
    assert variables["gguf_model_root"] == f"{tmp_path}/box/var/lib/llama-fleet"
    assert variables["llama_cpp_root"] == f"{tmp_path}/tools"


@pytest.mark.parametrize("prefix", ["", __file__])
def test_a_prefix_is_a_folder(runs: Runs, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["up", "--detach", "--prefix", prefix]) == 2
    assert "'--prefix'" in capsys.readouterr().err
    assert not runs.requests


def test_a_prefix_may_be_below_the_home(runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert commands.main(["up", "--detach", "--prefix", "~/box"]) == 0
    assert runs.requests[0].variables["llama_server_root"] == f"{tmp_path}/box/etc/llama-fleet"


def test_an_empty_path_stays_empty(runs: Runs) -> None:
    assert commands.main(["up", "--detach", "--cuda-toolkit-path", ""]) == 0
    assert runs.requests[0].variables["cuda_toolkit_path"] == ""


def test_a_fleet_keeps_its_inventorys_variables(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "mine")
    monkeypatch.setattr(privileges, "needs_become", lambda _command: pytest.fail("asked for root"))
    assert commands.main(["up", "--inventory", str(tmp_path), "--check", "--diff", "-vv"]) == 0
    assert runs.requests == [runner.Request("site", {}, (tmp_path,), become=False, check=True, diff=True, verbosity=2)]


def test_a_fleet_is_changed_in_batches(runs: Runs, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs.failures, runs.untouched = [Failure("h1", "no")], ["h2", "h3"]
    assert commands.main(["up", "-i", str(tmp_path), "--serial", "1, 25%,100%", "--max-fail-percentage", "0"]) == 1
    assert runs.requests[0].variables == {
        "llama_fleet_serial": ["1", "25%", "100%"],
        "llama_fleet_max_fail_percentage": 0,
    }
    assert capsys.readouterr().out.endswith("\nNot touched, because a batch before them failed: h2, h3\n")


def test_a_fleets_servers_are_not_followed_and_their_paths_are_their_own(runs: Runs, tmp_path: pathlib.Path) -> None:
    assert commands.main(["up", "./m.gguf", "-i", str(tmp_path), "--llama-cpp-root", "tools"]) == 0
    assert runs.requests[0].variables == {"gguf_model_source": "./m.gguf", "llama_cpp_root": "tools"}


def test_root_is_had_for_the_run_and_for_stopping(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def needs_become(command: str) -> bool:
        asked.append(command)
        return True

    monkeypatch.setattr(privileges, "needs_become", needs_become)
    monkeypatch.setattr(foreground, "follow", lambda _pid, _log, _instance, stop: stop())
    assert commands.main(["up"]) == 0
    assert asked == ["up", "down"]
    assert [request.become for request in runs.requests] == [True, True]


def test_a_process_is_followed_and_stopped_where_it_was_started(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    followed = []

    def follow(pid: int, log: pathlib.Path, instance: pathlib.Path, stop: Callable[[], int]) -> int:
        followed.append((pid, log, instance))
        return stop()

    monkeypatch.setattr(foreground, "follow", follow)
    assert commands.main(["up", "--prefix", str(tmp_path), "--instance", "small", "--port", "9000"]) == 0
    assert followed == [(7, pathlib.Path("/log"), pathlib.Path(FOLDER))]
    down = runs.requests[1]
    assert down.playbook == "down"
    assert down.variables == {
        "llama_server_instance": "small",
        "llama_server_runtime": "process",
        "llama_server_root": f"{tmp_path}/etc/llama-fleet",
        "llama_server_runtime_root": f"{tmp_path}/run/llama-fleet",
    }


@pytest.mark.parametrize("arguments", [["--detach"], ["--check"]])
def test_up_returns_where_it_is_told_to(runs: Runs, arguments: list[str]) -> None:
    assert commands.main(["up", *arguments]) == 0
    assert len(runs.requests) == 1


def test_a_unit_is_not_followed(runs: Runs) -> None:
    runs.result.update(runtime="systemd", log="journalctl -u llama-fleet-default.service")
    assert commands.main(["up"]) == 0


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("./m.gguf", "{cwd}/m.gguf"),
        ("../m", "{cwd}/../m"),
        ("~/m", "{cwd}/m"),
        ("owner/repo", "owner/repo"),
        ("/m", "/m"),
    ],
)
def test_a_file_beside_the_user_is_named_whole(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, source: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert commands.main(["up", source, "--detach"]) == 0
    assert runs.requests[0].variables["gguf_model_source"] == expected.format(cwd=tmp_path)


@pytest.mark.parametrize("word", ["version", "--version"])
def test_version_names_what_runs(capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert commands.main([word]) == 0
    versions = f"ansible-core {importlib.metadata.version('ansible-core')}, Python {platform.python_version()}"
    assert capsys.readouterr().out == f"llama-fleet 0.1.0, {versions}\n"
