# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Describe which builds run, why they are of that origin, and how far they are behind the newest versions."""

from collections.abc import Callable, Iterator

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import versions
from ansible_collections.llama_fleet.core.plugins.module_utils.server.status.table import origin
from llama_fleet.cli.views import Facts, Rows

_MOST = 5  # names in a sentence


def sentences(rows: Rows) -> Iterator[str]:
    """Yield a sentence for each reason and each distance of the builds that run, and for what is unknown."""
    reasons = _grouped(rows, _reason)
    for reason, names in reasons.items():
        yield f"{names if len(reasons) > 1 else ''}{reason}"
    yield from _grouped(rows, _distance)
    yield from _grouped(rows, _unknown)


def _grouped(rows: Rows, describe: Callable[[Facts], str]) -> dict[str, str]:
    """Return each description, with the names of the instances that it is about."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        if text := describe(row):
            groups.setdefault(text, []).append(f"{row['host']}/{row['instance']}")
    return {text: f"{', '.join(names[:_MOST])}{_rest(len(names) - _MOST)}: " for text, names in groups.items()}


def _rest(count: int) -> str:
    return f" and {count} more" if count > 0 else ""


def _reason(facts: Facts) -> str:
    return f"{facts['build']}: {versions.origin(facts)}." if facts.get("why") and origin(facts) else ""


def _distance(facts: Facts) -> str:
    behind = versions.behind(facts.get("newest") or {})
    return f"{facts['build']}: {behind}." if behind else ""


def _unknown(facts: Facts) -> str:
    unknown = versions.unknown_of(facts.get("newest") or {})
    return f"llama.cpp: {unknown}." if unknown else ""
