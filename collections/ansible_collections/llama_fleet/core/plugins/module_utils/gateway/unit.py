# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Write the systemd unit of a gateway."""

from __future__ import annotations

import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.config import CONFIGURATION
from ansible_collections.llama_fleet.core.plugins.module_utils.host import unit_hardening

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.options import Options

UNIT = "llama-fleet-gateway.service"
UNIT_ROOT = pathlib.Path("/etc/systemd/system")
# The user that the distribution's package makes.
USER = "haproxy"
# Its runtime socket is a file.
_HARDENING = unit_hardening.EVERY_SERVER + unit_hardening.without_devices("AF_INET AF_INET6 AF_UNIX")


def render(options: Options, program: str) -> str:
    """Return the unit's text; ``program`` is the path of HAProxy. The unit holds no secret."""
    lines = [
        "# Written by llama-fleet: changes made here by hand are lost. Change the role's variables instead.",
        "[Unit]",
        "Description=Gateway in front of llama-servers",
        "Wants=network-online.target",
        "After=network-online.target",
        "StartLimitIntervalSec=0",
        "",
        *_service(options, program),
        "",
        *_hardening(options),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


def _service(options: Options, program: str) -> list[str]:
    return [
        "[Service]",
        "Type=notify",
        f"User={USER}",
        f"Group={USER}",
        f"ExecStart={program} -Ws -f {options.root / CONFIGURATION}",
        # A new worker takes over the listening sockets; the old one ends with its last request.
        "ExecReload=/bin/kill -USR2 $MAINPID",
        "KillMode=mixed",
        "Restart=always",
        "RestartSec=1",
        # HAProxy's exit status after a SIGTERM.
        "SuccessExitStatus=143",
        f"RuntimeDirectory={options.runtime_root.name}",
        "RuntimeDirectoryMode=0750",
        "StandardInput=null",
        # HAProxy takes its largest number of connections from it: two files each, and a buffer while one is read.
        "LimitNOFILE=16384",
        "LimitCORE=0",
        *([f"MemoryMax={options.memory_max}"] if options.memory_max else []),
    ]


def _hardening(options: Options) -> list[str]:
    privileged = options.port < 1024 or options.metrics_port < 1024
    rights = "CAP_NET_BIND_SERVICE" if privileged else ""
    return [
        *_HARDENING.splitlines(),
        *([] if privileged else ["PrivateUsers=yes"]),
        f"CapabilityBoundingSet={rights}",
        f"AmbientCapabilities={rights}",
    ]
