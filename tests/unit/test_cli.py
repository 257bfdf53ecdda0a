# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The command line: options out of the specs, usage errors, and what a handler hands to the runner."""

import pathlib
import subprocess
from collections.abc import Callable

import click
import pytest

from llama_fleet import access, cli, foreground, options, runner, settings
from llama_fleet.errors import UsageError
from llama_fleet.events import Listener, Outcome

CATALOGUE = settings.load()
RESULT = {"answer": "Blue.", "endpoint": "http://127.0.0.1:9", "runtime": "process", "pid": 7, "log": "/log"}


class Runs:
    """Stands in for the play."""

    def __init__(self, result: dict[str, object]) -> None:
        self.result = result
        self.requests: list[runner.Request] = []

    def __call__(self, request: runner.Request, _listener: Listener) -> Outcome:
        self.requests.append(request)
        return Outcome(calls=7, seconds=5.1, results={"localhost": {"llama_server": self.result}})


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    runs = Runs(dict(RESULT))
    monkeypatch.setattr(runner, "run", runs)
    monkeypatch.setattr(foreground, "follow", lambda *_arguments: pytest.fail("followed"))
    monkeypatch.setattr(access, "needs_become", lambda _command: False)
    for name in ("HF_TOKEN", "LLAMA_API_KEY", "GGUF_MODEL_TOKEN", "LLAMA_SERVER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return runs


def names(command: str) -> list[str]:
    group = cli.commands(CATALOGUE)
    return [name for parameter in group.commands[command].params if isinstance(parameter, click.Option) for name in parameter.opts]


def test_no_two_options_share_a_name() -> None:
    assert len(names("up")) == len(set(names("up")))


def test_every_variable_for_users_has_an_option() -> None:
    group = cli.commands(CATALOGUE)
    assert {variable.name for variable in CATALOGUE.for_users} <= {parameter.name for parameter in group.commands["up"].params}


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("llama_server_ctx_size", "ctx-size"),
        ("gguf_model_quant", "quant"),
        ("llama_cpp_source", "llama-cpp-source"),
        ("nvidia_driver_gpu", "nvidia-driver-gpu"),
        ("llama_server_root", "llama-server-root"),
        ("gguf_model_index_url", "gguf-model-index-url"),
        ("gguf_model_token", "token-file"),
        ("llama_server_api_key", "api-key-file"),
    ],
)
def test_the_rule_of_names(variable: str, name: str) -> None:
    assert options.option_name(CATALOGUE.variables[variable], CATALOGUE) == name


