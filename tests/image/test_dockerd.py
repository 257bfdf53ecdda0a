# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run the image in Docker's own daemon on a real host: loaded, started, found healthy, restarted, stopped.

The tests build on each other, in order. The container runs as a careful user would run it, with the guide's command.
"""

from __future__ import annotations

import json
import time
import typing

import pytest

from tests.hub import Hub
from tests.image import containers
from tests.server.containers import ContainerHost

pytestmark = pytest.mark.e2e

GUIDE = containers.ROOT / "docs" / "container.md"
HARDENED = "--read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --user 4242:4242"
# Docker checks every thirty seconds.
TWO_LOOKS = 70


@pytest.fixture(scope="module")
def host(image: str) -> typing.Iterator[ContainerHost]:
    host = ContainerHost("docker", "--volume", f"{containers.compiler_cache()}:/ccache")
    try:
        host.load(image)
        yield host
    finally:
        host.remove()


@pytest.fixture(scope="module")
def started(host: ContainerHost, image: str) -> typing.Iterator[str]:
    """Start the container and yield its name once its server answers."""
    with Hub(containers.CACHE / "hub", host.gateway) as hub:
        index = f"{hub.url}/simple/"
        settings = {
            "MODEL": containers.MODEL,
            "HF_ENDPOINT": hub.url,
            "LLAMA_CPP_INDEX_URL": index,
            "GGUF_MODEL_INDEX_URL": index,
            "PIP_TRUSTED_HOST": host.gateway,  # over plain HTTP, which the test hub speaks
            "LLAMA_CPP_SOURCE": containers.default_source(),
            "LLAMA_CPP_COMPILER_CACHE": "/ccache",
            "PARALLEL": "2",
            "CTX_SIZE": "1024",
            "LLAMA_SERVER_THREADS": "1",
        }
        words = " ".join(f"--env {name}='{value}'" for name, value in settings.items())
        volumes = "--volume models:/models --volume state:/var/lib/llama-fleet --volume /ccache:/ccache"
        host.output(f"docker run --detach --name fleet --network host {HARDENED} {words} {volumes} {image}")
        until_ready(host)
        yield "fleet"


def until_ready(host: ContainerHost) -> None:
    deadline = time.monotonic() + containers.PATIENCE
    while host.output("curl --silent --fail http://127.0.0.1:8080/health || true") != '{"status":"ok"}':
        running = host.output("docker inspect --format '{{.State.Running}}' fleet").strip()
        assert running == "true", host.output("docker logs fleet 2>&1")
        assert time.monotonic() < deadline, host.output("docker logs fleet 2>&1")
        time.sleep(0.5)


def test_the_guide_has_the_line() -> None:
    assert f"docker run -d {HARDENED} -e MODEL=" in GUIDE.read_text(encoding="utf-8")


def test_it_answers_as_the_user_it_was_given(host: ContainerHost, started: str) -> None:
    assert "Paris" in host.says()
    pid = host.output(f"docker inspect --format '{{{{.State.Pid}}}}' {started}").strip()
    status = host.output(f"cat /proc/{pid}/status")
    assert "Uid:\t4242\t4242\t4242\t4242" in status
    assert "CapEff:\t0000000000000000" in status


def test_docker_finds_it_healthy(host: ContainerHost, started: str) -> None:
    deadline = time.monotonic() + TWO_LOOKS
    while (health := json.loads(host.output(f"docker inspect --format '{{{{json .State.Health}}}}' {started}")))[
        "Status"
    ] != "healthy":
        assert time.monotonic() < deadline, health
        time.sleep(1)


def test_a_restart_compiles_and_fetches_nothing(host: ContainerHost, started: str) -> None:
    before = host.output(f"docker logs {started} 2>&1")
    assert "building llama.cpp" in before
    host.output(f"docker restart {started}")
    until_ready(host)
    after = host.output(f"docker logs {started} 2>&1")[len(before) :]
    assert "building" not in after
    assert "fetching" not in after
    assert "Paris" in host.says()


def test_it_stops_by_itself_before_docker_kills_it(host: ContainerHost, started: str) -> None:
    host.output(f"docker stop {started}")
    ended = host.output(f"docker inspect --format '{{{{.State.Status}}}} {{{{.State.ExitCode}}}}' {started}").split()
    assert ended in (["exited", "0"], ["exited", "143"])  # 137 means that Docker's patience ended
