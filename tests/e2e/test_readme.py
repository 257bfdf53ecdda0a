# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run every command of the README on this machine, exactly as it is written there.

The folders of the roles are temporary ones, mounted over the machine's in a namespace that only the command sees.
LLAMA_FLEET_TEST_CACHE holds what tests/run has made: a release for this machine and the test hub's content.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from tests.hub.server import Fault, Hub

pytestmark = pytest.mark.e2e

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("LLAMA_FLEET_TEST_CACHE", ""))
CLONE = "git clone https://github.com/llama-fleet/llama-fleet && cd llama-fleet"
UP = "./llama-fleet up"
TESTS = "./tests/run"  # this test is part of it
UP_MODEL = "./llama-fleet up ggml-org/gemma-3-1b-it-GGUF:Q4_K_M --ctx-size 8192 --port 9000"
DOWN = "./llama-fleet down"
CHAT = "./llama-fleet chat"
ASK = "echo 'Which colour is the sky?' | ./llama-fleet chat"
OPEN = "./llama-fleet open"
DOCTOR = "./llama-fleet doctor"
# Run by test_host.py.
FLEET = "ansible-playbook -i inventories/example playbooks/site.yml"
# Built, run and tested by tests/image with buildah and podman, on another base than the registry's.
IMAGE = ["docker build -t llama-fleet ."]


def commands() -> list[str]:
    """Return the lines of the README's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Yield the start of a command line that runs another command with temporary folders in place of the roles'."""
    folder = tmp_path_factory.mktemp("machine")
    shutil.copytree(CACHE / "machine" / "releases", folder / "opt" / "releases", symlinks=True)
    shutil.copytree(CACHE / "machine" / "venv", folder / "opt" / "venv", symlinks=True)
    mounts, made = [], []
    for name, place in (
        ("opt", "/opt/llama-fleet"),
        ("var", "/var/lib/llama-fleet"),
        ("etc", "/etc/llama-fleet"),
        ("run", "/run/llama-fleet"),
    ):
        (folder / name).mkdir(exist_ok=True)
        if not pathlib.Path(place).exists():
            pathlib.Path(place).mkdir()
            made.append(pathlib.Path(place))
        mounts.append(f"mount --bind {folder / name} {place}")
    namespace = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-euc",
        f'{"; ".join(mounts)}; exec "$@"',
        "sh",
    ]
    # On one processor, so with one thread: on a busy machine several threads spend their time spinning.
    yield ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0))), *namespace]
    for mount_point in made:
        mount_point.rmdir()


@pytest.fixture(scope="module")
def hub(readme_hub: pathlib.Path) -> Iterator[Hub]:
    with Hub(readme_hub) as hub:
        # As slow as a real connection, so that there is progress to report.
        hub.faults.update((file.name, Fault(rate=5_000_000)) for file in (readme_hub / "repos").rglob("*.gguf"))
        yield hub


def is_up(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def up_until(
    end: Callable[[subprocess.Popen[str]], None],
    machine: list[str],
    command: str,
    port: int,
    environment: dict[str, str],
) -> str:
    """Run ``up`` as a person would, check the server, and ``end`` it; return what was printed."""
    with subprocess.Popen(
        [*machine, *command.split()],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout
        printed, was_up = "", False
        for line in process.stdout:
            printed += line
            if "until Ctrl-C" in line:
                was_up = is_up(port)
                end(process)
    assert was_up
    assert process.returncode == 0, printed
    assert not is_up(port)
    return printed


def test_the_readme_has_the_commands_that_are_tested_here() -> None:
    assert [line for line in commands() if not line.startswith("docker run ")] == [
        CLONE,
        UP,
        TESTS,
        UP_MODEL,
        DOWN,
        CHAT,
        ASK,
        OPEN,
        DOCTOR,
        FLEET,
        *IMAGE,
    ]


def test_a_clone_has_both_commands(tmp_path: pathlib.Path) -> None:
    # This repository in place of the one on the network.
    config = {"COUNT": "1", "KEY_0": f"url.{ROOT.as_uri()}.insteadOf", "VALUE_0": CLONE.split()[2]}
    environment = {**os.environ, **{f"GIT_CONFIG_{name}": value for name, value in config.items()}}
    script = f"{CLONE} && test -x {UP.split(maxsplit=1)[0]} && {TESTS} --list"
    done = subprocess.run(
        ["sh", "-euc", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^e2e +", done.stdout, re.MULTILINE)


def test_up_and_in_another_terminal_chat_open_and_down(machine: list[str]) -> None:
    said: list[subprocess.CompletedProcess[str]] = []

    def run(command: str, text: str = "") -> None:
        words = [*machine, "sh", "-euc", command]
        said.append(
            subprocess.run(words, cwd=ROOT, input=text, capture_output=True, text=True, check=False, timeout=600)
        )

    def talk_and_stop(_process: subprocess.Popen[str]) -> None:
        run(CHAT, "What is the capital of France?")
        run(ASK)
        run(OPEN)
        run(DOWN)

    printed = up_until(talk_and_stop, machine, UP, 8080, dict(os.environ))
    chat, ask, interface, down = said
    assert (chat.returncode, ask.returncode, down.returncode) == (0, 0, 0), said
    assert min(len(chat.stdout.split()), len(ask.stdout.split())) >= 3
    # A release that was built has no web interface.
    assert interface.returncode == 1
    assert "web interface" in interface.stderr
    assert "http://127.0.0.1:8080" in printed
    assert "curl " in printed


def test_up_with_a_model_of_the_hub_until_ctrl_c(machine: list[str], hub: Hub) -> None:
    printed = up_until(
        lambda process: process.send_signal(signal.SIGINT),
        machine,
        UP_MODEL,
        9000,
        {**os.environ, "HF_ENDPOINT": hub.url},
    )
    assert "http://127.0.0.1:9000" in printed
    assert [entry for entry in hub.settle() if "gemma-3-1b-it-Q4_K_M" in str(entry)]
    assert re.search(r"^localhost: fetching .*: \d+ %, \d+ of \d+ MB, [\d.]+ MB/s", printed, re.MULTILINE), printed


def test_doctor(machine: list[str]) -> None:
    done = subprocess.run(
        [*machine, *DOCTOR.split()], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False, timeout=600
    )
    assert done.returncode in (0, 1), done.stdout  # a warning may be true on a machine that runs tests
    assert re.search(r"disk space +ok ", done.stdout), done.stdout