@pytest.mark.parametrize("secret", [variable for variable in CATALOGUE.variables.values() if variable.secret])
def test_no_secret_is_an_argument(secret: settings.Variable) -> None:
    assert f"--{secret.short_name.replace('_', '-')}" not in names("up")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--ctx-sise", "1"], "No such option '--ctx-sise'. (Did you mean one of: '--batch-size', '--ctx-size', '--ubatch-size'?)"),
        (["--ctx-size", "4k"], "Invalid value for '--ctx-size': '4k' is not a valid integer."),
        (["--runtime", "docker"], "Invalid value for '--runtime': 'docker' is not one of 'auto', 'systemd', 'process', 'exec'."),
        (["--extra-options", "mlock"], "Invalid value for '--extra-options': found 'mlock', wanted NAME=VALUE."),
        (["--inventory", "/nowhere"], "Path '/nowhere' does not exist."),
        (["one", "two"], "Got unexpected extra argument (two)"),
    ],
)
def test_wrong_usage_is_a_sentence_and_runs_nothing(arguments: list[str], sentence: str, runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["up", "--detach", *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert runs.requests == []


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
    assert cli.main([*arguments, "--no-llama-cpp-install-packages", "--prompt", ""]) == 0
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
    assert cli.main(["up", "--detach"]) == 0
    assert runs.requests[0].variables == {"llama_server_prompt": cli.PROMPT}
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
    assert cli.main(["up", "--detach", "--api-key-file", str(file)]) == 0
    assert runs.requests[0].variables["gguf_model_token"] == "from-environment"
    assert runs.requests[0].variables["llama_server_api_key"] == "from-file"
    output = capsys.readouterr().out
    assert '-H "Authorization: Bearer $LLAMA_API_KEY"' in output
    assert "from-file" not in output


def test_an_empty_secret_file_is_refused(runs: Runs, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "key"
    file.write_text("\n", encoding="utf-8")
    assert cli.main(["up", "--detach", "--api-key-file", str(file)]) == 2
    assert runs.requests == []


def test_a_prefix_moves_the_roots_and_needs_no_root(runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setattr(access, "needs_become", lambda _command: pytest.fail("asked for root"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["up", "--detach", "--prefix", "box", "--llama-cpp-root", "tools"]) == 0
    variables = runs.requests[0].variables
    assert variables["llama_server_runtime"] == "process"
    assert variables["gguf_model_root"] == f"{tmp_path}/box/var/lib/llama-fleet"
    assert variables["llama_cpp_root"] == f"{tmp_path}/tools"


def test_a_fleet_keeps_its_inventorys_variables(runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("HF_TOKEN", "mine")
    assert cli.main(["up", "--inventory", str(tmp_path), "--check", "--diff", "-vv"]) == 0
    assert runs.requests == [runner.Request("site", {}, (tmp_path,), become=False, check=True, diff=True, verbosity=2)]


def test_a_process_is_followed_and_stopped_where_it_was_started(runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    followed = []

    def follow(pid: int, log: pathlib.Path, stop: Callable[[], int]) -> int:
        followed.append((pid, log))
        return stop()

    monkeypatch.setattr(foreground, "follow", follow)
    assert cli.main(["up", "--prefix", str(tmp_path), "--instance", "small", "--port", "9000"]) == 0
    assert followed == [(7, pathlib.Path("/log"))]
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
    assert cli.main(["up", *arguments]) == 0
    assert len(runs.requests) == 1


def test_a_unit_is_not_followed(runs: Runs) -> None:
    runs.result["runtime"] = "systemd"
    assert cli.main(["up"]) == 0


def test_without_root_and_sudo_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda _name: None)
    monkeypatch.setattr(runner, "run", lambda *_arguments: pytest.fail("ran"))
    assert cli.main(["up"]) == 2
    error = capsys.readouterr().err
    assert "sudo ./llama-fleet up" in error
    assert "--prefix DIR" in error


@pytest.mark.parametrize(("status", "expected"), [(0, True), (1, False)])
def test_sudo_is_used_where_it_asks_for_nothing(monkeypatch: pytest.MonkeyPatch, status: int, expected: bool) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("subprocess.run", lambda command, **_options: subprocess.CompletedProcess(command, status))
    if expected:
        assert access.needs_become("up")
    else:
        with pytest.raises(UsageError, match="needs root"):
            access.needs_become("up")


@pytest.mark.parametrize(("source", "expected"), [("./m.gguf", "{cwd}/m.gguf"), ("owner/repo", "owner/repo"), ("/m.gguf", "/m.gguf")])
def test_a_file_beside_the_user_is_named_whole(runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, source: str, expected: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["up", source, "--detach"]) == 0
    assert runs.requests[0].variables["gguf_model_source"] == expected.format(cwd=tmp_path)


def test_help_groups_options_by_role(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["up", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    sections = [line for line in lines if line.startswith(("Role", "Options"))]
    assert sections == ["Options:", *(f"Role {role}:" for role in CATALOGUE.roles)]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    assert "_LLAMA_FLEET_COMPLETE" in capsys.readouterr().out


def test_version_names_what_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version"]) == 0
    assert capsys.readouterr().out.startswith("llama-fleet 0.1.0, ansible-core 2.")
