# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import os
import shutil
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import registry
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import Place, RuntimeHost
from ansible_collections.llama_fleet.core.tests.unit.fakes.options import CPU, CUDA
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    import pathlib

MISSING = Result(127, "", "No such file or directory")
BARE_CUDA = dataclasses.replace(CUDA, tls_key="", tls_certificate="", memory_max="", cpu_quota="", api_key="")


class Host(FakeRunner):
    """A host on which everything is well, apart from ``answers``: what a command that begins so gives instead."""

    def __init__(self, **answers: Result) -> None:
        super().__init__()
        self.answers = {name.replace("_", " "): result for name, result in answers.items()}

    def answer(self, command: list[str]) -> Result:
        found = next(
            (result for words, result in self.answers.items() if " ".join(command).replace("-", " ").startswith(words)),
            None,
        )
        return found or Result(0, "podman version 5.4.2\n", "")


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    """Return the root of a host with podman's generator and a description of its GPUs."""
    for name in ("usr/libexec/podman/quadlet", "etc/cdi/nvidia.yaml"):
        (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / "usr/libexec/podman/quadlet").touch()
    (tmp_path / "etc/cdi/nvidia.yaml").write_text("kind: nvidia.com/gpu\n", encoding="utf-8")
    return tmp_path


def told(name: str, host: Host, root: pathlib.Path, **changes: typing.Any) -> list[str]:
    asked = {"systemd": True, "euid": 0, "base": CPU, "told": lambda _line: None}
    settings = {key: changes.pop(key, value) for key, value in asked.items()}
    options = dataclasses.replace(settings.pop("base"), **changes)
    hears = settings.pop("told")
    on = RuntimeHost(host, root=root, **settings)
    return [str(problem) for problem in registry.named(name).requirements(options, on, hears)]


@pytest.mark.parametrize("name", ["systemd", "quadlet", "docker", "process", "exec"])
def test_a_host_that_has_everything_has_no_problems(name: str, root: pathlib.Path) -> None:
    assert told(name, Host(), root) == []
    assert told(name, Host(), root, base=BARE_CUDA) == []


@pytest.mark.parametrize(
    ("name", "host", "changes", "sentence"),
    [
        (
            "quadlet",
            Host(),
            {"image": ""},
            (
                "llama_server_image: expected the name of an image in which the release runs, found nothing. "
                "Fix: Use one of the"
            ),
        ),
        (
            "docker",
            Host(),
            {"image": "a b"},
            "llama_server_image: expected the name of an image in which the release runs, found 'a b'",
        ),
        (
            "quadlet",
            Host(),
            {"euid": 1000},
            (
                "llama_server_runtime: expected root for quadlet, found quadlet, and this user (uid 1000). "
                "Fix: Run with become"
            ),
        ),
        (
            "quadlet",
            Host(),
            {"systemd": False},
            (
                "llama_server_runtime: expected a runtime that this host has, found quadlet, and systemd is "
                "not PID 1 here"
            ),
        ),
        ("quadlet", Host(podman=MISSING), {}, "podman: expected podman 4.4 or newer, found no podman on this host."),
        (
            "quadlet",
            Host(podman=Result(0, "podman version 4.3.1\n", "")),
            {},
            "podman: expected podman 4.4 or newer, found podman version 4.3.1.",
        ),
        ("docker", Host(docker=MISSING), {}, "docker: expected docker with compose, found no docker on this host."),
        (
            "docker",
            Host(docker=Result(1, "", "Cannot connect to the Docker daemon\n")),
            {},
            (
                "docker: expected a daemon that runs, found no answer from its daemon: Cannot connect to the "
                "Docker daemon. Fix: Run systemctl start docker."
            ),
        ),
        (
            "docker",
            Host(docker_compose=MISSING),
            {},
            "docker compose: expected one of them, found neither docker compose nor docker-compose",
        ),
        (
            "docker",
            Host(),
            {"port": 443},
            (
                "llama_server_port: expected a port from 1024 on with docker, which gives a user without "
                "rights no lower one, found 443."
            ),
        ),
        (
            "docker",
            Host(nvidia=MISSING),
            {"base": BARE_CUDA},
            "NVIDIA Container Toolkit: expected GPUs that docker can hand on, found no nvidia-container-cli",
        ),
        (
            "docker",
            Host(),
            {"memory_max": "80%"},
            "llama_server_memory_max: expected an amount such as 24G, found 80%, a share",
        ),
        (
            "quadlet",
            Host(),
            {"mmproj": "/srv/a:b.gguf"},
            (
                "llama_server_mmproj: expected a path without a colon, at which containers divide paths, found "
                "/srv/a:b.gguf."
            ),
        ),
        (
            "systemd",
            Host(),
            {"mmproj": "/home/me/mmproj.gguf"},
            (
                "llama_server_mmproj: expected a place that a hardened unit can see, found "
                "/home/me/mmproj.gguf, which is below /home"
            ),
        ),
        (
            "systemd",
            Host(),
            {"lora": ("/root/a.gguf:0.5",)},
            (
                "llama_server_lora: expected a place that a hardened unit can see, found /root/a.gguf, which "
                "is below /root"
            ),
        ),
        (
            "systemd",
            Host(),
            {"chat_template": "/tmp/chat.jinja"},
            (
                "llama_server_chat_template: expected a place that a hardened unit can see, found "
                "/tmp/chat.jinja, which is below /tmp"
            ),
        ),
        (
            "process",
            Host(),
            {"memory_max": "1G"},
            "llama_server_memory_max: expected a runtime that enforces it, found 1G with llama_server_runtime process",
        ),
    ],
)
def test_what_a_host_lacks_is_told(
    name: str, host: Host, changes: dict[str, typing.Any], sentence: str, root: pathlib.Path
) -> None:
    (problem,) = told(name, host, root, **changes)
    assert problem.startswith(sentence)


