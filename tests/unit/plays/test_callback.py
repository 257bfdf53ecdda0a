# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The output and the exit status of ``ansible-playbook`` in a clone, with stand-ins for the modules."""

import pathlib
import typing

import pytest

from llama_fleet.run.console import CLEAR_LINE
from tests.unit.plays.fleet import Done, Fleet

CPU = {"nvidia_driver_gpu": "none"}
ANSWER = {"changed": True, "instance": "default", "generation": 1, "ready": False, "would_change": True}
CHECK = {"code": "port", "severity": "ok", "subject": "llama_server_port", "found": "a free port"}
FINE = {**CHECK, "wanted": "", "fix": ""}
BAD = {**CHECK, "severity": "error", "found": "port 8080, which nginx has", "wanted": "a free port", "fix": "stop it"}
INSTANCE = {
    **dict.fromkeys(("runtime", "release", "model", "quant", "endpoint", "device", "log", "build"), ""),
    **dict.fromkeys(("nightly", "source", "origin", "why"), ""),
    **dict.fromkeys(("pid", "memory_mib", "gpu_memory_mib", "uptime_seconds", "generation"), 0),
    **dict.fromkeys(("slots", "slots_busy", "requests_deferred", "tokens_predicted"), -1),
    **dict.fromkeys(("tokens_per_second", "prompt_tokens_per_second"), -1.0),
    "instance": "default",
    "state": "running",
    "good": True,
    "listens_everywhere": False,
    "generations": [],
    "drift": [],
    "unknown": [],
}


def status_of(*errors: str, **facts: object) -> dict[str, typing.Any]:
    return {"fake_answer": {"changed": False, "instances": [{**INSTANCE, **facts}], "errors": list(errors)}}


def doctor_of(*checks: dict[str, str], errors: tuple[str, ...] = ()) -> dict[str, typing.Any]:
    answer = {"changed": False, "checks": list(checks), "problems": [], "errors": list(errors)}
    return {"llama_server_state": "stopped", "fake_answer": answer}


@pytest.fixture
def own_play(tmp_path: pathlib.Path) -> pathlib.Path:
    play = tmp_path / "own.yml"
    play.write_text(
        """
- name: A play of somebody else
  hosts: all
  gather_facts: false
  tasks:
    - name: Warn
      ansible.builtin.debug: {msg: "nothing"}
    - name: Keep a secret
      ansible.builtin.command: sh -c "echo s3cr3t; exit 3"
      no_log: true
      ignore_errors: true
    - name: Write a file
      ansible.builtin.copy: {content: "new\\n", dest: "{{ folder }}/file", mode: "0600"}
    - name: Run a command
      ansible.builtin.command: sh -c "printf 'the \\033[2Jreason'; exit {{ code }}"
    - name: Keep another secret
      ansible.builtin.command: sh -c "echo s3cr3t; exit 3"
      no_log: true
""",
        encoding="utf-8",
    )
    return play


def test_a_stage_is_a_line_and_each_problem_is_told_once(fleet: Fleet) -> None:
    hosts = {"good": {**CPU, "gguf_model_source": "a/model"}, "bad": {**CPU, "gguf_model_source": "missing"}}
    done = fleet.playbook("site", hosts)
    assert done.code == 2
    assert done.errors == ""
    lines = [line for line in done.lines if not line.startswith("changed=")]
    assert [line.partition(": changed, ")[0] for line in lines if line.startswith("good")] == [
        "good: Look at the GPUs and their driver: ok",
        "good: Plan the release: there is work to do",
        "good: Plan the model: there is work to do",
        "good: Plan the instance: there is work to do",
        "good: Check the host for all that is to be done: ok",
        "good: working on llama_cpp_release: 25 %, [1/4]",
        "good: finishing llama_cpp_release",
        "good: Provide the release",
        "good: working on gguf_model: 25 %, [1/4]",
        "good: finishing gguf_model",
        "good: Provide the model",
        "good: working on llama_server: 25 %, [1/4]",
        "good: finishing llama_server",
        "good: Run the instance",
        "good: changed llama_cpp, gguf_model, llama_server",
    ]
    assert [line for line in lines if "bad" in line] == [
        "bad: Look at the GPUs and their driver: ok",
        "bad: Plan the release: there is work to do",
        "Error: bad: gguf_model_source: expected a model, found nothing.",
    ]
    assert done.lines[-1].startswith("changed=3 in ")


def test_the_end_has_endpoint_and_answer(fleet: Fleet) -> None:
    hosts = {"one": {**CPU, "gguf_model_source": "there", "llama_cpp_source": "there", "llama_server_port": 8090}}
    done = fleet.playbook("site", hosts)
    assert done.code == 0
    assert [line.partition(" -H ")[0] for line in done.lines[-3:]] == [
        "one: http://127.0.0.1:8090",
        "ssh -N -L 8090:127.0.0.1:8090 one  # in another terminal",
        "curl http://127.0.0.1:8090/v1/chat/completions",
    ]


def test_a_terminal_has_progress_in_place(fleet: Fleet) -> None:
    done = fleet.playbook_on_terminal("site", {"good": CPU})
    assert done.code == 0
    shown = [part.partition("\n")[0] for part in done.output.split(CLEAR_LINE)]
    progress = shown.index("good: working on llama_cpp_release: 25 %, [1/4]")
    assert shown[progress + 1] == "good: finishing llama_cpp_release"
    assert shown[progress + 2].startswith("good: Provide the release: changed, ")
    # What remains on the terminal is the lines.
    assert "working on" not in "\n".join(line.rpartition(CLEAR_LINE)[2] for line in done.output.split("\n"))


