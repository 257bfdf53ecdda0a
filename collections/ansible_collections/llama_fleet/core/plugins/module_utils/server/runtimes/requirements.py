# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What a runtime needs of a host, found out before anything changes."""

from __future__ import annotations

import os
import pathlib
import re
import stat
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import docker as runtime_docker
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import engines as container_engines
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import quadlet as runtime_quadlet
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import unit_file as server_unit
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import limits as server_limits
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import CUDA, Options

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner

_RUNTIME = "llama_server_runtime"
_IMAGE = "llama_server_image"
_OLDEST_PODMAN = (4, 4)
_IMAGE_NAME = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]*")
_CDI = ("etc/cdi", "var/run/cdi")

Told = typing.Callable[[str], None]


def has_systemd(root: pathlib.Path = pathlib.Path("/")) -> bool:
    """Whether systemd is PID 1 here."""
    return (root / "run/systemd/system").is_dir() and processes.name(1, root / "proc") == "systemd"


def problems(
    options: Options,
    run: Runner,
    runtime: str = "",
    systemd: bool | None = None,
    euid: int | None = None,
    told: Told | None = None,
    root: str = "/",
) -> list[Problem]:
    """Everything that keeps ``runtime``, or the one in ``options``, from running this instance here.

    An image that is not here is fetched where ``told`` hears of it, while the old server still serves. Without
    ``told``, in check mode, nothing is fetched, and a missing image is no problem.
    """
    name = runtime or options.runtime
    found = server_limits.problems(options, name)
    if name == "systemd":
        return found + _invisible(options)
    if name not in container_engines.ENGINES:
        return found
    found += [*_rights(name, os.geteuid() if euid is None else euid), *_image_name(options), *_files(options)]
    if name == "quadlet":
        found += _quadlet(options, run, has_systemd() if systemd is None else systemd, pathlib.Path(root))
    else:
        found += _docker(options, run)
    return found or _image(options, name, run, told)


def _rights(name: str, euid: int) -> list[Problem]:
    if euid == 0:
        return []
    return [
        Problem(
            _RUNTIME,
            f"{name}, and this user (uid {euid})",
            f"root for {name}",
            "run with become or sudo, or use process",
        )
    ]


def _invisible(options: Options) -> list[Problem]:
    """Files that the unit's user cannot see, apart from the model's, which are looked at with the model."""
    beside = [(variable, path) for variable, path in server_mounts.public(options) if variable != "llama_server_model"]
    return [
        problem
        for variable, path in beside
        for problem in [server_unit.unreadable(pathlib.Path(path), variable)]
        if problem
    ]


def _image_name(options: Options) -> list[Problem]:
    if _IMAGE_NAME.fullmatch(options.image):
        return []
    fix = "use one of the distribution for which the release was built, such as docker.io/library/debian:trixie-slim"
    return [
        Problem(
            _IMAGE,
            repr(options.image) if options.image else "nothing",
            "the name of an image in which the release runs",
            fix,
        )
    ]


def _files(options: Options) -> list[Problem]:
    """A container sees files wherever they lie, but its user is nobody whom the host knows."""
    found = []
    for variable, path in [("llama_server_release", str(options.server)), *server_mounts.public(options)]:
        if ":" in path:
            found.append(
                Problem(
                    variable,
                    path,
                    "a path without a colon, at which containers divide paths",
                    "rename it, or use systemd",
                )
            )
        elif os.path.isfile(path) and not os.stat(path).st_mode & stat.S_IROTH:
            found.append(
                Problem(
                    variable,
                    f"{path}, which not every user may read",
                    "files that the container's user may read",
                    f"run chmod o+r {path}",
                )
            )
    return found


def _quadlet(options: Options, run: Runner, systemd: bool, root: pathlib.Path) -> list[Problem]:
    if not systemd:
        return [
            Problem(
                _RUNTIME,
                "quadlet, and systemd is not PID 1 here",
                "a runtime that this host has",
                "use docker, process or auto",
            )
        ]
    done = run(["podman", "--version"], timeout=container_engines.TIME_LIMIT)
    version = re.search(r"(\d+)\.(\d+)", done.stdout)
    if not done.ok or version is None:
        return [
            Problem(
                "podman",
                "no podman on this host",
                "podman 4.4 or newer",
                "install it, or use another llama_server_runtime",
            )
        ]
    if (int(version[1]), int(version[2])) < _OLDEST_PODMAN:
        return [
            Problem(
                "podman", done.stdout.strip(), "podman 4.4 or newer", "use systemd or docker, or a newer distribution"
            )
        ]
    found = []
    if not any((root / generator.lstrip("/")).exists() for generator in runtime_quadlet.GENERATORS):
        found.append(
            Problem(
                "podman",
                "no generator of units",
                "podman with quadlet",
                "install what this distribution calls podman-systemd or podman",
            )
        )
    if options.backend == CUDA and not _has_cdi(root):
        fix = "run nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml, and again after each change of driver or GPU"
        found.append(
            Problem(
                "NVIDIA CDI",
                "no description of nvidia.com/gpu in /etc/cdi or /var/run/cdi",
                "GPUs that podman can hand on",
                fix,
            )
        )
    return found


def _has_cdi(root: pathlib.Path) -> bool:
    files = [path for folder in _CDI for pattern in ("*.yaml", "*.json") for path in (root / folder).glob(pattern)]
    return any(b"nvidia.com/gpu" in path.read_bytes() for path in files)


def _docker(options: Options, run: Runner) -> list[Problem]:
    found = []
    if options.port < 1024:
        wanted = "a port from 1024 on with docker, which gives a user without rights no lower one"
        found.append(
            Problem("llama_server_port", str(options.port), wanted, "choose another port, or use quadlet or systemd")
        )
    done = run(["docker", "version", "--format", "{{.Server.Version}}"], timeout=container_engines.TIME_LIMIT)
    if done.code == 127:
        return [
            *found,
            Problem(
                "docker",
                "no docker on this host",
                "docker with compose",
                "install it, or use another llama_server_runtime",
            ),
        ]
    if not done.ok:
        said = (done.stderr.strip().splitlines() or [f"exit status {done.code}"])[-1]
        return [
            *found,
            Problem("docker", f"no answer from its daemon: {said}", "a daemon that runs", "run systemctl start docker"),
        ]
    if not runtime_docker.compose_command(run):
        fix = "install docker-compose-plugin, or docker-compose where the distribution has no such package"
        found.append(Problem("docker compose", "neither docker compose nor docker-compose", "one of them", fix))
    if (
        options.backend == CUDA
        and not run(["nvidia-container-cli", "--version"], timeout=container_engines.TIME_LIMIT).ok
    ):
        fix = "install nvidia-container-toolkit and run nvidia-ctk runtime configure --runtime=docker"
        found.append(
            Problem("NVIDIA Container Toolkit", "no nvidia-container-cli", "GPUs that docker can hand on", fix)
        )
    return found


def _image(options: Options, name: str, run: Runner, told: Told | None) -> list[Problem]:
    engine = container_engines.ENGINES[name]
    if container_engines.image_is_here(engine, options.image, run) or told is None:
        return []
    told(f"fetching the image {options.image}")
    said = container_engines.pull(engine, options.image, run, lambda _line: None)
    if not said:
        return []
    return [
        Problem(
            _IMAGE,
            f"{options.image}, which cannot be fetched: {said}",
            "an image that is here or in a registry",
            f"see {engine} pull {options.image}",
        )
    ]
