# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The systemd unit of one instance, and whether the user it runs as can read what it needs."""

from __future__ import annotations

import pathlib
import stat
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
from ansible_collections.llama_fleet.core.plugins.module_utils.server_options import CUDA, LOOPBACK, Options
from ansible_collections.llama_fleet.core.plugins.module_utils.systemd_text import command_line, specifier_free

# What the unit cannot see: ProtectHome and PrivateTmp put an empty folder there.
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
CONFIGURATION = "/etc/llama.cpp"

_HARDENING = """\
DynamicUser=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
NoNewPrivileges=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RemoveIPC=yes
KeyringMode=private
UMask=0077
SystemCallArchitectures=native
"""
_CPU = """\
PrivateDevices=yes
DevicePolicy=closed
ProcSubset=pid
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_INET AF_INET6
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""
# The driver reads /proc/driver/nvidia, compiles code at run time and talks to its daemon over a local socket.
_GPU = """\
PrivateDevices=no
DevicePolicy=closed
DeviceAllow=char-nvidia* rw
DeviceAllow=/dev/nvidiactl rw
DeviceAllow=/dev/nvidia-uvm rw
DeviceAllow=/dev/nvidia-uvm-tools rw
ProcSubset=all
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
"""


def render(options: Options, command: typing.Sequence[str]) -> str:
    """The unit's whole text. It names the release and the model by full path, and holds no secret."""
    return "\n".join([_unit_section(options), _service_section(options, command), "[Install]\nWantedBy=multi-user.target\n"])


def _unit_section(options: Options) -> str:
    lines = [
        "# Written by llama-fleet: changes made here by hand are lost. Change the role's variables instead.",
        "[Unit]",
        f"Description=llama-server instance {options.instance}",
        "Wants=network-online.target",
        "After=network-online.target nvidia-persistenced.service",
        f"RequiresMountsFor={command_line([options.release, options.model])}",
        "StartLimitIntervalSec=300",
        "StartLimitBurst=5",
    ]
    return "\n".join(lines) + "\n"


def _service_section(options: Options, command: typing.Sequence[str]) -> str:
    current = specifier_free(str(options.folder / "current"))
    lines = [
        "[Service]",
        "Type=exec",
        f"EnvironmentFile={current}/environment",
        *_before_start(options, current),
        f"ExecStart={exec_start(options, command)}",
        "WorkingDirectory=/",
        "StandardInput=null",
        f"SyslogIdentifier=llama-fleet-{options.instance}",
        "Restart=on-failure",
        "RestartSec=5",
        "TimeoutStopSec=15",
        "SendSIGKILL=yes",
        "LimitMEMLOCK=infinity",
        "LimitNOFILE=65536",
        "LimitCORE=0",
    ]
    return "\n".join(lines) + "\n" + "\n".join(["", *_hardening(options)]) + "\n"


def _before_start(options: Options, current: str) -> list[str]:
    lines = []
    if options.api_key:
        # Root copies the key to where only the unit's user can read it. LoadCredential= would do, but not in a container.
        folder = f"/run/llama-fleet-{options.instance}"
        copy = f'install -m 0400 "{current}/api-key" {folder}/api-key && chown --reference={folder}/ {folder}/api-key'
        lines += [f"RuntimeDirectory=llama-fleet-{options.instance}", "RuntimeDirectoryMode=0700", f"ExecStartPre=+/bin/sh -c '{copy}'"]
    if options.backend == CUDA:
        # Without new privileges the server cannot make the device nodes itself.
        lines.append("ExecStartPre=+-/usr/bin/nvidia-modprobe -c0 -u")
    return lines


def exec_start(options: Options, command: typing.Sequence[str]) -> str:
    """The command line, with the key's file where the unit's user can read it."""
    return command_line([f"/run/llama-fleet-{options.instance}/api-key" if word == str(options.key_file) else word for word in command])


def _hardening(options: Options) -> list[str]:
    lines = [*_HARDENING.splitlines(), *(_GPU if options.backend == CUDA else _CPU).splitlines()]
    # config.ini there is read before anything else and would change the server behind our back.
    lines.append(f"InaccessiblePaths=-{CONFIGURATION}")
    if options.port < 1024:
        lines += ["CapabilityBoundingSet=CAP_NET_BIND_SERVICE", "AmbientCapabilities=CAP_NET_BIND_SERVICE"]
    else:
        lines += ["CapabilityBoundingSet=", "AmbientCapabilities=", "PrivateUsers=yes"]
    if options.host in LOOPBACK:
        lines += ["IPAddressDeny=any", "IPAddressAllow=localhost"]
    return lines


def unreadable(path: pathlib.Path, variable: str) -> Problem | None:
    """A problem if a user without any rights, who sees no home folders, could not read ``path``; what is missing is no problem yet."""
    hidden = next((folder for folder in HIDDEN if pathlib.PurePath(folder) in path.parents), None)
    if hidden:
        return Problem(variable, f"{path}, which is below {hidden}", "a place that a hardened unit can see", "use a folder below /opt, /srv or /var/lib")
    for parent in reversed(path.parents):
        if parent.exists() and not stat.S_IMODE(parent.stat().st_mode) & stat.S_IXOTH:
            return _rights(variable, path, parent, "o+x")
    if path.is_file() and not stat.S_IMODE(path.stat().st_mode) & stat.S_IROTH:
        return _rights(variable, path, path, "o+r")
    return None


def _rights(variable: str, path: pathlib.Path, culprit: pathlib.Path, rights: str) -> Problem:
    mode = f"{stat.S_IMODE(culprit.stat().st_mode):04o}"
    return Problem(variable, f"{path}, where {culprit} has mode {mode}", "files that every user may read", f"chmod {rights} {culprit}")
