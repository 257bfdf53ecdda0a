# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""tests/gpu/run where there is no GPU, or one that is a script; how its models are made and its figures got."""

from __future__ import annotations

import http.server
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf import header as gguf_header
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf import tiny_model
from tests.gpu import driver, gpus, measure, parcel, recorded, session, speed

ROOT = pathlib.Path(__file__).resolve().parents[3]
ONE_GPU = "echo '0, NVIDIA H100 PCIe, 580.95.05, 81559, 4, [N/A]'"


def add_nvidia_smi(folder: pathlib.Path, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "nvidia-smi").chmod(0o755)


def start(path: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "tests/gpu/run", *arguments],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def wait_for(condition: typing.Callable[[], bool]) -> None:
    """Wait until it holds; a minute is more than it ever takes."""
    for _turn in range(6000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("it never came true")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("", "nvidia-smi is not installed"),
        (
            "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18",
            "ends with 18 (Failed to initialize NVML: Driver/library version mismatch)",
        ),
        ("echo 'No devices were found' >&2; exit 6", "ends with 6 (No devices were found)"),
        ("exit 0", "nvidia-smi ends with 0"),
    ],
)
def test_without_a_gpu_it_says_why_in_one_line(tmp_path: pathlib.Path, script: str, reason: str) -> None:
    if script:
        add_nvidia_smi(tmp_path / "bin", script)
    # A PATH without any other nvidia-smi.
    (tmp_path / "bin").mkdir(exist_ok=True)
    for name, program in (("python3", os.path.realpath(sys.executable)), ("dirname", shutil.which("dirname"))):
        (tmp_path / "bin" / name).symlink_to(str(program))
    done = start(str(tmp_path / "bin"), str(tmp_path))
    assert done.returncode == measure.NO_GPU
    assert done.stderr.startswith("tests/gpu/run: no NVIDIA GPU can be used here: ")
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert done.stdout == ""


def test_a_folder_that_is_not_complete(tmp_path: pathlib.Path) -> None:
    add_nvidia_smi(tmp_path / "bin", ONE_GPU)
    done = start(f"{tmp_path / 'bin'}:{os.environ['PATH']}", str(tmp_path))
    assert done.returncode == measure.WRONG_USE
    assert done.stderr == (
        f"tests/gpu/run: {tmp_path} is not complete; run tests/gpu/collect {tmp_path} where there is a package index\n"
    )


def test_a_folder_for_other_pythons(tmp_path: pathlib.Path) -> None:
    add_nvidia_smi(tmp_path / "bin", ONE_GPU)
    (tmp_path / parcel.NAME).write_text(json.dumps({"source": "pypi:x==1", "pythons": ["3.8"]}))
    done = start(f"{tmp_path / 'bin'}:{os.environ['PATH']}", "--work", str(tmp_path / "work"), str(tmp_path))
    assert done.returncode == measure.FAILED
    assert "no wheels for Python 3." in done.stderr


