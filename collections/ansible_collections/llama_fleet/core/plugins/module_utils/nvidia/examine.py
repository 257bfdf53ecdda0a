# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Find everything that may keep a host from computing on its GPUs, from nvidia-smi and the kernel's state."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import memory
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import (
    container,
    diagnosis,
    health,
    packages,
    requirements,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import kernel as nvidia_kernel
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import observe as nvidia
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.findings import Finding, worst_first

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.host import GpuHost
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.observe import Observation
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.requirements import Requirements

_MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class Examination:
    """The result of ``examine``: the observation with all findings, worst first, and the container support."""

    seen: Observation
    support: container.Support


def examine(host: GpuHost, wanted: Requirements, account: nvidia_kernel.Account | None = None) -> Examination:
    """Collect every finding of a host.

    Without an NVIDIA device only the PCI bus is read and ``wanted`` is ignored.
    """
    seen = nvidia.observe(host)
    kernel = diagnosis.look(host, seen)
    reasons = diagnosis.explained(seen, kernel)
    if not seen.devices and not seen.gpus:
        return Examination(dataclasses.replace(seen, findings=worst_first(reasons)), container.Support())
    driver = (seen.driver.version or seen.driver.kernel_module_version) if seen.driver else ""
    reasons += health.findings(seen.gpus, wanted.gpus, nvidia_kernel.fatal_xids(kernel.log))
    seen = dataclasses.replace(seen, gpus=health.usable(seen.gpus))
    reasons += diagnosis.access(host, seen, kernel, wanted.access, account)
    support = container.look(host, driver)
    reasons += container.findings(support, driver, wanted.access)
    reasons += requirements.unmet(wanted, seen, memory.memory_available(host.root) // _MIB)
    reasons += packages.findings(host) if driver else []
    return Examination(dataclasses.replace(seen, findings=worst_first(_once(reasons))), support)


def _once(findings: typing.Iterable[Finding]) -> list[Finding]:
    """Return ``findings`` without duplicates, in their order."""
    return list(dict.fromkeys(findings))
