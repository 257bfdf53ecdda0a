# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Check how the containers of a host reach its GPUs: NVIDIA's container toolkit and the CDI specifications."""

from __future__ import annotations

import dataclasses
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import runtimes
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import kernel
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.findings import ERROR, WARNING, Finding
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.host import find_program

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.host import GpuHost

TIME_LIMIT = 5.0
KIND = "nvidia.com/gpu"
GENERATE = (
    "run 'nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml' as root, and again after each change of driver or GPU"
)
_FOLDERS = ("etc/cdi", "var/run/cdi", "run/cdi")
_LARGEST = 4 << 20  # bytes; a specification of sixteen GPUs has about 40 KiB


@dataclasses.dataclass(frozen=True)
class Cdi:
    """A CDI specification file.

    ``driver_version`` is the driver that its library paths name, or empty. ``matches`` is whether that driver and
    the device files it names are those of the host.
    """

    path: str
    driver_version: str
    devices: tuple[str, ...]
    matches: bool


@dataclasses.dataclass(frozen=True)
class Support:
    """A host's container support for GPUs; ``toolkit_version`` is empty if the toolkit is missing or prints none."""

    toolkit_version: str = ""
    cdi: tuple[Cdi, ...] = ()
    has_toolkit: bool = False


def look(host: GpuHost, driver: str) -> Support:
    """Read the CDI specifications and the version of the container toolkit."""
    program = find_program(host, "nvidia-ctk")
    version = None
    if program:
        version = re.search(r"version (\d+(?:\.\d+)+\S*)", host.run([program, "--version"], timeout=TIME_LIMIT).stdout)
    # One of the folders may be a link to the other.
    files = {
        path.resolve(): path
        for folder in _FOLDERS
        for path in sorted((host.root / folder).glob("*"))
        if path.suffix in (".yaml", ".json")
    }
    described = (_described(host.root, path, driver) for path in files.values())
    has_toolkit = bool(program or find_program(host, "nvidia-container-cli"))
    return Support(version[1] if version else "", tuple(each for each in described if each), has_toolkit)


def findings(support: Support, driver: str, access: str) -> list[Finding]:
    """List what keeps a container with this ``access`` from the GPUs, and warnings for other containers."""
    reasons = []
    if access == runtimes.CDI and not support.cdi:
        missing = f"no description of {KIND} in /etc/cdi or /var/run/cdi"
        reasons.append(Finding("cdi_missing", ERROR, missing, "GPUs that podman can pass on", GENERATE))
    if access == runtimes.TOOLKIT and not support.has_toolkit:
        fix = "install nvidia-container-toolkit and run nvidia-ctk runtime configure --runtime=docker"
        missing = "no nvidia-container-toolkit"
        reasons.append(Finding("container_toolkit_missing", ERROR, missing, "GPUs that docker can pass on", fix))
    for stale in (each for each in support.cdi if not each.matches):
        made_for = (
            f"made for driver {stale.driver_version}"
            if stale.driver_version not in ("", driver)
            else "with a GPU that is not there"
        )
        severity = ERROR if access == runtimes.CDI else WARNING
        wanted = f"a description of driver {driver} and its GPUs"
        reasons.append(Finding("cdi_stale", severity, f"{stale.path}, {made_for}", wanted, GENERATE))
    return reasons


def _described(root: pathlib.Path, path: pathlib.Path, driver: str) -> Cdi | None:
    """Parse a CDI file, YAML or JSON, by regular expressions, because Python's standard library has no YAML parser."""
    try:
        if path.stat().st_size > _LARGEST:
            return None
    except OSError:
        return None
    text = kernel.text(path)
    if not re.search(rf"\bkind\"?:\s*\"?{re.escape(KIND)}\"?", text):
        return None
    versions = re.findall(r"lib(?:cuda|nvidia-ml)\.so\.(\d+\.\d+(?:\.\d+)?)\b", text)
    devices = tuple(dict.fromkeys(re.findall(r"(?<![A-Za-z])\"?name\"?:\s*\"?([\w.:-]+)", text)))
    gone = [node for node in re.findall(r"/dev/(nvidia\d+)\b", text) if not (root / "dev" / node).exists()]
    version = versions[-1] if versions else ""
    return Cdi(
        f"/{path.relative_to(root)}",
        version,
        devices,
        not gone and (not version or all(each == driver for each in versions)),
    )
