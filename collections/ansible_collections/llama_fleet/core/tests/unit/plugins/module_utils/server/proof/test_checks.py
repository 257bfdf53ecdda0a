# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import os
import pathlib
import subprocess
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands, ports
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import checks as server_checks
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import unit_file as server_unit
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import options as server_options
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import table as server_settings
from ansible_collections.llama_fleet.core.tests.unit.fakes import server as fake_server
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner
from ansible_collections.llama_fleet.core.tests.unit.fakes.server_options import WANTED


def test_cuda_devices_are_read_from_the_servers_own_list() -> None:
    listing = (
        "Available devices:\n  CUDA0: NVIDIA H200 (143771 MiB, 143000 MiB free)\n  CUDA1: NVIDIA H200 (1 MiB, 1 "
        "MiB free)\n  Vulkan0: x (1)\n"
    )
    assert server_options.cuda_devices(listing) == ["CUDA0", "CUDA1"]


# -- its port ----------------------------------------------------------------------------------------


def test_who_listens_is_asked_again_before_it_is_said_to_be_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    ours, theirs = os.getpid(), os.getppid()
    for pid, told in ((ours, 0), (gone.pid, 0), (theirs, 1), (0, 1)):
        found = [ports.Listener("127.0.0.1", WANTED.port, pid)]
        monkeypatch.setattr(ports, "listeners", lambda *_arguments, found=found, **_options: found)
        assert len(server_checks.host_problems(WANTED, [], lambda: [ours])) == told, pid


# -- the unit's user ---------------------------------------------------------------------------------


def test_what_a_unit_cannot_read_is_a_problem_with_its_cure(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_unit, "HIDDEN", ("/home",))
    below = property(
        lambda self: [parent for parent in pure_parents(self) if tmp_path in (parent, *pure_parents(parent))]
    )
    monkeypatch.setattr(pathlib.Path, "parents", below)
    tmp_path.chmod(0o755)
    model = tmp_path / "models" / "a.gguf"
    model.parent.mkdir(mode=0o755)
    model.touch(mode=0o644)
    assert server_unit.unreadable(model, "llama_server_model") is None
    model.chmod(0o640)
    assert f"chmod o+r {model}" in str(server_unit.unreadable(model, "llama_server_model"))
    model.parent.chmod(0o700)
    assert f"where {model.parent} has mode 0700" in str(server_unit.unreadable(model, "llama_server_model"))


def pure_parents(path: pathlib.Path) -> list[pathlib.Path]:
    return [pathlib.Path(parent) for parent in pathlib.PurePosixPath(str(path)).parents]


@pytest.mark.parametrize("path", ["/home/me/a.gguf", "/root/a.gguf", "/tmp/a.gguf", "/var/tmp/x/a.gguf"])
def test_what_a_unit_cannot_see_is_a_problem(path: str) -> None:
    assert "which is below" in str(server_unit.unreadable(pathlib.Path(path), "llama_server_model"))


# -- release and model -------------------------------------------------------------------------------


def test_a_split_model_needs_all_of_its_files_also_in_capitals(tmp_path: pathlib.Path) -> None:
    """Check ``.GGUF``, which llama.cpp accepts as a shard's suffix as well."""
    first = tmp_path / "big-00001-of-00003.GGUF"
    first.write_bytes(b"GGUF")
    (problem,) = server_checks.model_problems(dataclasses.replace(WANTED, model=str(first)), False)
    assert "big-00002-of-00003.GGUF, big-00003-of-00003.GGUF" in problem.found


def test_a_split_model_needs_all_of_its_files(tmp_path: pathlib.Path) -> None:
    names = [f"m-{number:05}-of-00003.gguf" for number in (1, 2, 3)]
    for name in names:
        (tmp_path / name).write_bytes(b"GGUF....")

    def told(name: str, may_be_missing: bool = False) -> list[str]:
        return [
            str(problem)
            for problem in server_checks.model_problems(
                dataclasses.replace(WANTED, model=str(tmp_path / name)), may_be_missing
            )
        ]

    assert told(names[0]) == []
    assert server_checks.model_size(str(tmp_path / names[0])) == 24
    assert "part 2 of 3" in told(names[1])[0]
    (tmp_path / names[2]).write_bytes(b"<htm")
    assert "no GGUF file" in told(names[0])[0]
    (tmp_path / names[2]).unlink()
    assert f"found no file {names[2]} in {tmp_path}" in told(names[0])[0]
    assert "no file absent.gguf" in told("absent.gguf")[0]
    assert told("absent.gguf", may_be_missing=True) == []


