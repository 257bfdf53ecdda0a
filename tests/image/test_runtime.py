# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test an image with a release and a model and without a compiler, and that a rebuild gives the same image.

Run by name (``tests/run container``).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import typing

import pytest

from ansible_collections.llama_fleet.core.tests.unit.module_runs import free_port
from tests.hub import Hub
from tests.image import containers
from tests.image.containers import Container

if typing.TYPE_CHECKING:
    import pathlib

MIB = 1 << 20
IMAGE = "localhost/llama-fleet-runtime:test"
ASK = """
import urllib.request
body = b'{"prompt": "The capital of France is", "max_tokens": 8, "temperature": 0}'
headers = {"Content-Type": "application/json"}
request = urllib.request.Request("http://127.0.0.1:8080/v1/completions", body, headers)
print(urllib.request.urlopen(request).read().decode())
"""
MACHINE = containers.CACHE / "machine"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> typing.Iterator[Hub]:
    """Serve the test hub's content and the release that the tests have built, packed."""
    root = tmp_path_factory.mktemp("hub")
    for name in ("repos", "simple"):
        (root / name).symlink_to(containers.CACHE / "hub" / name)
    arguments = {
        "source": containers.default_source(),
        "root": str(MACHINE),
        "compiler_cache": str(containers.CACHE / "ccache"),
        "state": "packed",
        "pack_to": str(root / "files"),
    }
    words = (
        "ansible",
        "-i",
        "inventories/localhost",
        "localhost",
        "-m",
        "llama_fleet.core.llama_cpp_release",
        "-a",
        json.dumps(arguments),
    )
    subprocess.run(words, cwd=containers.ROOT, check=True, stdout=subprocess.DEVNULL)
    with Hub(root) as hub:
        yield hub


@pytest.fixture(scope="module")
def packed(hub: Hub) -> str:
    (index,) = (hub.root / "files").glob("*.tar.gz")
    return f"release+{hub.url}/files/{index.name}#sha256={_sha256(index)}"


def _sha256(path: pathlib.Path) -> str:
    return containers.output("sha256sum", str(path)).split()[0]


@pytest.fixture(scope="module")
def image(hub: Hub, packed: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    arguments = {"MODEL": containers.MODEL, "RELEASE": packed, "HF_ENDPOINT": hub.url}
    options = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    return containers.build(hub, tmp_path_factory.mktemp("runtime"), IMAGE, "--target", "runtime", *options)


def start(image: str, *options: str) -> Container:
    port = free_port()
    name = f"llama-fleet-test-runtime-{port}"
    containers.output(
        "podman", "run", "--detach", "--name", name, "--cap-drop", "all", *options, "--env", f"PORT={port}", image
    )
    return Container(name, port)


def remove(container: Container) -> None:
    containers.output("podman", "rm", "--force", "--time", "0", container.name)


def test_it_is_small_and_has_no_compiler(image: str) -> None:
    baked = int(
        containers.inside(image, "du --bytes --summarize --total /models /var/lib/llama-fleet | tail -1 | cut -f1")
    )
    size = int(containers.output("podman", "image", "inspect", "--format", "{{.Size}}", image))
    assert size - baked < 150 * MIB
    assert containers.inside(image, "command -v g++ gcc git apt-get || true") == ""


def test_its_packages_are_listed(image: str) -> None:
    names = {
        package["name"]
        for package in json.loads(containers.inside(image, "cat /usr/share/llama-fleet/sbom.spdx.json"))["packages"]
    }
    assert names >= {"libc6", "ansible-core", "llama-fleet"}
    assert names & {"apt", "cryptography", "g++"} == set()


def test_without_a_network_and_with_a_read_only_root_it_answers_at_once(image: str) -> None:
    """Set no variable, so everything is as it was when the image was built."""
    name = f"llama-fleet-test-runtime-{free_port()}"
    containers.output(
        "podman", "run", "--detach", "--name", name, "--network", "none", "--read-only", "--cap-drop", "all", image
    )
    container = Container(name, 8080)
    try:
        containers.wait_for(lambda: container.healthcheck()[0] == 0, 300)
        assert "Paris" in containers.output("podman", "exec", name, "/usr/lib/llama-fleet/venv/bin/python", "-c", ASK)
        assert "Nothing has changed since the last start" in container.logs()
    finally:
        remove(container)


def test_another_context_needs_no_compiler(image: str) -> None:
    container = start(
        image, "--network", "host", "--user", containers.USER, "--env", "CTX_SIZE=512", "--env", "PARALLEL=1"
    )
    try:
        container.wait_until_ready()
        assert [slot["n_ctx"] for slot in container.get("/slots")] == [512]
        warnings = [line for line in container.logs().splitlines() if line.startswith("Warning")]
        assert len(warnings) == 1
        assert "requires no API key" in warnings[0]
    finally:
        remove(container)


def test_built_again_it_is_the_same(hub: Hub, tmp_path: pathlib.Path) -> None:
    """Build from a copy of the tree; the archive must not have newer packages meanwhile."""
    tree = tmp_path / "tree"
    shutil.copytree(
        containers.ROOT, tree, ignore=shutil.ignore_patterns(".*_cache", ".git", ".venv", ".hypothesis", "__pycache__")
    )
    times = ("--build-arg", "SOURCE_DATE_EPOCH=1700000000", "--timestamp", "1700000000")
    found = []
    for tag in ("one", "two"):
        image = containers.build(hub, tmp_path, f"localhost/llama-fleet-{tag}:test", "--no-cache", *times, tree=tree)
        found.append(
            json.loads(containers.output("podman", "image", "inspect", "--format", "{{json .RootFS.Layers}}", image))
        )
    containers.output("podman", "rmi", "localhost/llama-fleet-one:test", "localhost/llama-fleet-two:test")
    assert found[0] == found[1]
