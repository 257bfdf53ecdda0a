# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Write the systemd unit of an instance, and check that the unit's user can read what it needs."""

from __future__ import annotations

import os
import pathlib
import stat
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import unit_hardening
from ansible_collections.llama_fleet.core.plugins.module_utils.host.systemd_text import (
    command_line,
    mount_units,
    specifier_free,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import workers
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import CUDA, LOOPBACK, Options

# Folders that are empty for the unit because of ProtectHome and PrivateTmp.
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
CONFIGURATION = "/etc/llama.cpp"

_HARDENING = f"DynamicUser=yes\n{unit_hardening.EVERY_SERVER}"
_CPU = unit_hardening.without_devices("AF_INET AF_INET6")
# The driver reads /proc/driver/nvidia, compiles code at run time and talks to its daemon over a local socket.
_GPU = """\
PrivateDevices=no
DevicePolicy=closed
DeviceAllow=char-nvidia* rw
DeviceAllow=/dev/nvidiactl rw
DeviceAllow=/dev/nvidia-uvm rw
DeviceAllow=/dev/nvidia-uvm-tools rw
DeviceAllow=/dev/dxg rw
ProcSubset=all
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
"""
# WSL's GPU; on other hosts the file is not there.
_WSL = "DeviceAllow=/dev/dxg rw"
# The services that prepare the GPUs. One that is not installed is not waited for.
_DRIVER = ("nvidia-persistenced.service", "nvidia-fabricmanager.service")
# From systemd 254 on the pauses grow from 5 to 60 s; before, the last two lines are ignored with a warning.
RESTART = ("Restart=on-failure", "RestartSec=5", "RestartSteps=6", "RestartMaxDelaySec=60")
# The settings that only count at the next start or failure: a running server does not notice a change of them.
_LATER = (
    "#",
    "After=",
    "Wants=",
    "RequiresMountsFor=",
    "StartLimitIntervalSec=",
    "StartLimitBurst=",
    "Restart=",
    "RestartSec=",
    "RestartSteps=",
    "RestartMaxDelaySec=",
    _WSL,
    # The folders that it writes are made before a start, also by the commands of older versions.
    "ExecStartPre=+/bin/sh -c",
    "ExecStartPre=/bin/sh -c",
    "ExecStartPre=+/usr/bin/install -d",
    "ExecStartPre=/usr/bin/install -d",
    "ExecStartPre=/usr/bin/setpriv",
)
# The mask is the unit's, too strict for the parents. mkdir follows no link, so a swapped one gains nothing.
_MAKE_STATE = 'umask 022; mkdir -p -m 0711 "$1"; [ -d "$2" -a ! -L "$2" ] || exec mkdir -m 0700 "$2"'
INSTALL = "[Install]\nWantedBy=multi-user.target\n"


def render(options: Options, command: typing.Sequence[str], variables: typing.Mapping[str, str] | None = None) -> str:
    """Return the unit's text. It names the release and the model by full path, and holds no secret."""
    service = _service_section(options, server_mounts.moved(options, command, variables or {}), variables or {})
    return "\n".join([unit_section(options), service, INSTALL])


def same_while_it_runs(before: str, after: str) -> bool:
    """Return whether two texts of a unit differ only in what a running server does not notice."""
    first, second = (
        [line for line in text.splitlines() if line and not line.startswith(_LATER)] for text in (before, after)
    )
    return first == second


def unit_section(options: Options) -> str:
    """Return the section [Unit], also for podman's file."""
    # RequiresMountsFor= would give up for good if a mount fails.
    mounts = " ".join(
        mount_units([options.release, *(os.path.dirname(path) for _variable, path in server_mounts.public(options))])
    )
    lines = [
        "# Written by llama-fleet: changes made here by hand are lost. Change the role's variables instead.",
        "[Unit]",
        f"Description=llama-server instance {options.instance}",
        "Wants=network-online.target",
        f"After=network-online.target remote-fs.target {' '.join(_DRIVER)}",
        f"Wants={mounts}",
        f"After={mounts}",
        # It never gives up: what it needs may come long after the boot.
        "StartLimitIntervalSec=0",
    ]
    return "\n".join(lines) + "\n"


def _service_section(options: Options, command: typing.Sequence[str], variables: typing.Mapping[str, str]) -> str:
    current = specifier_free(str(options.folder / "current"))
    locks = server_mounts.locks_memory(options, command, variables)
    lines = [
        "[Service]",
        "Type=exec",
        f"EnvironmentFile={current}/environment",
        *_copying(options),
        *device_nodes(options),
        f"ExecStart={command_line(command)}",
        "WorkingDirectory=/",
        "StandardInput=null",
        f"SyslogIdentifier={options.unit[: -len('.service')]}",
        *RESTART,
        # A server with an open request does not end by itself: it is killed after that time.
        f"TimeoutStopSec={options.stop_timeout}",
        "SendSIGKILL=yes",
        *limits(options),
        f"LimitMEMLOCK={'infinity' if locks else '8M'}",
        "LimitNOFILE=65536",
        "LimitCORE=0",
    ]
    return "\n".join(lines) + "\n" + "\n".join(["", *_hardening(options)]) + "\n"


def _copying(options: Options) -> list[str]:
    """Return the lines with which root copies keys to where only the unit's user can read them.

    LoadCredential= would do the same, but does not work if systemd itself runs in a container.
    """
    files = server_mounts.private(options)
    folder = server_mounts.copies(options)
    state = server_mounts.state(options)
    lines = [f"RuntimeDirectory={os.path.basename(folder)}", "RuntimeDirectoryMode=0700"] if files or state else []
    for file in files:
        install = command_line(["/usr/bin/install", "-m", "0400", file.source, f"{folder}/{file.name}"])
        lines += [f"ExecStartPre=+{install}", f"ExecStartPre=+/bin/chown --reference={folder}/ {folder}/{file.name}"]
    return [*lines, *_state(state, f"{folder}/")]


def _state(folders: typing.Sequence[str], reference: str) -> list[str]:
    """Return the lines that let the unit's user write ``folders``, who also owns the folder ``reference``.

    StateDirectory= would do the same below /var/lib only. While the unit is stopped, root owns them, because
    systemd may give the number of the user to another unit.
    """
    if not folders:
        return []
    own = command_line(folders[:1])
    return [
        f"ExecStartPre=+{make_state(folders)}",
        f"ExecStartPre=+/bin/chown -Rh --reference={reference} {own}",
        f"ExecStartPre={make_inner(folders)}",
        f"ExecStopPost=+-/bin/chown -Rh root:root {own}",
    ]


def make_state(folders: typing.Sequence[str]) -> str:
    """Return root's command that makes the outer folder that a server writes, and the folder around it.

    It changes the mode of no folder that exists, and fails if the outer one is a link.
    """
    return command_line(["/bin/sh", "-c", _MAKE_STATE, "sh", os.path.dirname(folders[0]), folders[0]])


def make_inner(folders: typing.Sequence[str]) -> str:
    """Return the command by which the server's user makes the inner folders.

    Root must not: that user may have put a link to any folder of the host in their place.
    """
    return command_line(["/usr/bin/install", "-d", "-m", "0700", *folders])


def device_nodes(options: Options) -> list[str]:
    """Return the line that makes NVIDIA's device files, because the server has no privileges to make them."""
    return ["ExecStartPre=+-/usr/bin/nvidia-modprobe -c0 -u"] if options.backend == CUDA else []


def limits(options: Options) -> list[str]:
    """Return the lines that limit the unit's memory and processor time."""
    values = {"MemoryMax": options.memory_max, "CPUQuota": options.cpu_quota}
    return [f"{name}={value}" for name, value in values.items() if value]


def _hardening(options: Options) -> list[str]:
    lines = [*_HARDENING.splitlines(), *(_GPU if options.backend == CUDA else _CPU).splitlines()]
    # config.ini there is read before anything else and would change the server behind our back.
    lines.append(f"InaccessiblePaths=-{CONFIGURATION}")
    lines += [f"ReadWritePaths=-{folder}" for folder in server_mounts.state(options)[:1]]
    if options.port < 1024:
        lines += ["CapabilityBoundingSet=CAP_NET_BIND_SERVICE", "AmbientCapabilities=CAP_NET_BIND_SERVICE"]
    else:
        lines += ["CapabilityBoundingSet=", "AmbientCapabilities=", "PrivateUsers=yes"]
    if options.host in LOOPBACK and not workers.named(options):
        lines += ["IPAddressDeny=any", "IPAddressAllow=localhost"]
    return lines


def unreadable(path: pathlib.Path, variable: str) -> Problem | None:
    """Return a problem if a user without privileges, who sees no home folders, cannot read ``path``.

    A missing file is no problem yet.
    """
    hidden = next((folder for folder in HIDDEN if pathlib.PurePath(folder) in path.parents), None)
    if hidden:
        return Problem(
            variable,
            f"{path}, which is below {hidden}",
            "a place that a hardened unit can see",
            "use a folder below /opt, /srv or /var/lib",
        )
    for parent in reversed(path.parents):
        if parent.exists() and not stat.S_IMODE(parent.stat().st_mode) & stat.S_IXOTH:
            return _rights(variable, path, parent, "o+x")
    if path.is_file() and not stat.S_IMODE(path.stat().st_mode) & stat.S_IROTH:
        return _rights(variable, path, path, "o+r")
    return None


def _rights(variable: str, path: pathlib.Path, culprit: pathlib.Path, rights: str) -> Problem:
    mode = f"{stat.S_IMODE(culprit.stat().st_mode):04o}"
    return Problem(
        variable,
        f"{path}, where {culprit} has mode {mode}",
        "files that every user may read",
        f"run chmod {rights} {culprit}",
    )