@pytest.mark.parametrize(("may_be_missing", "count"), [(True, 0), (False, 2)])
def test_release_and_model_may_be_missing_in_a_plan_only(may_be_missing: bool, count: int) -> None:
    nothing = dataclasses.replace(WANTED, release="", model="")
    assert (
        len(
            server_checks.release_problems(nothing, may_be_missing)
            + server_checks.model_problems(nothing, may_be_missing)
        )
        == count
    )


def test_a_stray_configuration_is_a_problem(tmp_path: pathlib.Path) -> None:
    assert server_checks.configuration_problems(str(tmp_path)) == []
    (tmp_path / "config.ini").touch()
    assert "config.ini" in str(server_checks.configuration_problems(str(tmp_path))[0])


def test_the_help_of_a_release_that_tells_no_options_is_read_as_that_of_its_build(tmp_path: pathlib.Path) -> None:
    server = tmp_path / "bin" / "llama-server"
    server.parent.mkdir()
    server.write_text("#!/bin/sh\necho '--port PORT  port to listen on'\n", encoding="utf-8")
    server.chmod(0o755)
    options = dataclasses.replace(WANTED, release=str(tmp_path))
    (tmp_path / "manifest.json").write_text('{"build": "b7"}', encoding="utf-8")
    flags = server_checks.read_flags(options, commands.run)
    assert flags is not None
    assert (flags.long_names, flags.build) == (["port"], "b7")


@pytest.mark.parametrize(
    ("result", "subject"),
    [
        (Result(0, "Available devices:\n", ""), None),
        (
            Result(1, "", 'error while handling environment variable "LLAMA_ARG_DEVICE": invalid device: CUDA7\n\n'),
            "llama_server_devices",
        ),
        (Result(1, "", "error: invalid argument: --frobnicate\n"), "llama_server_extra_options"),
        (Result(127, "", "libggml.so: cannot open shared object file"), "llama_server_release"),
        (Result(-4, "", ""), "llama_server_release"),
    ],
)
def test_what_the_server_itself_refuses_is_laid_at_the_right_door(result: Result, subject: str | None) -> None:
    seen: list[typing.Any] = []

    def run(
        command: typing.Sequence[str],
        env: typing.Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        on_line: typing.Callable[[str], None] | None = None,
    ) -> Result:
        del cwd, timeout, on_line
        seen.append((list(command), env))
        return result

    settings = server_settings.settings(WANTED, 4, [])
    problem = server_checks.config_test(["/bin/llama-server", "--metrics"], {"LLAMA_ARG_PORT": "1"}, settings, run)
    assert seen == [(["/bin/llama-server", "--metrics", "--list-devices"], {"LLAMA_ARG_PORT": "1"})]
    assert (problem and problem.subject) == subject


@pytest.mark.parametrize("question", ["its configuration test", "the question for its devices"])
def test_one_that_hangs_in_its_driver_is_given_up_and_no_option_is_blamed(
    question: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_checks, "TEST_LIMIT", 0.5)
    release = fake_server.release(tmp_path, hangs_in_its_test=True)
    options = dataclasses.replace(WANTED, release=release, backend="cuda", devices=())
    if question == "its configuration test":
        problem = server_checks.config_test(
            [f"{release}/bin/llama-server"], {}, server_settings.settings(WANTED, 4, []), commands.run
        )
    else:
        (problem,) = server_checks.devices(options, commands.run)[1]
    assert problem is not None
    assert (problem.subject, problem.found) == (
        "llama-server",
        f"no answer to {question} within 0.5 s, which is no fault of the options",
    )
    assert "see whether nvidia-smi answers" in problem.fix


def test_every_question_of_a_release_has_a_time_limit(tmp_path: pathlib.Path) -> None:
    options = dataclasses.replace(WANTED, release=fake_server.release(tmp_path), backend="cuda", devices=())
    run = FakeRunner()
    server_checks.config_test(["llama-server"], {}, [], run)
    server_checks.devices(options, run)
    (tmp_path / "good" / "manifest.json").unlink()
    server_checks.read_flags(options, run)
    assert [settings["timeout"] for settings in run.settings] == [120.0, 120.0, 60]
