# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""doctor: what is asked of the hosts, what is shown, and the exit status."""

import io
import json
import pathlib
import re
import sys
import typing

import pytest

from llama_fleet.cli import commands, privileges
from llama_fleet.run import runner
from llama_fleet.run.events import Failure, Listener, Outcome, Remark

Check = dict[str, str]
FAR = Failure("far", "ssh: no route\nto host", unreachable=True)
TYPO = {
    "subject": "llama_server_prot",
    "found": "a variable that no role has",
    "wanted": "one that is",
    "fix": "use llama_server_port",
}


def check(severity: str = "ok", subject: str = "Python", **more: str) -> Check:
    told = {"wanted": "", "fix": ""} if severity == "ok" else {"wanted": "another", "fix": "change it"}
    return {"code": subject.lower(), "severity": severity, "subject": subject, "found": "3.11", **told, **more}


class Hosts:
    """Stands in for the play."""

    def __init__(self) -> None:
        self.checks: dict[str, list[Check]] = {"localhost": [check()]}
        self.failures: list[Failure] = []
        self.requests: list[runner.Request] = []

    def __call__(self, request: runner.Request, listener: Listener) -> Outcome:
        self.requests.append(request)
        listener(Remark("low space", warning=True))
        for failure in self.failures:
            listener(failure)
        results = {host: {"preflight_info": {"checks": found}} for host, found in self.checks.items()}
        return Outcome(failures=self.failures, results=typing.cast("typing.Any", results))


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Hosts:
    hosts = Hosts()
    monkeypatch.setattr(runner, "run", hosts)
    monkeypatch.setattr(privileges, "may_become", lambda: False)
    monkeypatch.setattr(privileges, "needs_become", lambda _command: pytest.fail("asked for root"))
    for name in ("HF_TOKEN", "LLAMA_API_KEY", "GGUF_MODEL_TOKEN", "LLAMA_SERVER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return hosts


def test_the_table_tells_what_is_and_below_it_what_to_do(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    hosts.checks = {
        "h2": [
            check("warning", "clock [x]", found="9 min ahead"),
            check("error", "disk space", found="1 GB", wanted="3 GB", fix=""),
        ],
        "h1": [check()],
    }
    hosts.failures = [FAR]
    assert commands.main(["doctor"]) == 3
    output = capsys.readouterr()
    assert [line.rstrip() for line in output.out.splitlines()] == [
        "HOST  CHECK                FOUND",
        "far   host        error    no connection (ssh: no route to host)",
        "h1    Python      ok       3.11",
        "h2    clock [x]   warning  9 min ahead",
        "h2    disk space  error    1 GB",
        (
            "far: host: expected a host that Ansible reaches. Fix: Check its name and address, the network, and the "
            "SSH user and key."
        ),
        "h2: disk space: expected 3 GB.",
        "h2: clock [x]: expected another. Fix: Change it.",
    ]
    assert output.err == "Warning: low space\n"


def test_this_machine_needs_no_name(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    hosts.checks = {"localhost": [check("error", "compiler")]}
    assert commands.main(["doctor"]) == 2
    assert capsys.readouterr().out.splitlines()[-1] == "compiler: expected another. Fix: Change it."


@pytest.mark.parametrize(
    ("severities", "failures", "exit_status"),
    [
        (["ok", "ok"], [], 0),
        (["ok", "warning"], [], 1),
        (["error", "warning"], [], 2),
        (["ok"], [Failure("h1", "root: expected a path, found 'x'.")], 2),
        (["ok"], [Failure("h1", "x", problems=(TYPO,))], 2),
        (["ok"], [Failure("", "no inventory")], 2),
        (["ok"], [FAR], 3),
        # The play's verdict on a host that has answered says nothing new.
        (["warning"], [Failure("localhost", "disk space: found 1 GB.")], 1),
        (["error"], [FAR], 3),
        (["error"], [FAR, Failure("h1", "x")], 3),
    ],
)
def test_the_exit_status_is_the_worst_there_is(
    hosts: Hosts, severities: list[str], failures: list[Failure], exit_status: int
) -> None:
    hosts.checks["localhost"] = [check(severity) for severity in severities]
    hosts.failures = failures
    assert commands.main(["doctor"]) == exit_status


def test_json_has_every_host_in_one_shape(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    hosts.checks = {"h1": [check()]}
    hosts.failures = [
        FAR,
        Failure("h2", "llama_server_prot: …", problems=(TYPO,)),
        Failure("h3", "no Python"),
        Failure("", "no such group"),
    ]
    assert commands.main(["doctor", "--json"]) == 3
    output = capsys.readouterr()
    found = json.loads(output.out)
    assert [(row["host"], row["code"], row["severity"], row["subject"]) for row in found] == [
        ("", "failed", "error", "host"),
        ("far", "unreachable", "error", "host"),
        ("h1", "python", "ok", "Python"),
        ("h2", "variables", "error", "llama_server_prot"),
        ("h3", "failed", "error", "host"),
    ]
    assert {tuple(row) for row in found} == {("host", "code", "severity", "subject", "found", "wanted", "fix")}
    assert output.err == "Warning: low space\nError: no such group\n"


def test_a_query_picks_out_of_it(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    hosts.checks = {"h1": [check(), check("error", "disk")], "h2": [check()]}
    assert commands.main(["doctor", "--query", "[?severity=='error'].[host, code]"]) == 2
    assert json.loads(capsys.readouterr().out) == [["h1", "disk"]]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--query", "[x"], "--query: expected a JMESPath expression, found '[x': "),
        (["--inventory", "/nowhere"], "Path '/nowhere' does not exist."),
        (["--watch"], "No such option '--watch'"),
        (["--check"], "No such option '--check'"),
        (["--prot", "1"], "No such option '--prot'"),
        (["--port", "http"], "Invalid value for '--port': 'http' is not a valid integer."),
        (["one", "two"], "Got unexpected extra argument (two)"),
    ],
)
def test_wrong_usage_is_a_sentence_and_asks_nobody(
    hosts: Hosts, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.main(["doctor", *arguments]) == 2
    output = capsys.readouterr()
    assert sentence in output.err
    assert (output.out, hosts.requests) == ("", [])


def test_what_up_would_be_asked_for_is_looked_at(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_s3cr3t")
    assert commands.main(["doctor", "a/b:Q8_0", "--port", "9000", "--nvidia-driver-gpu", "required"]) == 0
    assert commands.main(["doctor", "--inventory", str(tmp_path), "-v"]) == 0
    assert commands.main(["doctor", "--prefix", str(tmp_path)]) == 0
    here, elsewhere, below = hosts.requests
    asked = {"gguf_model_source": "a/b:Q8_0", "llama_server_port": 9000, "nvidia_driver_gpu": "required"}
    assert here == runner.Request("doctor", {"gguf_model_token": "hf_s3cr3t", **asked})
    # An inventory's hosts have their own secrets.
    assert elsewhere == runner.Request("doctor", {}, (tmp_path,), verbosity=1)
    assert (below.variables["llama_cpp_root"], below.variables["llama_server_runtime"]) == (
        f"{tmp_path}/opt/llama-fleet",
        "process",
    )


def test_root_is_taken_where_it_is_to_be_had_and_not_asked_for(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(privileges, "may_become", lambda: True)
    for arguments in ([], ["--prefix", str(tmp_path)], ["-i", str(tmp_path)]):
        assert commands.main(["doctor", *arguments]) == 0
    assert [request.become for request in hosts.requests] == [True, False, False]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_narrow_terminal_cuts_nothing_off(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    output = Terminal()
    monkeypatch.setattr(sys, "stdout", output)
    for name, value in {"TERM": "xterm", "COLUMNS": "60", "LINES": "50", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    hosts.checks["localhost"] = [check("error", "llama_server_port", found="word " * 30 + "end", wanted="z" * 200)]
    assert commands.main(["doctor"]) == 2
    text = re.sub(r"\x1b\[[0-9;]*m", "", output.getvalue())
    assert all(len(line) <= 60 for line in text.splitlines())
    assert (text.count("word"), "end" in text, text.count("z")) == (30, True, 200)