def test_gpus_are_read_and_what_they_do_not_tell_is_0(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_nvidia_smi(tmp_path / "bin", ONE_GPU)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(gpus, "PERIOD", 0.01)
    (seen,) = gpus.look()
    assert (seen["name"], seen["driver_version"], seen["memory.total"]) == ("NVIDIA H100 PCIe", "580.95.05", "81559")
    count = tmp_path / "count"
    add_nvidia_smi(
        tmp_path / "bin",
        f"echo x >> {count}; echo '0, H100, 580, 81559, $((9 - $(wc -l < {count}))), [N/A]'".replace("'", '"'),
    )
    with gpus.Watch(True) as watch:
        wait_for(lambda: count.exists() and len(count.read_text()) >= 6)
    assert watch.busiest == [{"index": 0, "memory_used_mib": 8, "utilization": 0}]


@pytest.mark.parametrize("quant", ["Q8_0", "Q4_K"])
def test_the_small_model_is_whole(tmp_path: pathlib.Path, quant: str) -> None:
    model = session.shapes(quant)["small"]
    file = tmp_path / "model.gguf"
    tiny_model.write_model(file, model)
    header = gguf_header.file_header(file)
    assert (header.context_length, header.block_count, header.name) == (8192, 4, f"small-{quant}")
    norms = 512 * (2 * 4 + 1)
    assert header.parameters == session.parameters(model) + norms
    sizes = [kind.size(shape) for kind, shape in tiny_model.tensors(model).values()]
    assert all(size % 32 == 0 for size in sizes)
    # Up to the tensors' data the header is padded to 32 bytes.
    assert file.stat().st_size == header.length + sum(sizes)
    assert len(set(file.read_bytes()[-1_000_000:])) == 256, "random bytes up to the end"


def test_the_shapes_have_as_many_parameters_as_they_say() -> None:
    counts = {name: session.parameters(model) for name, model in session.shapes("Q8_0").items()}
    assert 1.0e9 < counts["1b"] < 1.3e9
    assert 7.0e9 < counts["8b"] < 8.5e9


class Server(http.server.BaseHTTPRequestHandler):
    """An instance that is ready at the third question, and writes one token a second faster with each answer."""

    asked: typing.ClassVar[list[typing.Any]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self._answer(200 if self.asked.count("/health") > 2 else 503, {})

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(question)
        count = sum(isinstance(one, dict) for one in self.asked)
        self._answer(
            200,
            {
                "timings": {
                    "prompt_n": 8,
                    "predicted_n": 4,
                    "prompt_per_second": 1000.0 * count,
                    "predicted_per_second": 10.0 * count,
                }
            },
        )

    def _answer(self, status: int, content: typing.Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass


@pytest.fixture
def instance() -> typing.Iterator[str]:
    Server.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_speeds_are_medians_of_prompts_that_differ_without_the_first(instance: str) -> None:
    figures = speed.ask(instance, vocabulary=300, prompt=8, tokens=4, rounds=3)
    assert (figures["prompt_tokens_per_second"], figures["generated_tokens_per_second"]) == (3000.0, 30.0)
    assert (figures["prompt_tokens"], figures["generated_tokens"]) == (8, 4)
    prompts = [tuple(question["prompt"]) for question in Server.asked]
    assert len(set(prompts)) == 4
    assert all(len(prompt) == 8 and all(259 <= word < 300 for word in prompt) for prompt in prompts)
    assert all(
        (question["n_predict"], question["ignore_eos"], question["cache_prompt"]) == (4, True, False)
        for question in Server.asked
    )


def test_ready_is_when_health_says_so_for_the_first_time(instance: str) -> None:
    with speed.Readiness(instance) as ready:
        wait_for(lambda: ready.at > 0)
    assert Server.asked == ["/health"] * 3
    took = ready.seconds_of(os.getpid())
    assert took is not None
    assert took > 0
    assert ready.seconds_of(2**22 + 1) is None, "no such process"


def test_an_instance_that_never_answers_has_no_time() -> None:
    with speed.Readiness("http://127.0.0.1:9") as ready:
        pass
    assert ready.seconds_of(os.getpid()) is None


def test_a_recorded_gpu_answers_as_a_real_one(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.environ["PATH"])
    recorded.install(tmp_path)
    report = driver.examine(tmp_path / "recorded")
    assert report["wrong"] == []
    assert [gpu["compute_capability"] for gpu in report["gpus"]] == ["9.0"]
    assert gpus.look()[0]["memory.total"] == "81559"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--budget", "-5"], "argument --budget: -5 is not a number from 0 to 86400"),
        (["--budget", "nan"], "argument --budget: nan is not a number from 0 to 86400"),
        (["--budget", "soon"], "argument --budget: invalid number value: 'soon'"),
        (["--prompt", "0"], "argument --prompt: 0 is not a number from 1 to 8192"),
        (["--rounds", "0"], "argument --rounds: 0 is not a number from 1 to 100"),
        (["--port", "70000"], "argument --port: 70000 is not a number from 1024 to 65000"),
        (["--cmake-option", "GGML_CUDA"], "argument --cmake-option: 'GGML_CUDA' is not NAME=VALUE"),
        (
            ["--tokens", "8100"],
            "--prompt and --tokens are 64 and 8100, and the models have a context of 8192 with 64 to spare",
        ),
    ],
)
def test_arguments_that_make_no_sense_are_told_at_once(tmp_path: pathlib.Path, arguments: list[str], told: str) -> None:
    done = start(os.environ["PATH"], "--cpu", "--work", str(tmp_path / "work"), *arguments, str(tmp_path))
    assert (done.returncode, done.stdout) == (measure.WRONG_USE, "")
    assert done.stderr.splitlines()[-1] == f"tests/gpu/run: error: {told}"
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON"),
        ("[]", "is a list, expected an object"),
        ('{"source": "pypi:x==1"}', "has no pythons"),
        (
            '{"source": "pypi:x==1", "pythons": ["3.11; rm"]}',
            r".pythons[0] is '3.11; rm', expected a text like 3\.\d{1,2}",
        ),
        (
            '{"source": "x", "pythons": ["3.11"], "packages": ["--index-url=http://x"]}',
            ".packages[0] is '--index-url=http://x', expected a text",
        ),
    ],
)
def test_a_parcel_that_is_none_is_told_in_a_line(tmp_path: pathlib.Path, text: str, told: str) -> None:
    (tmp_path / parcel.NAME).write_text(text, encoding="utf-8")
    done = start(os.environ["PATH"], "--cpu", "--work", str(tmp_path / "work"), str(tmp_path))
    assert (done.returncode, done.stdout) == (measure.FAILED, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"tests/gpu/run: {tmp_path / parcel.NAME}")
    assert told in done.stderr
