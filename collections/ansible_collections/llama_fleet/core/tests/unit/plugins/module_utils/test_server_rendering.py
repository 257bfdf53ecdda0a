# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils import (
    generations,
    server_checks,
    server_flags,
    server_options,
    server_unit,
    systemd_text,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.server_options import Options

FIXTURES = pathlib.Path(__file__).parent / "fixtures" / "llama_server"
FLAGS = server_flags.parse_help((FIXTURES / "help.txt").read_text(encoding="utf-8"))
WANTED = Options(
    instance="default",
    state="started",
    runtime="systemd",
    release="/opt/llama-fleet/releases/b11434-0123456789ab",
    model="/var/lib/llama-fleet/models/ggml-org/tiny/0a1b2c/tiny-Q4_K_M.gguf",
    backend="cpu",
    host="127.0.0.1",
    port=8080,
    ctx_size=4096,
    parallel=16,
    max_tokens=2048,
    batch_size=2048,
    ubatch_size=512,
    threads=0,
    n_gpu_layers="auto",
    devices=(),
    alias="",
    extra_options={},
    prompt="",
    ready_timeout=600,
    root=pathlib.Path("/etc/llama-fleet"),
    runtime_root=pathlib.Path("/run/llama-fleet"),
)
CUDA = dataclasses.replace(
    WANTED,
    instance="big",
    backend="cuda",
    host="0.0.0.0",
    port=443,
    n_gpu_layers="all",
    alias="50 % of $HOME",
    api_key="s3cret",
    extra_options={"flash-attn": True, "metrics": True, "cors-origins": "https://a.example https://b.example"},
)


def command_of(options: Options) -> list[str]:
    words = [str(options.server), *server_flags.arguments(options.extra_options, FLAGS)]
    return words + (["--api-key-file", str(options.key_file)] if options.api_key else [])


def content_of(options: Options, devices: typing.Sequence[str] = (), **changes: typing.Any) -> generations.Content:
    variables, words = server_options.split(server_options.settings(options, 4, devices), FLAGS)
    assert words == []
    content = generations.Content(
        runtime="systemd",
        release=options.release,
        release_fingerprint="f" * 64,
        model=options.model,
        model_size=1,
        options={"port": options.port},
        variables=variables,
        command=tuple(command_of(options)),
        unit=server_unit.render(options, command_of(options)),
        api_key=options.api_key,
    )
    return dataclasses.replace(content, **changes)


@pytest.mark.parametrize(("name", "options", "devices"), [("cpu", WANTED, []), ("cuda", CUDA, ["CUDA0", "CUDA1"])])
def test_the_rendered_files_are_the_golden_ones(name: str, options: Options, devices: list[str]) -> None:
    """To renew them, run with LLAMA_FLEET_RENEW_GOLDEN=1 and read the difference."""
    content = content_of(options, devices)
    environment = systemd_text.environment_file(generations.variables_of(content, options.folder, 3))
    for kind, text in (("environment", environment), ("service", content.unit)):
        path = FIXTURES / f"{name}.{kind}"
        if os.environ.get("LLAMA_FLEET_RENEW_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")
        assert "s3cret" not in text


def test_a_setting_without_a_variable_in_this_release_is_a_flag() -> None:
    old = server_flags.Flags({"--port": server_flags.Flag(("--port",), "N", "LLAMA_ARG_PORT"), "--device": server_flags.Flag(("--device",), "DEVICES")})
    settings = [setting for setting in server_options.settings(WANTED, 4, []) if setting.flag in ("port", "device")]
    assert server_options.split(settings, old) == ({"LLAMA_ARG_PORT": "8080", "XDG_CONFIG_HOME": "/nonexistent"}, ["--device", "none"])


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({}, []),
        ({"port": 0}, ["llama_server_port: found 0, wanted a number from 1 to 65535."]),
        ({"port": 65536}, ["llama_server_port: found 65536, wanted a number from 1 to 65535."]),
        ({"ubatch_size": 4096}, ["llama_server_ubatch_size: found 4096, wanted at most llama_server_batch_size, which is 2048."]),
        ({"ctx_size": 0, "parallel": 0}, ["llama_server_ctx_size: found 0", "llama_server_parallel: found 0"]),
        ({"ctx_size": 2**30}, ["llama_server_ctx_size: found 1073741824 for each of 16 slots, wanted at most 2147483647 tokens in all."]),
        ({"max_tokens": 0}, ["llama_server_max_tokens: found 0, wanted a number of tokens, or -1 for no limit."]),
        ({"max_tokens": -1}, []),
        ({"instance": "Bad_Name"}, ["llama_server_instance: found 'Bad_Name'"]),
        ({"n_gpu_layers": "most"}, ["llama_server_n_gpu_layers: found 'most', wanted a number of layers, auto or all."]),
        ({"backend": "cuda", "devices": ("Vulkan0",)}, ["llama_server_devices: found Vulkan0"]),
        ({"host": "a b"}, ["llama_server_host: found 'a b'"]),
        ({"host": "::1"}, []),
        ({"host": "/run/llama.sock"}, ["llama_server_host"]),
        ({"alias": "a\nb"}, ["llama_server_alias: found a newline"]),
        ({"api_key": "#x"}, ["llama_server_api_key"]),
        ({"model": "models/a.gguf"}, ["llama_server_model: found models/a.gguf, wanted an absolute path."]),
        ({"release": "/opt/$x"}, ["llama_server_release: found '/opt/$x'"]),
        ({"port": 0, "alias": "\n", "threads": -1}, ["llama_server_port", "llama_server_threads", "llama_server_alias"]),
    ],
)
def test_every_problem_of_the_options_is_told(changes: dict[str, typing.Any], sentences: list[str]) -> None:
    found = server_options.problems(dataclasses.replace(WANTED, **changes))
    assert len(found) == len(sentences)
    assert all(sentence in str(problem) for sentence, problem in zip(sentences, found))


