# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Check whether Ubuntu or Debian will upgrade the driver's libraries unattended.

After such an upgrade the libraries no longer match the loaded kernel module.
"""

from __future__ import annotations

import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import kernel
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.findings import WARNING, Finding
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.host import find_program

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.host import GpuHost

TIME_LIMIT = 5.0
# The package of the driver's CUDA library, by the names that Ubuntu, NVIDIA and Debian give it.
_INSTALLED = re.compile(r"^Package: (libnvidia-compute(?:-\S+)?|libcuda1)\nStatus: install ok installed$", re.MULTILINE)


def findings(host: GpuHost) -> list[Finding]:
    """Return at most one finding. apt, which is slow, is asked last and only if everything else applies."""
    settings = _settings(host.root)
    apt = find_program(host, "apt-cache")
    if not apt or not find_program(host, "unattended-upgrade") or not _unattended(settings):
        return []
    packages = [
        name
        for name in _INSTALLED.findall(kernel.text(host.root / "var/lib/dpkg/status"))
        if not _kept_back(name, settings)
    ]
    if not packages:
        return []
    changes = parse_policy(host.run([apt, "policy", *packages], timeout=TIME_LIMIT).stdout, settings)
    if not changes:
        return []
    upgradable = ", ".join(
        f"{name} {old}, which unattended-upgrades is about to replace with {new}" for name, old, new in changes
    )
    names = " ".join(name for name, _old, _new in changes)
    fix = f"run 'apt-mark hold {names}' and upgrade by hand, followed by a reboot"
    wanted = "driver libraries that match the loaded kernel module"
    return [Finding("unattended_upgrade", WARNING, upgradable, wanted, fix)]


def parse_policy(text: str, settings: str) -> list[tuple[str, str, str]]:
    """Parse ``apt-cache policy`` into (package, installed version, candidate).

    Only packages with a candidate from a source of unattended upgrades are returned.
    """
    changes = []
    for block in re.split(r"^(?=\S+:$)", text, flags=re.MULTILINE):
        fields = dict(re.findall(r"^  (Installed|Candidate): (\S+)$", block, re.MULTILINE))
        old, new = fields.get("Installed", "(none)"), fields.get("Candidate", "(none)")
        if "(none)" in (old, new) or old == new:
            continue
        lines = re.search(rf"^ [ *]{{3}} {re.escape(new)} .*\n((?: {{8,}}.*\n?)*)", block, re.MULTILINE)
        pockets = re.findall(r"\S+://\S+ ([^/\s]+)", lines[1] if lines else "")
        if any(_taken(pocket, settings) for pocket in pockets):
            changes.append((block.split(":\n")[0], old, new))
    return changes


def _taken(pocket: str, settings: str) -> bool:
    """Return whether upgrades from this pocket are unattended.

    Security updates always are, others if the settings name them. Debian ships new drivers in its point releases.
    """
    if "-" not in pocket:
        return 'label=Debian"' in settings
    return pocket.endswith("-security") or ("-updates" in settings and pocket.endswith("-updates"))


def _settings(root: pathlib.Path) -> str:
    """Return apt's configuration without comments, in the order in which apt reads it."""
    files = [*sorted((root / "etc/apt/apt.conf.d").glob("*")), root / "etc/apt/apt.conf"]
    return "\n".join(re.sub(r"(?m)^\s*(//|#).*$|(?<=\s)//.*$", "", kernel.text(file)) for file in files)


def _unattended(settings: str) -> bool:
    values = re.findall(r"APT::Periodic::Unattended-Upgrade\s+\"([^\"]*)\"", settings)
    return bool(values) and values[-1] not in ("", "0")


def _kept_back(package: str, settings: str) -> bool:
    blocks = re.findall(r"Unattended-Upgrade::Package-Blacklist\s*\{([^}]*)\}", settings)
    return any(_matches(pattern, package) for block in blocks for pattern in re.findall(r"\"([^\"]*)\"", block))


def _matches(pattern: str, package: str) -> bool:
    try:
        return re.match(pattern, package) is not None
    except re.error:  # unattended-upgrades fails on it as well
        return False
