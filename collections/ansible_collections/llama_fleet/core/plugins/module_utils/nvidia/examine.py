# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""All that may keep a host from computing on its GPUs, found together: what nvidia-smi says, and why, by what the
kernel shows.
"""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import memory as build_jobs
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import container as nvidia_container
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import diagnosis as nvidia_reasons
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import health as nvidia_health
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import kernel as nvidia_kernel
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import observe as nvidia
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import packages as nvidia_packages
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import requirements as nvidia_requirements
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.findings import Finding, worst_first

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.observe import Host, Observation
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.requirements import Requirements

_MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class Examination:
    """What was seen, its findings complete and the worst first, and what there is for containers."""

    seen: Observation
    support: nvidia_container.Support


def examine(host: Host, wanted: Requirements, account: nvidia_kernel.Account | None = None) -> Examination:
    """Look at everything.

    Without an NVIDIA device that is a look at the PCI bus, and requirements are of no concern.
    """
    seen = nvidia.observe(host)
    kernel = nvidia_reasons.look(host, seen)
    found = nvidia_reasons.explained(seen, kernel)
    if not seen.devices and not seen.gpus:
        return Examination(dataclasses.replace(seen, findings=worst_first(found)), nvidia_container.Support())
    driver = (seen.driver.version or seen.driver.kernel_module_version) if seen.driver else ""
    found += nvidia_health.findings(seen.gpus, wanted.gpus, nvidia_kernel.fatal_xids(kernel.log))
    seen = dataclasses.replace(seen, gpus=nvidia_health.usable(seen.gpus))
    found += nvidia_reasons.access(host, seen, kernel, wanted.access, account)
    support = nvidia_container.look(host, driver)
    found += nvidia_container.findings(support, driver, wanted.access)
    found += nvidia_requirements.unmet(wanted, seen, build_jobs.memory_available(host.root) // _MIB)
    found += nvidia_packages.findings(host) if driver else []
    return Examination(dataclasses.replace(seen, findings=worst_first(_once(found))), support)


def _once(findings: typing.Iterable[Finding]) -> list[Finding]:
    """Each of them once, whoever found it."""
    return list(dict.fromkeys(findings))
