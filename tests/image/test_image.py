"""The container image as its users have it: built, started, asked, restarted on the same volumes, stopped.

``tests/run image`` makes what is needed: the base image, and the content of the test hub, which stands in for the Hub and the
package index. The tests go on from one another, in their order.
"""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import time
import typing
import urllib.request
import uuid

import pytest

from tests.hosts import podman
from tests.hub import Hub

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ["LLAMA_FLEET_TEST_CACHE"])
IMAGE = "localhost/llama-fleet:test"
MODEL = "llama-fleet/SmolLM2-135M-Instruct-GGUF:Q4_1"
# Words that this small model answers rightly.
QUESTION = "Which city is the capital of France? Answer in one sentence."
# Seconds for a start that compiles without a compiler cache on two cores.
PATIENCE = 40 * 60


@pytest.fixture(scope="module")
def hub() -> typing.Iterator[Hub]:
    with Hub(CACHE / "hub") as hub:
        yield hub


@pytest.fixture(scope="module")
def image(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image, built from the imported Debian with packages of the test hub."""
    pip_conf = tmp_path_factory.mktemp("image") / "pip.conf"
    pip_conf.write_text(f"[global]\nindex-url = {hub.url}/simple/\n", encoding="utf-8")
    base = ["--build-arg", f"BASE_IMAGE={podman.BASE.name}", "--volume", f"{pip_conf}:/etc/pip.conf:ro"]
    subprocess.run(["buildah", "bud", "--isolation", "chroot", "--format", "docker", "--layers", *base, "--tag", IMAGE, "."], cwd=ROOT, check=True)
    return IMAGE


class Container:
    """One container on the machine's network."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.url = f"http://127.0.0.1:{port}"

    def logs(self) -> str:
        done = subprocess.run(["podman", "logs", self.name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
        return done.stdout

    def state(self) -> tuple[str, int]:
        shown = _output("podman", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", self.name).split()
        return shown[0], int(shown[1])

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return
            except OSError:
                assert self.state()[0] == "running", self.logs()
                time.sleep(1)
        pytest.fail(f"not ready within {PATIENCE} s\n{self.logs()}")

    def wait_until_gone(self, seconds: float) -> int:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status, code = self.state()
            if status == "exited":
                return code
            time.sleep(0.2)
        pytest.fail(f"still there after {seconds} s\n{self.logs()}")

    def ask(self, question: str) -> str:
        body = {"messages": [{"role": "user", "content": question}], "max_tokens": 32, "temperature": 0}
        request = urllib.request.Request(f"{self.url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return str(json.load(answer)["choices"][0]["message"]["content"])


class Engine:
    """Starts containers that share two volumes, and removes all of it."""

    def __init__(self, hub: Hub, image: str) -> None:
        self._hub = hub
        self._image = image
        self._tag = f"llama-fleet-test-{uuid.uuid4().hex[:8]}"
        self._containers: list[str] = []

    def start(self, **settings: str) -> Container:
        port = _free_port()
        index = f"{self._hub.url}/simple/"
        environment = {
            "HF_ENDPOINT": self._hub.url,
            "LLAMA_CPP_INDEX_URL": index,
            "GGUF_MODEL_INDEX_URL": index,
            "LLAMA_CPP_COMPILER_CACHE": "/ccache",
            "PORT": str(port),
            "LLAMA_SERVER_THREADS": "1",
            **settings,
        }
        name = f"{self._tag}-{len(self._containers)}"
        self._containers.append(name)
        options = [word for key, value in environment.items() for word in ("--env", f"{key}={value}")]
        volumes = {f"{self._tag}-models": "/models", f"{self._tag}-state": "/var/lib/llama-fleet", str(CACHE / "ccache"): "/ccache"}
        options += [word for source, target in volumes.items() for word in ("--volume", f"{source}:{target}")]
        _output("podman", "run", "--detach", "--network", "host", "--name", name, *options, self._image)
        return Container(name, port)

    def remove(self) -> None:
        subprocess.run(["podman", "rm", "--force", "--time", "0", "--ignore", *self._containers], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["podman", "volume", "rm", "--force", f"{self._tag}-models", f"{self._tag}-state"], check=True, stdout=subprocess.DEVNULL)


def _output(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def engine(hub: Hub, image: str) -> typing.Iterator[Engine]:
    engine = Engine(hub, image)
    yield engine
    engine.remove()


@pytest.fixture(scope="module")
def first(engine: Engine) -> Container:
    container = engine.start(MODEL=MODEL, PARALLEL="2", CTX_SIZE="1024")
    container.wait_until_ready()
    return container


def test_without_a_model_it_says_what_is_missing(engine: Engine) -> None:
    container = engine.start()
    assert container.wait_until_gone(60) != 0
    assert "MODEL" in container.logs()
    assert "Traceback" not in container.logs()


def test_a_misspelt_variable_is_named_with_the_right_one(engine: Engine) -> None:
    container = engine.start(MODEL=MODEL, LLAMA_SERVER_PROT="9000")
    assert container.wait_until_gone(60) != 0
    assert "LLAMA_SERVER_PROT" in container.logs()
    assert "LLAMA_SERVER_PORT" in container.logs()


def test_it_builds_fetches_and_answers(first: Container) -> None:
    assert "Paris" in first.ask(QUESTION)
    assert "building llama.cpp" in first.logs()


def test_it_is_healthy(first: Container) -> None:
    subprocess.run(["podman", "healthcheck", "run", first.name], check=True)


def test_sigterm_stops_it(first: Container) -> None:
    subprocess.run(["podman", "kill", "--signal", "TERM", first.name], check=True, stdout=subprocess.DEVNULL)
    assert first.wait_until_gone(30) in (0, 143)


def test_a_restart_on_the_same_volumes_compiles_and_downloads_nothing(engine: Engine, hub: Hub, first: Container) -> None:
    assert first.state()[0] == "exited"
    requests = len(hub.log)
    container = engine.start(MODEL=MODEL, PARALLEL="2", CTX_SIZE="1024")
    container.wait_until_ready()
    assert "Paris" in container.ask(QUESTION)
    assert hub.log[requests:] == []
    assert "Plan the release: nothing to do" in container.logs()
    assert "Plan the model: nothing to do" in container.logs()
    assert "Provide" not in container.logs()
    assert "building" not in container.logs()
    assert "fetching" not in container.logs()
