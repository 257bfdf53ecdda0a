# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Whether Ubuntu or Debian will replace the driver's libraries by themselves: from then on nothing speaks to the
loaded kernel module.
"""

from __future__ import annotations

import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import kernel as nvidia_kernel
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.findings import WARNING, Finding
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.observe import find_program

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.observe import Host

TIME_LIMIT = 5.0
# The driver's library for CUDA, by the names that Ubuntu, NVIDIA and Debian give its package.
_INSTALLED = re.compile(r"^Package: (libnvidia-compute(?:-\S+)?|libcuda1)\nStatus: install ok installed$", re.MULTILINE)


def findings(host: Host) -> list[Finding]:
    """At most one. What takes long comes last: apt is asked only where everything else is so."""
    settings = _settings(host.root)
    apt = find_program(host, "apt-cache")
    if not apt or not find_program(host, "unattended-upgrade") or not _unattended(settings):
        return []
    packages = [
        name
        for name in _INSTALLED.findall(nvidia_kernel.text(host.root / "var/lib/dpkg/status"))
        if not _kept_back(name, settings)
    ]
    if not packages:
        return []
    changes = parse_policy(host.run([apt, "policy", *packages], timeout=TIME_LIMIT).stdout, settings)
    if not changes:
        return []
    found = ", ".join(
        f"{name} {old}, which unattended-upgrades is about to replace by {new}" for name, old, new in changes
    )
    names = " ".join(name for name, _old, _new in changes)
    fix = f"run 'apt-mark hold {names}' and upgrade by hand, with a reboot right behind it"
    return [
        Finding("unattended_upgrade", WARNING, found, "driver libraries that stay as the loaded kernel module is", fix)
    ]


def parse_policy(text: str, settings: str) -> list[tuple[str, str, str]]:
    """Package, installed version and candidate out of ``apt-cache policy``, of those that come from where upgrades
    are taken unattended.
    """
    found = []
    for block in re.split(r"^(?=\S+:$)", text, flags=re.MULTILINE):
        fields = dict(re.findall(r"^  (Installed|Candidate): (\S+)$", block, re.MULTILINE))
        old, new = fields.get("Installed", "(none)"), fields.get("Candidate", "(none)")
        if "(none)" in (old, new) or old == new:
            continue
        lines = re.search(rf"^ [ *]{{3}} {re.escape(new)} .*\n((?: {{8,}}.*\n?)*)", block, re.MULTILINE)
        pockets = re.findall(r"\S+://\S+ ([^/\s]+)", lines[1] if lines else "")
        if any(_taken(pocket, settings) for pocket in pockets):
            found.append((block.split(":\n")[0], old, new))
    return found


def _taken(pocket: str, settings: str) -> bool:
    """Security updates are always taken, others where the settings name them.

    Debian brings new drivers in its point releases.
    """
    if "-" not in pocket:
        return 'label=Debian"' in settings
    return pocket.endswith("-security") or ("-updates" in settings and pocket.endswith("-updates"))


def _settings(root: pathlib.Path) -> str:
    """apt's configuration without its comments, in apt's order."""
    files = [*sorted((root / "etc/apt/apt.conf.d").glob("*")), root / "etc/apt/apt.conf"]
    return "\n".join(re.sub(r"(?m)^\s*(//|#).*$|(?<=\s)//.*$", "", nvidia_kernel.text(file)) for file in files)


def _unattended(settings: str) -> bool:
    values = re.findall(r"APT::Periodic::Unattended-Upgrade\s+\"([^\"]*)\"", settings)
    return bool(values) and values[-1] not in ("", "0")


def _kept_back(package: str, settings: str) -> bool:
    blocks = re.findall(r"Unattended-Upgrade::Package-Blacklist\s*\{([^}]*)\}", settings)
    return any(_matches(pattern, package) for block in blocks for pattern in re.findall(r"\"([^\"]*)\"", block))


def _matches(pattern: str, package: str) -> bool:
    try:
        return re.match(pattern, package) is not None
    except re.error:  # unattended-upgrades stumbles over it as well
        return False
