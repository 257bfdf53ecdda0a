# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Describe which builds run, why they are of that origin, and how far they are behind the newest versions."""

from collections.abc import Callable, Iterator

from llama_fleet.cli.views import Facts, Rows

_ORIGINS = {"built": "built", "packed": "packed", "upstream": "published"}
_LONG = {"built": "built from source", "packed": "a packed release", "upstream": "llama.cpp's own binaries"}
_JOINED = {"the same": "the same as", "ahead": "ahead of", "not comparable": "not comparable with"}
_MOST = 5  # names in a sentence
_CHANNELS = (("stable", "stable version"), ("nightly", "nightly build"))


def origin(facts: Facts) -> str:
    """Return where an instance's release comes from, in one word; empty if that is unknown."""
    return _ORIGINS.get(str(facts.get("origin", "")), "")


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
    why, name = facts.get("why", ""), _LONG.get(str(facts.get("origin", "")), "")
    return f"{facts['build']}: {name}, because {why}." if why and name else ""


def _distance(facts: Facts) -> str:
    newest = facts.get("newest") or {}
    parts = [
        f"{_joined(newest[f'behind_{key}'])} the newest {name} {newest[key]}"
        for key, name in _CHANNELS
        if newest.get(f"behind_{key}")
    ]
    return f"{facts['build']}: {', '.join(parts)}." if parts else ""


def _joined(distance: str) -> str:
    last = distance.rpartition(" ")[2]
    return _JOINED.get(distance) or (f"{distance} of" if last == "ahead" else distance)


def _unknown(facts: Facts) -> str:
    """Return what is unknown of the newest versions and why; empty if none was asked for."""
    newest = facts.get("newest") or {}
    reason = newest.get("unknown", "")
    missing = [name for key, name in _CHANNELS if not newest.get(key)]
    if not reason or reason == "not asked" or not missing:
        return ""
    return f"The newest {' and '.join(missing)} of llama.cpp: unknown, because {reason}."
