# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The settings that close a systemd unit to everything that a network server does not need (systemd.exec(5))."""

from __future__ import annotations

EVERY_SERVER = """\
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateMounts=yes
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


def without_devices(families: str) -> str:
    """Return what also holds for a server that uses no device, with sockets of ``families`` only."""
    return f"""\
PrivateDevices=yes
DevicePolicy=closed
ProcSubset=pid
MemoryDenyWriteExecute=yes
RestrictAddressFamilies={families}
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""
