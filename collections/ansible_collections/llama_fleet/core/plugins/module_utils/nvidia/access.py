# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Name the ways in which a server gets access to the host's GPUs."""

from __future__ import annotations

# A unit has a user of its own and cannot create device files. Podman passes on the devices of a CDI specification,
# docker those that NVIDIA's toolkit finds. Any other process opens the device files itself.
UNIT, CDI, TOOLKIT, PROCESS = "unit", "cdi", "toolkit", ""
# By the runtime's name instead of the runtime's class, because this room does not import the rooms of the server.
_OF_RUNTIME = {"systemd": UNIT, "quadlet": CDI, "docker": TOOLKIT}


def of(runtime: str) -> str:
    """Return how a server of this runtime gets access to GPUs; PROCESS if the runtime is unknown or not chosen."""
    return _OF_RUNTIME.get(runtime, PROCESS)