def test_podman_needs_its_generator_and_the_gpus_their_description(root: pathlib.Path) -> None:
    (root / "usr/libexec/podman/quadlet").unlink()
    (root / "etc/cdi/nvidia.yaml").write_text("kind: example.com/other\n", encoding="utf-8")
    assert told("quadlet", Host(), root)[0].startswith(
        "podman: expected podman with quadlet, found no generator of units"
    )
    assert told("quadlet", Host(), root, base=BARE_CUDA)[1].startswith(
        "NVIDIA CDI: expected GPUs that podman can hand on, found no description of nvidia.com/gpu"
    )


def test_every_problem_is_told_at_once(root: pathlib.Path) -> None:
    assert len(told("docker", Host(docker=MISSING), root, image="", port=80, memory_max="1", euid=1)) == 5


def test_a_containers_user_must_be_able_to_read(root: pathlib.Path, tmp_path: pathlib.Path) -> None:
    model = tmp_path / "model.gguf"
    model.touch(mode=0o640)
    (problem,) = told("quadlet", Host(), root, model=str(model))
    assert problem.endswith(f"chmod o+r {model}.")
    model.chmod(0o644)
    assert told("quadlet", Host(), root, model=str(model)) == []


@pytest.mark.parametrize(("name", "engine"), [("quadlet", "podman"), ("docker", "docker")])
def test_an_image_that_is_missing_is_fetched_before_the_switch(name: str, engine: str, root: pathlib.Path) -> None:
    lines: list[str] = []
    absent = {f"{engine}_image": Result(1, "", "")}
    host = Host(**absent)
    assert told(name, host, root, told=lines.append) == []
    assert lines == [f"fetching the image {CPU.image}"]
    assert host.commands[-1] == [engine, "pull", CPU.image]
    host = Host(**absent, **{f"{engine}_pull": Result(1, "Trying to pull\nError: connection refused\n", "")})
    (problem,) = told(name, host, root)
    assert problem.startswith(
        f"llama_server_image: expected an image that is here or in a registry, found {CPU.image}, "
        "which cannot be fetched: Error: connection refused."
    )


def test_nothing_is_fetched_in_check_mode_or_where_there_are_other_problems(root: pathlib.Path) -> None:
    for changes in ({"told": None}, {"port": 80}):
        host = Host(docker_image=Result(1, "", ""))
        told("docker", host, root, **changes)
        assert not [command for command in host.commands if "pull" in command]


def test_a_docker_that_hangs_is_only_in_the_way_of_an_instance_that_was_in_it(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: "/usr/bin/docker")
    options = dataclasses.replace(CPU, root=tmp_path, runtime_root=tmp_path / "run")
    run = FakeRunner(*[Result(124, "", "docker did not end")] * 2)

    def others(name: str, *used: str) -> list[str]:
        place = Place(
            options.folder, options.runtime_root, RuntimeHost(run, unit_root=tmp_path, container_root=tmp_path)
        )
        return [found.name for found in registry.others(name, place, options, used)]

    assert (others("process", "systemd"), run.commands) == ([], [])
    assert (others("", "process"), len(run.commands)) == ([], 1)
    with pytest.raises(ProblemError, match=r"docker: expected .*, found no answer within 20 s"):
        others("process", "docker")


def test_only_what_is_there_is_in_the_way_of_another_runtime(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    options = dataclasses.replace(CPU, root=tmp_path, runtime_root=tmp_path / "run")
    systemd, containers = tmp_path / "system", tmp_path / "containers"
    for folder in (systemd, containers):
        folder.mkdir()
    run = Host(systemctl=Result(0, "LoadState=not-found\nActiveState=inactive\n", ""))

    def names(wanted: str, with_systemd: bool = True) -> list[str]:
        host = RuntimeHost(run, with_systemd, unit_root=systemd, container_root=containers)
        place = Place(options.folder, options.runtime_root, host)
        return [found.name for found in registry.others(wanted, place, options, registry.RUNTIMES)]

    assert names("") == []
    (systemd / options.unit).touch()
    (containers / "llama-fleet-default.container").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "default.json").touch()
    assert names("") == ["systemd", "quadlet", "process"]
    assert names("quadlet") == ["systemd", "process"]
    assert names("docker", with_systemd=False) == ["process"]
    assert os.listdir(systemd), "asking removes nothing"
