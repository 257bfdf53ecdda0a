# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The fixes that are added to failures of Ansible, ssh and sudo; in the last test Ansible itself fails."""

import os
import pathlib
import sys

import pytest
import yaml

from llama_fleet.run import events, remedies, runner


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("sudo: sorry, you must have a tty to run sudo", "!requiretty"),
        ("sudo: a password is required", "NOPASSWD"),
        ("Missing sudo password", "ansible_become_password"),
        ("Timeout (12s) waiting for privilege escalation prompt: ", "NOPASSWD"),
        ("bob is not in the sudoers file.", "Allow Ansible's user"),
        ("/bin/sh: 1: sudo: not found", "Install sudo"),
        ("Failed to connect to the host via ssh: Host key verification failed.", "compare the key"),
        ("bob@h: Permission denied (publickey,password).", "ansible_ssh_private_key_file"),
        ("/bin/sh: 1: /usr/bin/python3: not found", "ansible_python_interpreter"),
    ],
)
def test_a_failure_of_theirs_names_what_to_do(said: str, remedy: str) -> None:
    assert remedies.told(said).startswith(said)
    assert remedy in remedies.told(said)
    assert remedy in remedies.told("MODULE FAILURE", said)
    assert remedies.told(remedies.told(said)) == remedies.told(said)


@pytest.mark.parametrize("said", ["llama_server_port: expected a free port, found 80.", "No space left on device", ""])
def test_what_is_not_known_stays_as_it_is(said: str) -> None:
    assert remedies.told(said) == said


def test_ansible_with_a_sudo_that_wants_a_terminal(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sudo stands in that says what the real one does with 'requiretty', where it is given no terminal."""
    sudo = tmp_path / "sudo"
    sudo.write_text(
        "#!/bin/sh\ntest -t 0 || { echo 'sudo: sorry, you must have a tty to run sudo' >&2; exit 1; }\n",
        encoding="ascii",
    )
    sudo.chmod(0o755)
    host = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "ansible_become": True,
        "ansible_become_user": "nobody",
        "ansible_become_exe": str(sudo),
        "ansible_remote_tmp": str(tmp_path / "tmp"),
    }
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": {"h1": host}}}), encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ANSIBLE_PIPELINING", "true")
    seen: list[events.Event] = []
    outcome = runner.run(runner.Request("down", {}, (inventory,)), seen.append)
    (failure,) = outcome.failures
    assert failure.host == "h1"
    assert "you must have a tty to run sudo" in failure.text
    assert "!requiretty" in failure.text, failure.text
    assert os.listdir(tmp_path / "tmp") == [] if (tmp_path / "tmp").exists() else True
