# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""List the runtimes and the way in which a server of each gets access to the host's GPUs.

The names are here and not in the room of the runtimes because the options of two stages offer them as choices.
"""

from __future__ import annotations

# A unit has a user of its own and cannot create device files. Podman passes on the devices of a CDI specification,
# docker those that NVIDIA's toolkit finds. Any other process opens the device files itself.
UNIT, CDI, TOOLKIT, PROCESS = "unit", "cdi", "toolkit", ""
AUTO = "auto"
# In the order in which auto tries them, and in which they are stopped. docs/make_reference.py makes the rest from it.
GPU_ACCESS = {
    "systemd": UNIT,
    "quadlet": CDI,
    "docker": TOOLKIT,
    "process": PROCESS,
    "exec": PROCESS,
}


def choices() -> tuple[str, ...]:
    """Return the values of an option that selects a runtime."""
    return (AUTO, *GPU_ACCESS)


def gpu_access(runtime: str) -> str:
    """Return how a server of this runtime gets access to GPUs; PROCESS if the runtime is unknown or not chosen."""
    return GPU_ACCESS.get(runtime, PROCESS)
