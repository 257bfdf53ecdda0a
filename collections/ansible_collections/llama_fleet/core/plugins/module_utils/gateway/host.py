# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Observe the host of a gateway: HAProxy, the unit, the files, and the running process."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.config import SOCKET
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.contents import HOLDS, MAPS
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.runtime import (
    RuntimeSocket,
    RuntimeSocketError,
    Seen,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.unit import UNIT, UNIT_ROOT, USER
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import read_json
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Plain

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.options import Options
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner

PROGRAM, PACKAGE = "haproxy", "haproxy"
OLDEST = (2, 6)
# Everywhere a distribution puts it, because a connection's PATH may lack the folders of administrators.
_FOLDERS = "/usr/sbin:/usr/local/sbin:/sbin:/usr/bin:/bin"
RECORD = "servers.json"


@dataclasses.dataclass(frozen=True)
class GatewayHost:
    """The host of a gateway; tests replace its parts."""

    run: Runner = commands.run
    unit_root: pathlib.Path = UNIT_ROOT
    program: str = dataclasses.field(default_factory=lambda: shutil.which(PROGRAM, path=_FOLDERS) or "")
    has_systemd: bool = dataclasses.field(default_factory=lambda: pathlib.Path("/run/systemd/system").is_dir())
    user: str = USER

    @property
    def unit(self) -> pathlib.Path:
        return self.unit_root / UNIT

    def systemctl(self, *arguments: str) -> commands.Result:
        return self.run(["systemctl", *arguments], timeout=120)

    def version_problem(self) -> Problem | None:
        """Return a problem if HAProxy is there and too old; what it lacks would be told as an unknown keyword."""
        if not self.program:
            return None
        said = self.run([self.program, "-v"], timeout=30).stdout
        version = re.search(r"version (\d+)\.(\d+)", said)
        if version and tuple(map(int, version.groups())) >= OLDEST:
            return None
        shown = version.group() if version else "no version"
        return Problem(
            PROGRAM, f"{self.program}, {shown}", "HAProxy 2.6 or later", "upgrade the distribution's package"
        )


@dataclasses.dataclass(frozen=True)
class Observed:
    """The state of a gateway. ``seen`` is None if no process answers; ``maps`` are those that the process uses."""

    files: typing.Mapping[str, str | None]
    unit: str | None
    active: bool
    enabled: bool
    recorded: typing.Sequence[typing.Any]
    seen: Seen | None
    maps: typing.Mapping[str, typing.Mapping[str, str]]
    held: typing.Collection[str]


def observe(host: GatewayHost, options: Options, names: typing.Iterable[str]) -> Observed:
    """Look at the gateway's files ``names`` below its root, its unit and its process. Changes nothing."""
    runtime = RuntimeSocket(options.runtime_root / SOCKET)
    record = read_json(options.root / RECORD, Plain())
    try:
        seen: Seen | None = runtime.seen()
        loaded = {name: runtime.map(options.root / name) for name in (*MAPS, HOLDS)}
        maps = {name: entries for name, entries in loaded.items() if entries is not None}
    except RuntimeSocketError:
        seen, maps = None, {}
    return Observed(
        {name: text(options.root / name) for name in names},
        text(host.unit),
        host.systemctl("is-active", UNIT).stdout.strip() == "active",
        host.systemctl("is-enabled", UNIT).ok,
        record if isinstance(record, list) else [],
        seen,
        maps,
        maps.get(HOLDS, {}).keys(),
    )


def text(path: pathlib.Path) -> str | None:
    """Return the content of a file of ours; None if there is none, or none that can be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
