# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Access to a host and NVIDIA's programs on it."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import typing

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner

TIME_LIMIT = 15.0  # seconds for nvidia-smi; a healthy one takes about one
# Folders where drivers install nvidia-smi. PATH is short under sudo, in containers and on WSL.
MORE_FOLDERS = (
    "/usr/bin",
    "/usr/local/bin",
    "/usr/local/nvidia/bin",
    "/opt/bin",
    "/usr/lib/wsl/lib",
    "/run/current-system/sw/bin",
)


@dataclasses.dataclass(frozen=True)
class GpuHost:
    """Access to a host: every path is below ``root`` and every command goes through ``run``."""

    run: Runner
    root: pathlib.Path = pathlib.Path("/")
    folders: tuple[str, ...] = MORE_FOLDERS


def find_program(host: GpuHost, name: str) -> str:
    """Return the full path of a program, or an empty string."""
    places = [str(host.root / folder.lstrip("/")) for folder in host.folders]
    return shutil.which(name, path=":".join(places)) or ""


def find_smi(host: GpuHost) -> str:
    """Return the full path of nvidia-smi, or an empty string."""
    return find_program(host, "nvidia-smi")