def test_the_key_is_not_even_in_the_repr() -> None:
    assert "s3cret" not in repr(CUDA) + repr(content_of(CUDA))


def test_cuda_devices_are_read_from_the_servers_own_list() -> None:
    listing = "Available devices:\n  CUDA0: NVIDIA H200 (143771 MiB, 143000 MiB free)\n  CUDA1: NVIDIA H200 (1 MiB, 1 MiB free)\n  Vulkan0: x (1)\n"
    assert server_options.cuda_devices(listing) == ["CUDA0", "CUDA1"]


# -- the unit's user ---------------------------------------------------------------------------------


def test_what_a_unit_cannot_read_is_a_problem_with_its_cure(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_unit, "HIDDEN", ("/home",))
    below = property(lambda self: [parent for parent in pure_parents(self) if tmp_path in (parent, *pure_parents(parent))])
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


def test_a_split_model_needs_all_of_its_files(tmp_path: pathlib.Path) -> None:
    names = [f"m-{number:05}-of-00003.gguf" for number in (1, 2, 3)]
    for name in names:
        (tmp_path / name).write_bytes(b"GGUF....")

    def told(name: str, may_be_missing: bool = False) -> list[str]:
        return [str(problem) for problem in server_checks.model_problems(dataclasses.replace(WANTED, model=str(tmp_path / name)), may_be_missing)]

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
    assert len(server_checks.release_problems(nothing, may_be_missing) + server_checks.model_problems(nothing, may_be_missing)) == count


def test_a_stray_configuration_is_a_problem(tmp_path: pathlib.Path) -> None:
    assert server_checks.configuration_problems(str(tmp_path)) == []
    (tmp_path / "config.ini").touch()
    assert "config.ini" in str(server_checks.configuration_problems(str(tmp_path))[0])


@pytest.mark.parametrize(
    ("result", "subject"),
    [
        (Result(0, "Available devices:\n", ""), None),
        (Result(1, "", 'error while handling environment variable "LLAMA_ARG_DEVICE": invalid device: CUDA7\n\n'), "llama_server_devices"),
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

    settings = server_options.settings(WANTED, 4, [])
    problem = server_checks.config_test(["/bin/llama-server", "--metrics"], {"LLAMA_ARG_PORT": "1"}, settings, run)
    assert seen == [(["/bin/llama-server", "--metrics", "--list-devices"], {"LLAMA_ARG_PORT": "1"})]
    assert (problem and problem.subject) == subject


# -- generations -------------------------------------------------------------------------------------


def test_a_generation_is_whole_and_keeps_its_secret(tmp_path: pathlib.Path) -> None:
    store = generations.Store(tmp_path / "default")
    assert (store.current(), store.next_number(), store.all()) == (None, 1, [])
    generation = store.write(content_of(CUDA))
    assert store.current() is None, "nothing points at it yet"
    store.switch(generation)
    assert os.readlink(tmp_path / "default" / "current") == "generations/1"
    modes = {path.name: f"{path.stat().st_mode & 0o777:o}" for path in generation.path.iterdir()}
    assert modes == {"environment": "640", "unit": "644", "manifest.json": "640", "api-key": "400"}
    assert (generation.path / "api-key").read_text(encoding="utf-8") == "s3cret\n"
    for name in ("environment", "unit", "manifest.json"):
        assert "s3cret" not in generation.text(name)
    manifest = json.loads(generation.text("manifest.json"))
    assert manifest["environment"]["LLAMA_FLEET_GENERATION"] == "1"
    assert len(manifest["api_key_sha256"]) == 64


@pytest.mark.parametrize(
    "changes",
    [{"model_size": 2}, {"release_fingerprint": "0"}, {"api_key": "other"}, {"unit": "x"}, {"runtime": "exec"}, {"command": ("a",)}, {"variables": {}}],
)
def test_every_part_of_the_content_counts(changes: dict[str, typing.Any]) -> None:
    assert content_of(WANTED).fingerprint == content_of(WANTED).fingerprint
    assert content_of(WANTED, **changes).fingerprint != content_of(WANTED).fingerprint


def test_old_generations_go_and_the_good_ones_stay(tmp_path: pathlib.Path) -> None:
    store = generations.Store(tmp_path / "default")
    for number in range(1, 13):
        generation = store.write(content_of(WANTED, model_size=number))
        if number <= 8:
            store.switch(store.mark_good(generation))
    store.prune()
    assert [found.number for found in store.all()] == [4, 5, 6, 7, 8, 12]
    assert store.next_number() == 13
    good = store.last_good(8)
    assert good is not None
    assert good.number == 7


def test_leftovers_of_a_killed_run_are_no_generations(tmp_path: pathlib.Path) -> None:
    store = generations.Store(tmp_path / "default")
    folder = tmp_path / "default" / "generations"
    (folder / ".1.new").mkdir(parents=True)
    (folder / ".1.new" / "environment").touch()
    (folder / "1").mkdir()
    assert store.all() == []
    assert store.write(content_of(WANTED)).number == 1
    assert os.listdir(folder) == ["1"]
