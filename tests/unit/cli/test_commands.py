# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The command line: usage errors, and what the command makes of the outcome of a run."""

import importlib.metadata
import os
import pathlib
import platform
import signal
import subprocess
import sys

import pytest

from llama_fleet import settings
from llama_fleet.cli import commands
from llama_fleet.errors import RunInterruptedError
from llama_fleet.run import runner
from llama_fleet.run.events import Failure, Outcome
from tests.unit import imports
from tests.unit.cli.fake_runs import Runs

CATALOGUE = settings.load()


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


@pytest.mark.parametrize("word", ["version", "--version"])
def test_version_names_what_runs(capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert commands.main([word]) == 0
    versions = f"ansible-core {importlib.metadata.version('ansible-core')}, Python {platform.python_version()}"
    assert capsys.readouterr().out == f"llama-fleet 0.1.0, {versions}\n"
