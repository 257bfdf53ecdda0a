# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run containers of the image as a careful user does: any user, a read-only root, no capabilities, two volumes."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import time
import typing
import urllib.request
import uuid

import pytest
import yaml

from ansible_collections.llama_fleet.core.tests.unit.module_runs import free_port
from tests.hosts import podman

if typing.TYPE_CHECKING:
    from tests.hub import Hub

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("LLAMA_FLEET_TEST_CACHE", ""))
IMAGE = "localhost/llama-fleet:test"
MODEL = "llama-fleet/SmolLM2-135M-Instruct-GGUF:Q4_1"
# Questions that this small model answers correctly.
QUESTION = "Which city is the capital of France? Answer in one sentence."
# A user that the image does not know.
USER = "4242:4242"
# Seconds for a start that compiles without a compiler cache on two cores.
PATIENCE = 40 * 60
HARDENED = ("--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges", "--user", USER)


def build(hub: Hub, folder: pathlib.Path, tag: str = IMAGE, *options: str, tree: pathlib.Path = ROOT) -> str:
    """Build the image from the imported Debian, with packages of the test hub; reuse what was built before."""
    pip_conf = folder / "pip.conf"
    pip_conf.write_text(f"[global]\nindex-url = {hub.url}/simple/\n", encoding="utf-8")
    base = ["--build-arg", f"BASE_IMAGE={podman.BASE.name}", "--volume", f"{pip_conf}:/etc/pip.conf:ro"]
    words = [
        "buildah",
        "bud",
        "--isolation",
        "chroot",
        "--format",
        "docker",
        "--layers",
        *base,
        *options,
        "--tag",
        tag,
        ".",
    ]
    subprocess.run(words, cwd=tree, check=True)
    return tag


def compiler_cache() -> pathlib.Path:
    """Return a compiler cache that the image's users may write to."""
    folder = CACHE / "ccache-image"
    if not folder.exists():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        passing = shutil.ignore_patterns("tmp", "*.lock", "*.alive", "*.tmp.*")  # files of compilers that run meanwhile
        shutil.copytree(CACHE / "ccache", part, ignore=passing, copy_function=_copy_if_there)
        part.rename(folder)
    subprocess.run(["chmod", "--recursive", "a+rwX", folder], check=True)
    return folder


def _copy_if_there(source: str, target: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(source, target)


class Container:
    """A container on the machine's network."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.url = f"http://127.0.0.1:{port}"

    def logs(self) -> str:
        done = subprocess.run(
            ["podman", "logs", self.name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
        )
        return done.stdout

    def inspect(self, template: str) -> str:
        return output("podman", "inspect", "--format", template, self.name).strip()

    def state(self) -> tuple[str, int]:
        shown = self.inspect("{{.State.Status}} {{.State.ExitCode}}").split()
        return shown[0], int(shown[1])

    def wait_until_ready(self) -> typing.Self:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return self
            except OSError:
                assert self.state()[0] == "running", self.logs()
                time.sleep(0.3)
        pytest.fail(f"not ready within {PATIENCE} s\n{self.logs()}")

    def wait_until_logged(self, words: str, seconds: float = PATIENCE) -> None:
        deadline = time.monotonic() + seconds
        while words not in self.logs():
            assert self.state()[0] == "running", self.logs()
            assert time.monotonic() < deadline, f"'{words}' was not said within {seconds} s\n{self.logs()}"
            time.sleep(0.2)

    def wait_until_gone(self, seconds: float = 60) -> int:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status, code = self.state()
            if status == "exited":
                return code
            time.sleep(0.2)
        pytest.fail(f"still there after {seconds} s\n{self.logs()}")

    def stop(self) -> int:
        """Stop it as docker does; return the exit status, which is 137 if ten seconds were not enough."""
        subprocess.run(["podman", "stop", "--time", "10", self.name], check=True, stdout=subprocess.DEVNULL)
        return self.wait_until_gone()

    def healthcheck(self) -> tuple[int, str]:
        done = subprocess.run(
            ["podman", "healthcheck", "run", self.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def get(self, path: str) -> typing.Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as answer:
            return json.load(answer)

    def ask(self, question: str = QUESTION) -> str:
        body = {"messages": [{"role": "user", "content": question}], "max_tokens": 32, "temperature": 0}
        request = urllib.request.Request(
            f"{self.url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return str(json.load(answer)["choices"][0]["message"]["content"])

    def processes(self) -> list[dict[str, str]]:
        """Return what the kernel says of each process in it, leaving out those that have just ended."""
        numbers = output("podman", "top", self.name, "hpid").split()[1:]
        places = [place for number in numbers if (place := pathlib.Path(f"/proc/{number}/status")).exists()]
        assert places
        return [
            dict(line.split(":\t", 1) for line in place.read_text(encoding="utf-8").splitlines() if ":\t" in line)
            for place in places
        ]


class Engine:
    """A starter of containers that share two volumes; it removes all of them at the end."""

    def __init__(self, hub: Hub, image: str, **settings: str) -> None:
        self._hub = hub
        self._image = image
        self._settings = settings
        self._tag = f"llama-fleet-test-{uuid.uuid4().hex[:8]}"
        self._containers: list[str] = []
        self._cache = compiler_cache()
        # One port for all, because they run one after the other and another port would be another setting.
        self._port = free_port()

    def start(self, *options: str, flags: typing.Sequence[str] = (), **settings: str) -> Container:
        """Start a container; ``options`` are podman's, ``settings`` are variables, and an empty one is left out."""
        index = f"{self._hub.url}/simple/"
        environment = {
            "HF_ENDPOINT": self._hub.url,
            "LLAMA_CPP_INDEX_URL": index,
            "GGUF_MODEL_INDEX_URL": index,
            "LLAMA_CPP_COMPILER_CACHE": "/ccache",
            "PORT": str(self._port),
            "LLAMA_SERVER_THREADS": "1",
            **self._settings,
            **settings,
        }
        name = f"{self._tag}-{len(self._containers)}"
        self._containers.append(name)
        words = [word for key, value in environment.items() if value for word in ("--env", f"{key}={value}")]
        volumes = {
            f"{self._tag}-models": "/models",
            f"{self._tag}-state": "/var/lib/llama-fleet",
            str(self._cache): "/ccache",
        }
        kept = {place: source for source, place in volumes.items() if not any(place in option for option in options)}
        network = () if "--network" in options else ("--network", "host")
        words += [word for place, source in kept.items() for word in ("--volume", f"{source}:{place}")]
        output("podman", "run", "--detach", *network, "--name", name, *HARDENED, *words, *options, self._image, *flags)
        return Container(name, self._port)

    def remove(self) -> None:
        subprocess.run(
            ["podman", "rm", "--force", "--time", "0", "--ignore", *self._containers],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        subprocess.run(
            ["podman", "volume", "rm", "--force", f"{self._tag}-models", f"{self._tag}-state"],
            check=True,
            stdout=subprocess.DEVNULL,
        )


def output(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def inside(image: str, script: str) -> str:
    """Return what a shell prints in a container of the image."""
    return output("podman", "run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-euc", script)


def default_source() -> str:
    """Return the role's default source; the container's default is a repository that cannot be reached here."""
    defaults = (
        ROOT
        / "collections"
        / "ansible_collections"
        / "llama_fleet"
        / "core"
        / "roles"
        / "llama_cpp"
        / "defaults"
        / "main.yml"
    )
    return str(yaml.safe_load(defaults.read_text(encoding="utf-8"))["llama_cpp_source"])


def wait_for(condition: typing.Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.5)
