# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The container's start, up to the exec."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import typing
from collections.abc import Iterator

import pytest

from llama_fleet import entrypoint, runner, settings
from llama_fleet.errors import UsageError
from llama_fleet.events import Failure, Outcome

CATALOGUE = settings.load()


class ExecutedError(Exception):
    """Stands in for the end of this process."""


def test_a_container_lives_in_its_volumes() -> None:
    values = entrypoint.variables({"MODEL": "a/b:Q8_0", "PORT": "9000"}, CATALOGUE)
    assert values.pop("gguf_model_root") == "/models"
    roots = {name: value for name, value in values.items() if name.endswith("_root")}
    assert len(roots) == 4
    assert all(str(value).startswith("/var/lib/llama-fleet/") for value in roots.values())
    assert {name: value for name, value in values.items() if name not in roots} == {
        "gguf_model_source": "a/b:Q8_0",
        "llama_server_host": "0.0.0.0",
        "llama_server_allow_unauthenticated": True,
        "llama_server_port": 9000,
        "llama_server_runtime": "exec",
    }


def test_what_is_given_wins_except_for_the_runtime() -> None:
    values = entrypoint.variables({"MODEL": "a/b", "LLAMA_SERVER_HOST": "::1", "GGUF_MODEL_ROOT": "/m", "LLAMA_SERVER_RUNTIME": "systemd"}, CATALOGUE)
    assert (values["llama_server_host"], values["gguf_model_root"], values["llama_server_runtime"]) == ("::1", "/m", "exec")


@pytest.mark.parametrize("environment", [{}, {"MODEL": ""}])
def test_without_a_model_it_is_wrong_usage(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"^MODEL: found nothing") as caught:
        entrypoint.variables(environment, CATALOGUE)
    assert caught.value.exit_code == 2


def test_the_user_wins_over_the_generation_and_secrets_stay_out() -> None:
    environment = {
        "PATH": "/bin",
        "LLAMA_ARG_BATCH": "64",
        "HF_TOKEN": "t",
        "LLAMA_API_KEY": "k",
        "GGUF_MODEL_TOKEN": "t",
        "CTX_SIZE": "1",
        "XDG_CONFIG_HOME": "/me",
    }
    generation = {"XDG_CONFIG_HOME": "/nonexistent", "LLAMA_ARG_BATCH": "2048", "LLAMA_ARG_PORT": "8080"}
    assert entrypoint.server_environment(environment, generation, CATALOGUE) == {
        "PATH": "/bin",
        "CTX_SIZE": "1",
        "XDG_CONFIG_HOME": "/nonexistent",
        "LLAMA_ARG_BATCH": "64",
        "LLAMA_ARG_PORT": "8080",
    }


def outcome(tmp_path: pathlib.Path, *failures: Failure) -> Outcome:
    (tmp_path / "manifest.json").write_text('{"environment": {"LLAMA_ARG_PORT": "8080"}}', encoding="utf-8")
    result = {"command": ["/r/bin/llama-server", "--no-webui"], "environment_file": str(tmp_path / "environment")}
    return Outcome(failures=list(failures), results={"localhost": {"llama_server": result}})


@pytest.fixture
def handlers() -> Iterator[None]:
    """What the entrypoint does to the signals of its process, undone."""
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_llama_server_takes_the_place_of_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    executed: list[typing.Any] = []
    for _ in range(2):  # dead children that nobody has waited for
        os.waitid(os.P_PID, os.posix_spawn("/bin/true", ["true"], {}), os.WEXITED | os.WNOWAIT)

    def execve(path: str, arguments: list[str], environment: dict[str, str]) -> typing.NoReturn:
        executed.append((path, arguments, environment["LLAMA_ARG_PORT"]))
        with contextlib.suppress(ChildProcessError):  # none at all, or such as live
            assert os.waitpid(-1, os.WNOHANG) == (0, 0)
        raise ExecutedError

    monkeypatch.setenv("MODEL", "a/b")
    monkeypatch.setattr(runner, "run", lambda _request, _listener: outcome(tmp_path))
    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setattr(sys, "argv", ["entrypoint", "--verbose"])
    with pytest.raises(ExecutedError):
        entrypoint.main()
    assert executed == [("/r/bin/llama-server", ["/r/bin/llama-server", "--no-webui", "--verbose"], "8080")]
    assert capsys.readouterr().err == "changed=0 in 0.0 s, 0 module calls\n"


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_start(monkeypatch: pytest.MonkeyPatch, number: int, status: int) -> None:
    monkeypatch.setenv("MODEL", "a/b")
    monkeypatch.setattr(runner, "run", lambda _request, _listener: os.kill(os.getpid(), number))
    # Where it is not caught, it must not end the tests.
    signal.signal(number, lambda *_arguments: None)
    with pytest.raises(SystemExit) as caught:
        entrypoint.main([])
    assert caught.value.code == status


@pytest.mark.usefixtures("handlers")
def test_a_failed_run_starts_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("MODEL", "a/b")
    monkeypatch.setattr(runner, "run", lambda _request, _listener: outcome(tmp_path, Failure("localhost", "no disk space")))
    monkeypatch.setattr(os, "execve", lambda *_arguments: pytest.fail("executed"))
    assert entrypoint.main([]) == 1


def start(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llama_fleet.entrypoint"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(pathlib.Path(entrypoint.__file__).parents[1]), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_mistyped_environment_is_told_whole_before_anything_runs() -> None:
    result = start(MODEL="a/b", PORT="http", LLAMA_SERVER_PORTS="1")
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "Error: PORT: found 'http', wanted a whole number.",
        "LLAMA_SERVER_PORTS: found a name that no role has, wanted a role's variable in capitals; did you mean LLAMA_SERVER_PORT or LLAMA_SERVER_SLOTS.",
    ]
    assert result.stdout == ""
