# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A run that is killed (SIGKILL) leaves no token in the files that Ansible has put on the host."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys
import typing
import uuid

import pytest

from llama_fleet.run import orphans

TOKEN = "hf_s3cr3tOfThisTest"
ROOT = pathlib.Path(__file__).resolve().parents[2]
ANSIBLE = pathlib.Path(sys.executable).with_name("ansible")
PATIENCE = 60.0  # seconds


def holding(folder: pathlib.Path) -> list[str]:
    """Return the files below ``folder`` that contain the token."""
    found = []
    for path in folder.rglob("*"):
        try:
            found += [str(path)] if path.is_file() and TOKEN.encode() in path.read_bytes() else []
        except OSError:  # gone meanwhile
            continue
    return found


@pytest.fixture
def silent() -> typing.Iterator[socket.socket]:
    """Yield the socket of a Hub that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        yield listener


@pytest.fixture
def marker() -> typing.Iterator[str]:
    """In the environment of all that a test starts, which ends with it."""
    marker = f"LLAMA_FLEET_TEST_KILLED={uuid.uuid4().hex}"
    yield marker
    orphans.kill(marker)


def command(host: pathlib.Path, endpoint: str, plan_only: bool) -> list[str]:
    """Return the command that runs the module with the token, and with every file of the host below ``host``."""
    arguments = {
        "source": "owner/repo-GGUF:Q4_K_M",
        "endpoint": endpoint,
        "token": TOKEN,
        "root": str(host / "models"),
        "plan_only": plan_only,
    }
    variables = {
        "ansible_remote_tmp": str(host / "tmp"),
        "ansible_async_dir": str(host / "jobs"),
        "ansible_python_interpreter": sys.executable,
    }
    where = ["-i", "localhost,", "-c", "local", "localhost", "-e", json.dumps(variables)]
    return [str(ANSIBLE), *where, "-m", "llama_fleet.core.gguf_model", "-a", json.dumps(arguments)]


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("plan_only", [False, True], ids=["a job", "a plan"])
def test_no_token_stays(
    tmp_path: pathlib.Path, marker: str, silent: socket.socket, pipelining: bool, plan_only: bool
) -> None:
    host = tmp_path / "host"
    name, _equals, value = marker.partition("=")
    environment = {
        **os.environ,
        name: value,
        "ANSIBLE_PIPELINING": str(pipelining),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
    }
    environment |= {"ANSIBLE_LOCAL_TEMP": str(tmp_path / "controller"), "ANSIBLE_HOME": str(tmp_path / "home")}
    words = command(host, f"http://127.0.0.1:{silent.getsockname()[1]}", plan_only)
    with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        connection, _address = silent.accept()  # the module works, and waits for its Hub
        run.kill()
        run.wait()
    assert TOKEN in connection.recv(1 << 16).decode("ascii", "replace")
    connection.close()
    assert holding(host) == []
