# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Bad variables stop the play with one sentence each, before anything runs on a host."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLAY = """
- name: Check
  hosts: localhost
  gather_facts: false
  vars:
    llama_server_model: "{{ gguf_model_result.path }}"
  tasks:
    - name: Check the variables
      llama_fleet.core.validate_variables:
        roles: [llama_server, gguf_model]
"""


def _play(folder: pathlib.Path, *extra: str) -> subprocess.CompletedProcess[str]:
    (folder / "play.yml").write_text(PLAY, encoding="utf-8")
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_HOME": str(folder),
    }
    command = [
        str(pathlib.Path(sys.executable).parent / "ansible-playbook"),
        str(folder / "play.yml"),
        *(word for value in extra for word in ("-e", value)),
    ]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_good_variables_pass_and_wired_ones_wait(tmp_path: pathlib.Path) -> None:
    done = _play(tmp_path, "llama_server_port=9000")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=0" in done.stdout


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (
            "llama_server_prot=1",
            ("llama_server_prot: expected a variable of llama_server, found a variable that no role has. Fix: Use"),
        ),
        ("llama_server_port=abc", "llama_server_port: expected a whole number, found 'abc'."),
        (
            "llama_server_runtime=sysd",
            "llama_server_runtime: expected one of auto, systemd, quadlet, docker, process or exec, found 'sysd'.",
        ),
        (
            '{"llama_server_instances": {"chat": {"port": 1}}}',
            ("port of instance chat: expected one by its full name, found a variable that no role has. Fix: Use"),
        ),
        (
            '{"llama_server_instances": {"chat": {"llama_server_port": "{{ nowhere }}"}}}',
            (
                "llama_server_instances: expected entries that are known before the first stage runs, found a "
                "template with a variable that is not"
            ),
        ),
        ('{"llama_server_instances": ["chat"]}', "llama_server_instances: expected a mapping, found '['chat']'."),
        (
            '{"llama_server_instances": {"a": {}, "b": null}}',
            "llama_server_port: expected a port for each, found 8080 for both instances a and b. Fix: Set it",
        ),
    ],
)
def test_a_bad_variable_is_named(tmp_path: pathlib.Path, extra: str, sentence: str) -> None:
    done = _play(tmp_path, extra)
    assert done.returncode == 2
    assert sentence in done.stdout + done.stderr


def test_all_bad_variables_are_named_at_once(tmp_path: pathlib.Path) -> None:
    output = _play(tmp_path, "llama_server_port=abc", "gguf_model_sauce=x")
    assert "llama_server_port: expected a whole number, found" in output.stdout + output.stderr
    assert "Fix: Use gguf_model_source" in output.stdout + output.stderr
