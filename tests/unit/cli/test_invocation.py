# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The options that are no role variables, and the values that they become."""

import pathlib

import click
import pytest

from llama_fleet import settings
from llama_fleet.cli.invocation import BEGINNINGS, SERIAL, Invocation, batch_options, own_options
from llama_fleet.run import events, runner

CATALOGUE = settings.load()
HERE = Invocation(CATALOGUE, "up", None, (), 0)
FLEET = Invocation(CATALOGUE, "up", None, (pathlib.Path("/hosts"),), 0)


def test_a_prefix_moves_every_root_and_needs_no_unit() -> None:
    below = Invocation(CATALOGUE, "up", pathlib.Path("/x"), (), 0).base()
    assert below.pop("llama_server_runtime") == "process"
    assert len(below) >= 5
    assert {str(value).partition("/x/")[0] for value in below.values()} == {""}
    assert HERE.base() == {}
    roots = Invocation(CATALOGUE, "down", pathlib.Path("/x"), (), 0).part("llama_server_root", "llama_server_port")
    assert roots == {"llama_server_root": "/x/etc/llama-fleet"}


def test_paths_of_this_machine_are_whole_and_those_of_a_fleet_stay() -> None:
    given = {"gguf_model_source": "./m.gguf", "llama_server_port": None, "llama_server_extra_options": (("a", "1"),)}
    assert HERE.variables(given) == {
        "gguf_model_source": str(pathlib.Path.cwd() / "m.gguf"),
        "llama_server_extra_options": {"a": "1"},
    }
    assert FLEET.variables(given)["gguf_model_source"] == "./m.gguf"
    assert HERE.variables({"gguf_model_source": "owner/repo"}) == {"gguf_model_source": "owner/repo"}


def parse(*words: str) -> object:
    command = click.Command("x", params=[*batch_options(), *own_options("prefix")], callback=lambda **given: given)
    return command.main(list(words), standalone_mode=False)


def test_batches_are_numbers_and_shares_of_hosts() -> None:
    given = parse("--serial", "1, 25%,100%", "--prefix", "x")
    assert isinstance(given, dict)
    assert (given[SERIAL], given["prefix"]) == (["1", "25%", "100%"], pathlib.Path.cwd() / "x")


@pytest.mark.parametrize("words", [("--serial", "0"), ("--serial", "101%"), ("--serial", "1,"), ("--prefix", "")])
def test_a_batch_of_no_host_and_an_empty_prefix_are_refused(words: tuple[str, str]) -> None:
    with pytest.raises(click.BadParameter):
        parse(*words)


@pytest.mark.parametrize("playbook", BEGINNINGS)
def test_the_first_line_comes_before_ansible(
    playbook: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []

    def run(_request: runner.Request, _listener: events.Listener) -> events.Outcome:
        shown.append(capsys.readouterr().err)
        return events.Outcome()

    monkeypatch.setattr(runner, "run", run)
    FLEET.run(playbook, {})
    assert shown == [f"{BEGINNINGS[playbook]}\n"]
