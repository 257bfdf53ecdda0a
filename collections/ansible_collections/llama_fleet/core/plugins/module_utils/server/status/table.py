# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Format an instance's facts as the cells of the table of status."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import joined

_ORIGINS = {"built": "built", "packed": "packed", "upstream": "published"}
Facts = typing.Mapping[str, typing.Any]


def cells(facts: Facts) -> dict[str, str]:
    """Return the text of each column, by the column's name."""
    return {
        "INSTANCE": facts["instance"],
        "STATE": facts["state"],
        "GENERATION": count(facts["generation"] or -1),
        "BUILD": facts["build"],
        "ORIGIN": origin(facts),
        "MODEL": facts["model"].rpartition("/")[2],
        "QUANT": facts["quant"],
        "DEVICE": facts["device"],
        "MEMORY": _mib(facts["memory_mib"]),
        "GPU": _mib(facts["gpu_memory_mib"]),
        "SLOTS": f"{facts['slots_busy']}/{facts['slots']}" if facts["slots"] >= 0 else count(facts["slots_busy"]),
        "TOKENS": count(facts["tokens_predicted"]),
        "TOKENS/S": speed(facts["tokens_per_second"]),
        "UPTIME": uptime(facts["uptime_seconds"]),
    }


def lines(instances: typing.Sequence[Facts]) -> list[str]:
    """Return the table of a host's instances, followed by what is unknown and what runs in the background."""
    remarks = [f"{facts['instance']}: unknown: {sentence}" for facts in instances for sentence in facts["unknown"]]
    remarks += [f"{facts['instance']}: {facts['background']}" for facts in instances if facts.get("background")]
    return [*joined([cells(facts) for facts in instances]), *remarks] or ["no instance"]


def origin(facts: Facts) -> str:
    """Return where an instance's release comes from, in one word; empty if that is unknown."""
    return _ORIGINS.get(str(facts.get("origin", "")), "")


def count(number: int) -> str:
    """Format a count; empty if it is negative, which stands for unknown."""
    return f"{number:,}" if number >= 0 else ""


def speed(number: float) -> str:
    """Format tokens per second; empty if negative, which stands for unknown."""
    return f"{number:.1f}" if number >= 0 else ""


def _mib(number: int) -> str:
    if number <= 0:
        return ""
    return f"{number / 1024:.1f} GiB" if number >= 1024 else f"{number} MiB"


def uptime(seconds: int) -> str:
    """Format seconds in the two largest units: ``3 d 4 h``."""
    if seconds <= 0:
        return ""
    units = (("d", seconds // 86400), ("h", seconds // 3600 % 24), ("min", seconds // 60 % 60), ("s", seconds % 60))
    first = next(index for index, (_unit, number) in enumerate(units) if number)
    return " ".join(f"{number} {unit}" for unit, number in units[first : first + 2] if number)
