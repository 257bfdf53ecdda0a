# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The command status: what is asked of the hosts, what is shown, and the exit status."""

import json
import pathlib

import pytest

from llama_fleet.cli import commands, privileges
from llama_fleet.run import runner
from llama_fleet.run.events import Failure
from tests.unit.cli.fake_hosts import Facts, Hosts, facts


def test_the_table_of_a_fleet(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    missing = {
        "memory_mib": 0,
        "gpu_memory_mib": 0,
        "slots": -1,
        "slots_busy": -1,
        "tokens_predicted": -1,
        "tokens_per_second": -1.0,
        "uptime_seconds": 0,
    }
    small = facts(instance="embed", state="stopped", generation=12, device="cpu", **missing)
    hosts.instances = {"h2": [facts(slots=-1, slots_busy=2)], "h1": [facts(), small]}
    assert commands.main(["status"]) == 0, "one that was stopped is as wanted"
    output = capsys.readouterr()
    assert [line.rstrip() for line in output.out.splitlines()] == [
        (
            "HOST  INSTANCE  STATE    GENERATION  BUILD  MODEL          QUANT   DEVICE   MEMORY      GPU  SLOTS     "
            "TOKENS  TOKENS/S   UPTIME"
        ),
        (
            "h1    chat      running           4  b2     m-Q4_K_M.gguf  Q4_K_M  CUDA0   1.5 GiB  512 MiB    1/4  "
            "1,234,567      41.3  1 d 1 h"
        ),
        "h1    embed     stopped          12  b2     m-Q4_K_M.gguf  Q4_K_M  cpu",
        (
            "h2    chat      running           4  b2     m-Q4_K_M.gguf  Q4_K_M  CUDA0   1.5 GiB  512 MiB      2  "
            "1,234,567      41.3  1 d 1 h"
        ),
    ]
    assert output.err == "Warning: low space\n"


def test_what_is_not_as_it_should_be_stands_below_the_table(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    hosts.instances = {
        "h1": [facts(drift=["the process runs generation 3, not 4 [x]"], unknown=["/slots answered 501"])],
        "h2": [],
        "h3": [facts(background="building b11434 native beside it")],
    }
    assert commands.main(["status"]) == 1
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()[3:]] == [
        "h1: chat: the process runs generation 3, not 4 [x]",
        "h1: chat: unknown: /slots answered 501",
        "h3: chat: building b11434 native beside it",
        "h2: no instance",
    ]


@pytest.mark.parametrize(
    ("found", "failures", "exit_status"),
    [
        ([facts()], [], 0),
        ([facts(unknown=["/slots answered 501"])], [], 0),
        ([facts(), facts(state="failed")], [], 1),
        ([facts(state="loading")], [], 1),
        ([facts(drift=["it runs, but would not start at boot"])], [], 1),
        ([], [], 1),
        ([facts()], [Failure("far", "no route", unreachable=True)], 3),
        ([facts(state="failed")], [Failure("far", "no route", unreachable=True)], 3),
        ([facts()], [Failure("h2", "root: expected a path, found 'x'.")], 1),
        # The play's verdict on a host that has answered says nothing new.
        ([facts(state="failed")], [Failure("localhost", "chat: failed"), Failure("far", "x", unreachable=True)], 3),
    ],
)
def test_the_exit_status_tells_whether_all_is_well(
    hosts: Hosts, found: list[Facts], failures: list[Failure], exit_status: int
) -> None:
    hosts.instances["localhost"], hosts.failures = found, failures
    assert commands.main(["status"]) == exit_status


def test_json_is_all_there_is_on_stdout(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    hosts.instances = {"h2": [], "h1": [facts()]}
    hosts.failures = [Failure("far", "no route", unreachable=True)]
    assert commands.main(["status", "--json"]) == 3
    output = capsys.readouterr()
    assert json.loads(output.out) == [{"host": "h1", **facts()}]
    assert output.err == "Warning: low space\nError: far: cannot be reached: no route\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["status", "--query", "[?state=='running'].[host, instance]"], [["localhost", "chat"]]),
        (["status", "--json", "--query", "[0].endpoint"], "http://127.0.0.1:8080"),
        (["generations", "--query", "[].number"], [4, 3]),
        (
            ["generations", "--json"],
            [
                {"host": "localhost", "instance": "chat", **generation}
                for generation in reversed(facts()["generations"])
            ],
        ),
    ],
)
def test_a_query_is_answered_in_json(
    hosts: Hosts, arguments: list[str], expected: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == expected
    assert len(hosts.requests) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["status", "--query", "[x"], "--query: expected a JMESPath expression, found '[x': "),
        (["generations", "--query", "["], "--query: expected a JMESPath expression, found '[': "),
        (
            ["status", "--watch", "--json"],
            "--watch cannot be combined with --json or --query. Fix: Remove one of them.",
        ),
        (["status", "--watch", "0"], "0.0 is not in the range x>=0.5"),
        (["generations", "--watch"], "No such option '--watch'"),
        (["status", "--port", "1"], "No such option '--port'"),
        (["rollback", "--to", "0"], "0 is not in the range x>=1"),
        (["rollback", "--port", "1"], "No such option '--port'"),
        (["rollback", "one", "two"], "Got unexpected extra argument (two)"),
    ],
)
def test_wrong_usage_is_a_sentence_and_asks_nobody(
    hosts: Hosts, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.main(arguments) == 2
    output = capsys.readouterr()
    assert sentence in output.err
    assert (output.out, hosts.requests) == ("", [])


def test_a_query_that_fails_on_what_was_found_is_a_sentence(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["status", "--query", "abs([0].state)"]) == 2
    assert "Error: --query: " in capsys.readouterr().err
    assert hosts.requests


def test_the_hosts_are_asked_for_what_was_named(hosts: Hosts, tmp_path: pathlib.Path) -> None:
    assert commands.main(["status", "chat", "--prefix", str(tmp_path), "-v"]) == 0
    assert commands.main(["generations", "--inventory", str(tmp_path)]) == 0
    roots = {
        "llama_server_root": f"{tmp_path}/etc/llama-fleet",
        "llama_server_runtime_root": f"{tmp_path}/run/llama-fleet",
    }
    assert hosts.requests == [
        runner.Request(
            "status", {"llama_fleet_asked_for": "chat", "llama_fleet_asks_for_metrics": True, **roots}, verbosity=1
        ),
        runner.Request(
            "status",
            {
                "llama_fleet_asked_for": "",
                "llama_fleet_asks_for_metrics": False,
                "llama_fleet_asks_for_newest": False,
            },
            (tmp_path,),
        ),
    ]


def test_root_is_taken_where_it_is_to_be_had_and_not_asked_for(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(privileges, "needs_become", lambda _command: pytest.fail("asked for root"))
    monkeypatch.setattr(privileges, "may_become", lambda: True)
    for arguments in ([], ["--prefix", str(tmp_path)], ["-i", str(tmp_path)]):
        assert commands.main(["status", *arguments]) == 0
    assert [request.become for request in hosts.requests] == [True, False, False]
