# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The host that instances run on, as far as a test replaces it."""

from __future__ import annotations

import dataclasses
import os
import pathlib

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.unit_file import CONFIGURATION

UNIT_ROOT = pathlib.Path("/etc/systemd/system")
CONTAINER_ROOT = pathlib.Path("/etc/containers/systemd")


@dataclasses.dataclass(frozen=True)
class RuntimeHost:
    """A host: how to run commands on it, whether systemd is its PID 1, our user there, and the folders of its files."""

    run: commands.Runner = commands.run
    systemd: bool = False
    euid: int = 0
    unit_root: pathlib.Path = UNIT_ROOT
    container_root: pathlib.Path = CONTAINER_ROOT
    configuration: str = CONFIGURATION
    root: pathlib.Path = pathlib.Path("/")


@dataclasses.dataclass(frozen=True)
class Place:
    """The place of an instance: ``folder`` holds its generations, ``runtime_root`` the record and log of a process."""

    folder: pathlib.Path
    runtime_root: pathlib.Path
    host: RuntimeHost

    @property
    def unit(self) -> str:
        """Return the name of the instance's systemd unit."""
        return f"llama-fleet-{self.folder.name}.service"


def this_host() -> RuntimeHost:
    """Return the host that this process runs on."""
    return RuntimeHost(systemd=has_systemd(), euid=os.geteuid())


def has_systemd(root: pathlib.Path = pathlib.Path("/")) -> bool:
    """Return whether systemd is PID 1 here."""
    return (root / "run/systemd/system").is_dir() and processes.name(1, root / "proc") == "systemd"
