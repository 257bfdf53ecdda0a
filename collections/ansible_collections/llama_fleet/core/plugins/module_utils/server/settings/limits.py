# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Limit what an instance may use of its host: memory and CPU time."""

from __future__ import annotations

import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

SMALLEST = 64 << 20
_AMOUNT = re.compile(r"(?P<number>\d{1,6}(\.\d{1,3})?)(?P<unit>[KMGT])")
_SHARE = re.compile(r"(?P<number>\d{1,3})%")
_QUOTA = re.compile(r"(?P<number>[1-9]\d{0,5})%")


def limit_problems(options: Options) -> typing.Iterator[Problem]:
    """Yield the problems of invalid limits. A runtime reports by itself which limits it cannot enforce."""
    bytes_of_all = memory_bytes(options.memory_max, 1 << 50)
    if options.memory_max and (bytes_of_all is None or bytes_of_all < SMALLEST):
        wanted = "at least 64M, such as 24G, or a share of the host's memory, such as 80%"
        yield Problem("llama_server_memory_max", repr(options.memory_max), wanted)
    if options.cpu_quota and not _QUOTA.fullmatch(options.cpu_quota):
        wanted = "a share of one processor, such as 50%, or of several, such as 200%"
        yield Problem("llama_server_cpu_quota", repr(options.cpu_quota), wanted)


def is_share(memory_max: str) -> bool:
    """Return whether ``memory_max`` is a share of the host's memory, such as 80%."""
    return bool(_SHARE.fullmatch(memory_max))


def memory_bytes(text: str, total: int) -> int | None:
    """Return the bytes that ``memory_max`` allows of ``total`` bytes; None if it is empty or invalid."""
    share, amount = _SHARE.fullmatch(text), _AMOUNT.fullmatch(text)
    if share and 1 <= int(share["number"]) <= 100:
        return total * int(share["number"]) // 100
    if amount:
        return int(float(amount["number"]) * 1024 ** ("KMGT".index(amount["unit"]) + 1))
    return None


def processors(quota: str) -> float:
    """Return the number of CPUs that ``cpu_quota`` allows; 0 if there is no limit."""
    match = _QUOTA.fullmatch(quota)
    return int(match["number"]) / 100 if match else 0.0
