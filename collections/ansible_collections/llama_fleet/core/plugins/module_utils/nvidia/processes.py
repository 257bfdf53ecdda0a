# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""List the processes that compute on a GPU."""

from __future__ import annotations

import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.host import TIME_LIMIT, GpuHost, find_smi
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import whole

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner


def compute_processes(run: Runner) -> list[tuple[str, str, str]]:
    """Return pid, GPU and MiB of each process on a GPU, as nvidia-smi prints them; none if it does not answer."""
    smi = find_smi(GpuHost(run))
    if not smi:
        return []
    listed = run(
        [smi, "--query-compute-apps=pid,gpu_uuid,used_memory", "--format=csv,noheader,nounits"], timeout=TIME_LIMIT
    )
    return re.findall(r"^([0-9]{1,18}), *([\w-]+), *(\S+)$", listed.stdout if listed.ok else "", re.MULTILINE)


def used_mib(run: Runner, pids: typing.Collection[int]) -> int:
    """Return the MiB of GPU memory that ``pids`` hold on all GPUs; 0 if the driver does not tell."""
    return sum(int(mib) for pid, _gpu, mib in compute_processes(run) if int(pid) in pids and whole(mib) is not None)
