# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The command up: what it hands to the runner, what it prints, and how it follows a server."""

import pathlib
from collections.abc import Callable

import pytest

from llama_fleet.cli import commands, foreground, privileges
from llama_fleet.run import runner
from llama_fleet.run.events import Failure
from tests.unit.cli.fake_runs import FOLDER, Runs


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


def test_up_prints_the_endpoint_and_a_line_to_paste(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["up", "--detach"]) == 0
    assert runs.requests[0].variables == {"llama_server_prompt": ""}
    output = capsys.readouterr().out
    assert "changed=0 in 5.1 s, 7 module calls\n" in output
    assert "\nhttp://127.0.0.1:9\n" in output
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
