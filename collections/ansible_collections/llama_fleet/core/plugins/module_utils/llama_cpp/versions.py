# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Compare versions of llama.cpp's two channels: stable versions (``v0.8.0``) and nightly builds (``b11434``).

A stable version is tagged on the commit of a nightly build. Because of that only the nightly's number orders the two
channels. A nightly also prints a number like a stable one's (``0.8.0-dev-b11434``), before and after that version is
tagged, so that number says nothing about which of them is newer.
"""

from __future__ import annotations

import dataclasses
import re
import typing

LATEST = "latest"
STABLE = "stable"
CHANNELS = (LATEST, STABLE)

NOT_ASKED = "not asked"
_KINDS = ((STABLE, "stable version"), ("nightly", "nightly build"))
_ORIGINS = {"built": "built from source", "packed": "a packed release", "upstream": "llama.cpp's own binaries"}
_JOINED = {"the same": "the same as", "ahead": "ahead of", "not comparable": "not comparable with"}

_NIGHTLY = re.compile(r"b([0-9]{1,9})")
_STABLE = re.compile(r"v?([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})")
# As `llama-server --version` prints a nightly, with a comma or a bracket in front of its number.
_PRINTED = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+-dev(?:-b| \(build )([0-9]{1,9})\b.*")


@dataclasses.dataclass(frozen=True)
class Version:
    """A version: the numbers of a stable one, or None; and the number of its nightly build, 0 if unknown."""

    stable: tuple[int, int, int] | None = None
    nightly: int = 0

    def __str__(self) -> str:
        stable = "v" + ".".join(map(str, self.stable)) if self.stable else ""
        nightly = f"b{self.nightly}" if self.nightly else ""
        return f"{stable} ({nightly})" if stable and nightly else stable or nightly


def parse_version(text: str, nightly: str = "") -> Version | None:
    """Return the version that a tag or a program's output names, or None if it names none.

    ``nightly`` is the tag of the nightly build on the same commit, if that is known.
    """
    same = _NIGHTLY.fullmatch(nightly)
    number = int(same[1]) if same else 0
    build = _NIGHTLY.fullmatch(text) or _PRINTED.fullmatch(text)
    if build:
        return Version(None, int(build[1]))
    parts = _STABLE.fullmatch(text)
    if parts:
        return Version((int(parts[1]), int(parts[2]), int(parts[3])), number)
    return Version(None, number) if number else None


def compare(one: Version, other: Version) -> int | None:
    """Return -1, 0 or 1 if ``one`` is older than, as old as or newer than ``other``; None if that is unknown."""
    if one.nightly and other.nightly:
        return (one.nightly > other.nightly) - (one.nightly < other.nightly)
    if one.stable and other.stable:
        return (one.stable > other.stable) - (one.stable < other.stable)
    return None


def distance(running: Version, newest: Version) -> str:
    """Describe how far ``running`` is behind ``newest``."""
    order = compare(running, newest)
    if order is None:
        return "not comparable"
    if order == 0:
        return "the same"
    builds = abs(newest.nightly - running.nightly) if newest.nightly and running.nightly else 0
    counted = f"{builds:,} build{'s' if builds != 1 else ''} " if builds else ""
    return f"{counted}{'behind' if order < 0 else 'ahead'}"


def beside(running: Version | None, stable: Version | None, nightly: Version | None, unknown: str) -> dict[str, str]:
    """Return the newest versions and how far ``running`` is behind each; ``unknown`` says why one is None."""
    compared = {"unknown": unknown}
    for (name, _long), newest in zip(_KINDS, (stable, nightly)):
        compared[name] = str(newest or "")
        compared[f"behind_{name}"] = distance(running, newest) if running and newest else ""
    return compared


def behind(compared: typing.Mapping[str, str]) -> str:
    """Describe how far a build is behind the newest versions, from the result of ``beside``; empty if unknown."""
    return ", ".join(
        f"{_joined(compared[f'behind_{name}'])} the newest {long} {compared[name]}"
        for name, long in _KINDS
        if compared.get(f"behind_{name}")
    )


def _joined(text: str) -> str:
    return _JOINED.get(text) or (f"{text} of" if text.endswith(" ahead") else text)


def newest_of(compared: typing.Mapping[str, str]) -> str:
    """Return the newest versions in the result of ``beside`` as a clause; empty if unknown."""
    return ", ".join(f"newest {long} {compared[name]}" for name, long in _KINDS if compared.get(name))


def unknown_of(compared: typing.Mapping[str, str]) -> str:
    """Return which newest versions are unknown, and why, as a clause; empty if none is or none was asked for."""
    reason = compared.get("unknown", "")
    missing = [long for name, long in _KINDS if not compared.get(name)]
    if not reason or reason == NOT_ASKED or not missing:
        return ""
    return f"newest {' and '.join(missing)} unknown, because {reason}"


def origin(record: typing.Mapping[str, typing.Any]) -> str:
    """Describe where a release comes from, and why, as its record says; empty if it says nothing."""
    name, why = _ORIGINS.get(str(record.get("origin", "")), ""), record.get("why", "")
    return f"{name}, because {why}" if name and why else name


def newest_nightly(tags: typing.Iterable[str]) -> str | None:
    """Return the nightly tag (``b1234``) with the highest number, or None."""
    builds = [tag for tag in tags if _NIGHTLY.fullmatch(tag)]
    return max(builds, key=lambda tag: int(tag[1:]), default=None)


def newest_stable(tags: typing.Iterable[str]) -> str | None:
    """Return the stable tag (``v0.8.0``) with the highest numbers, or None."""
    versions = [tag for tag in tags if is_stable_tag(tag)]
    return max(versions, key=lambda tag: [int(part) for part in tag[1:].split(".")], default=None)


def is_nightly_tag(tag: str) -> bool:
    """Return whether ``tag`` is a nightly build's."""
    return _NIGHTLY.fullmatch(tag) is not None


def is_stable_tag(tag: str) -> bool:
    """Return whether ``tag`` is a stable version's. One with a suffix such as ``-rc1`` is none."""
    return tag.startswith("v") and _STABLE.fullmatch(tag) is not None
