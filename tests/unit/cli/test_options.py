# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The options of the command line, out of the roles' variables, and their completion."""

import os
import pathlib
import subprocess
import sys

import click
import pytest

from llama_fleet import settings
from llama_fleet.cli import commands, options
from tests.unit import imports

CATALOGUE = settings.load()


def names(command: str) -> list[str]:
    group = commands.commands(CATALOGUE)
    return [
        name
        for parameter in group.commands[command].params
        if isinstance(parameter, click.Option)
        for name in parameter.opts
    ]


def test_the_method_has_a_second_name() -> None:
    names = {option.name: option.opts for option in options.make(CATALOGUE)}
    assert names["llama_cpp_method"] == ["--llama-cpp-method", "--method"]


def test_no_two_options_share_a_name() -> None:
    assert len(names("up")) == len(set(names("up")))


def test_every_variable_for_users_has_an_option_and_no_other_has() -> None:
    group = commands.commands(CATALOGUE)
    of_roles = {
        parameter.name for parameter in group.commands["up"].params if isinstance(parameter, options.StageOption)
    }
    assert {*of_roles, "gguf_model_source"} == {variable.name for variable in CATALOGUE.for_users}


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


def test_what_the_plays_set_takes_no_name_from_users() -> None:
    port = settings.Variable("llama_server_port", "llama_server")
    wired = settings.Variable("gguf_model_port", "gguf_model", wired=True)
    assert options.option_name(port, settings.Catalogue({port.name: port, wired.name: wired}, {})) == "port"


@pytest.mark.parametrize("secret", [variable for variable in CATALOGUE.variables.values() if variable.secret])
def test_no_secret_is_an_argument(secret: settings.Variable) -> None:
    assert f"--{secret.short_name.replace('_', '-')}" not in names("up")


def test_help_groups_options_by_role(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["up", "-h"]) == 0
    lines = capsys.readouterr().out.splitlines()
    sections = [line for line in lines if line.startswith(("Role", "Options"))]
    assert sections == ["Options:", *(f"Role {role}:" for role in CATALOGUE.roles)]


@pytest.mark.parametrize(
    ("variable", "ending"),
    [
        ("llama_server_port", " [default: 8080]"),
        ("llama_cpp_install_packages", " [default: true]"),
        ("gguf_model_quant", CATALOGUE.variables["gguf_model_quant"].description),
        ("llama_server_extra_options", CATALOGUE.variables["llama_server_extra_options"].description),
    ],
)
def test_help_tells_the_default(variable: str, ending: str) -> None:
    assert help_of(variable).endswith(ending)


def test_help_of_a_secret_names_the_environments_variable() -> None:
    assert help_of("gguf_model_token").startswith("File that contains it (or set HF_TOKEN in the environment). ")


def help_of(variable: str) -> str:
    [text] = [option.help for option in options.make(CATALOGUE, [variable]) if isinstance(option, click.Option)]
    return text or ""


@pytest.mark.parametrize(
    ("shell", "line"),
    [("bash", "complete "), ("zsh", "#compdef llama-fleet"), ("fish", "complete --no-files --command llama-fleet ")],
)
def test_completion_scripts(shell: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["completion", shell]) == 0
    assert line in capsys.readouterr().out


def test_bash_completes_by_the_script(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["completion", "bash"]) == 0
    command = tmp_path / "llama-fleet"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m llama_fleet "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    # As bash itself calls what the script has registered for the command's name.
    script = (
        f'{capsys.readouterr().out}\nfunction=$(complete -p llama-fleet | sed "s/.* -F //; s/ .*//")\n'
        f'COMP_WORDS=(llama-fleet up --ctx) COMP_CWORD=2; $function {command}; echo "${{COMPREPLY[@]}}"'
    )
    environment = {**os.environ, "PYTHONPATH": imports.PYTHONPATH}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("--ctx-size\n", "")
