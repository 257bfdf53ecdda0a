# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Write the file from which podman's generator makes the unit of an instance in a container.

It has only keys that podman 4.4 knows, because podman refuses a file with any other. The rest is passed as arguments.
"""

from __future__ import annotations

import os
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.systemd_text import command_line, specifier_free
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import unit_file as server_unit
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import CUDA, Options

# All GPUs: LLAMA_ARG_DEVICE selects the ones to compute on, as without a container.
CDI_DEVICE = "nvidia.com/gpu=all"
# Seconds that podman may take to remove a container, in addition to the server's stop timeout.
MARGIN = 15


def render(options: Options, command: typing.Sequence[str], variables: typing.Mapping[str, str]) -> str:
    """Return the file's text. It holds no secret."""
    words = server_mounts.moved(options, command, variables)
    sections = [
        server_unit.unit_section(options),
        _container(options, words, variables),
        _service(options),
        server_unit.INSTALL,
    ]
    return "\n".join(sections)


def _container(options: Options, command: typing.Sequence[str], variables: typing.Mapping[str, str]) -> str:
    user = server_mounts.container_user(options)
    lines = [
        "[Container]",
        f"ContainerName={container_name(options)}",
        f"Image={options.image}",
        *([f"Exec={command_line(command[1:])}"] if command[1:] else []),
        f"User={user}",
        f"Group={user}",
        "Network=host",
        "ReadOnly=true",
        "NoNewPrivileges=true",
        "DropCapability=all",
        *(["AddCapability=CAP_NET_BIND_SERVICE"] if options.port < 1024 else []),
        *([f"AddDevice={CDI_DEVICE}"] if options.backend == CUDA else []),
        *(f"Volume={specifier_free(f'{path}:{path}')}:ro,z" for path in server_mounts.mounts(options, command)),
        *(f"Volume={path}:{path}:ro,z" for path in _private(options)),
        *(f"Volume={path}:{path}:z" for path in server_mounts.state(options)[:1]),
        *(f"PodmanArgs={argument}" for argument in _arguments(options, command, variables)),
    ]
    return "\n".join(lines) + "\n"


def _arguments(options: Options, command: typing.Sequence[str], variables: typing.Mapping[str, str]) -> list[str]:
    names = [name for name in sorted(variables) if not name.startswith("LLAMA_")]
    arguments = [
        # A start never waits for a registry: the image was seen before.
        "--pull=never",
        f"--entrypoint={command_line(command[:1])}",
        "--workdir=/",
        "--no-healthcheck",
        "--image-volume=ignore",
        # It sees only its own control group, also with control groups of version 1.
        "--cgroupns=private",
        # Into the unit's journal, where systemd puts what its processes print.
        "--log-driver=passthrough",
        f"--stop-timeout={options.stop_timeout}",
        # Their values are the service's own: systemd reads the file, which podman would read in another way.
        " ".join(f"--env={name}" for name in ["LLAMA_*", *names]),
    ]
    return arguments + (["--ulimit=memlock=-1:-1"] if server_mounts.locks_memory(options, command, variables) else [])


def _service(options: Options) -> str:
    current = specifier_free(str(options.folder / "current"))
    name = container_name(options)
    user = str(server_mounts.container_user(options))
    copies = [(file.source, f"{server_mounts.copies(options)}/{file.name}") for file in server_mounts.private(options)]
    lines = [
        "[Service]",
        f"EnvironmentFile={current}/environment",
        *(
            [f"RuntimeDirectory={os.path.basename(server_mounts.copies(options))}", "RuntimeDirectoryMode=0700"]
            if copies
            else []
        ),
        *(
            f"ExecStartPre={command_line(['/usr/bin/install', '-m', '0400', '-o', user, '-g', user, *pair])}"
            for pair in copies
        ),
        *_state(options, user),
        *server_unit.device_nodes(options),
        f"SyslogIdentifier={name}",
        *server_unit.RESTART,
        "TimeoutStartSec=300",
        # Podman kills a server that does not end in its time; past this one systemd kills podman.
        f"TimeoutStopSec={options.stop_timeout + MARGIN}",
        *server_unit.limits(options),
    ]
    return "\n".join(lines) + "\n"


def _state(options: Options, user: str) -> list[str]:
    """Return the lines that let the container's user write its folders."""
    folders = server_mounts.state(options)
    if not folders:
        return []
    become = f"/usr/bin/setpriv --reuid={user} --regid={user} --clear-groups"
    return [
        f"ExecStartPre={server_unit.make_state(folders)}",
        f"ExecStartPre={command_line(['/bin/chown', '-Rh', f'{user}:{user}', *folders[:1]])}",
        f"ExecStartPre={become} {server_unit.make_inner(folders)}",
    ]


def _private(options: Options) -> list[str]:
    return [f"{server_mounts.copies(options)}/{file.name}" for file in server_mounts.private(options)]


def container_name(options: Options) -> str:
    """Return the name of the container and of the compose project: the unit's name without its suffix."""
    return options.unit[: -len(".service")]