def test_verbose_is_ansibles_own_detail_and_the_result(fleet: Fleet) -> None:
    done = fleet.playbook("site", {"bad": {**CPU, "gguf_model_source": "missing"}}, "-v")
    assert done.code == 2
    assert "TASK [Plan every instance] " in done.output
    assert 'fatal: [bad]: FAILED! => {"' in done.output
    assert "PLAY RECAP" in done.output
    assert "bad: Plan the release" not in done.output
    assert done.lines[-1].startswith("changed=0 in ")


@pytest.mark.parametrize("play", ["playbooks/status.yml", "status"])
def test_status_is_the_commands_table_and_fails_with_a_host(fleet: Fleet, play: str) -> None:
    drift = "the process runs generation 3, not 4"
    hosts = {"h1": status_of(), "h2": status_of(f"default: {drift}", drift=[drift])}
    done = fleet.playbook(play, hosts)
    assert done.code == 2
    assert done.errors == ""
    assert done.lines == [
        "HOST  INSTANCE  STATE",
        "h1    default   running",
        "h2    default   running",
        f"h2: default: {drift}",
    ]


@pytest.mark.parametrize(("play", "host"), [("status", status_of()), ("doctor", doctor_of(FINE))])
def test_verbose_has_the_table_once(fleet: Fleet, play: str, host: dict[str, typing.Any]) -> None:
    done = fleet.playbook(play, {"h1": host}, "-v")
    assert done.code == 0
    # The callback prints the command's table below Ansible's own output.
    assert [line.split()[0] for line in done.lines[-2:]] == ["HOST", "h1"]
    assert "TASK [Show the table]" not in done.output


@pytest.mark.parametrize(("play", "host"), [("status", status_of()), ("doctor", doctor_of(FINE))])
def test_the_command_gets_no_table_of_the_plays(fleet: Fleet, play: str, host: dict[str, typing.Any]) -> None:
    fleet.run(play, {"h1": host}, verbosity=1)
    assert "TASK [Look " in repr(fleet.seen)
    assert '"msg": [' not in repr(fleet.seen)


def test_status_of_a_good_fleet_is_no_failure(fleet: Fleet) -> None:
    done = fleet.playbook("status", {"h1": status_of()})
    assert (done.code, done.lines[1].split()[:3]) == (0, ["h1", "default", "running"])


def test_doctor_is_the_commands_table_and_fails_with_a_host(fleet: Fleet) -> None:
    told = "llama_server_port: expected a free port, found port 8080, which nginx has. Fix: stop it."
    hosts = {"h1": doctor_of(FINE), "h2": doctor_of(BAD, errors=(told,)), "h3": {"llama_server_prot": 1}}
    done = fleet.playbook("doctor", hosts)
    assert done.code == 2
    assert done.errors == ""
    assert [line.split()[:3] for line in done.lines[1:4]] == [
        ["h1", "llama_server_port", "ok"],
        ["h2", "llama_server_port", "error"],
        ["h3", "llama_server_prot", "error"],
    ]
    assert [line.partition(": expected")[0] for line in done.lines[4:]] == [
        "h2: llama_server_port",
        "h3: llama_server_prot",
    ]
    assert [fleet.playbook("doctor", {name: hosts[name]}).code for name in ("h1", "h2")] == [0, 2]


def test_without_our_package_ansible_shows_everything(fleet: Fleet) -> None:
    done = fleet.playbook("status", {"h1": status_of("default: failed")}, PYTHONPATH="")
    assert done.code == 2
    warnings = [line for line in done.errors.splitlines() if line.startswith("[WARNING]: llama-fleet: ")]
    assert len(warnings) == 1
    assert "No module named 'llama_fleet'" in warnings[0]
    assert '"msg": "default: failed"' in done.output
    assert [line.strip() for line in done.lines if "INSTANCE" in line] == ['"INSTANCE  STATE",']
    assert "PLAY RECAP" in done.output


def run_own(fleet: Fleet, play: pathlib.Path, code: int, *arguments: str) -> Done:
    return fleet.playbook(str(play), {"h1": {"folder": str(play.parent), "code": code}}, *arguments)


def test_a_play_of_somebody_else_has_its_own_tasks_and_no_secret(fleet: Fleet, own_play: pathlib.Path) -> None:
    done = run_own(fleet, own_play, 0, "--diff")
    assert done.code == 2
    assert "s3cr3t" not in done.output + done.errors
    assert "+new" in done.lines
    assert [line.partition(": changed, ")[0] for line in done.lines if line.startswith(("h1: ", "Error"))] == [
        "h1: Warn: ok",
        "h1: Write a file",
        "h1: Run a command",
        (
            "Error: h1: Keep another secret: the output has been hidden due to the fact that 'no_log: true' was "
            "specified for this result"
        ),
        "h1: changed copy, command",
    ]


def test_what_a_program_said_is_told_without_control_characters(fleet: Fleet, own_play: pathlib.Path) -> None:
    done = run_own(fleet, own_play, 1)
    assert done.code == 2
    # The first line is Ansible's and differs between its versions.
    [told] = [at for at, line in enumerate(done.lines) if line.startswith("Error: h1: Run a command: ")]
    assert done.lines[told + 1] == r"the \x1b[2Jreason"
