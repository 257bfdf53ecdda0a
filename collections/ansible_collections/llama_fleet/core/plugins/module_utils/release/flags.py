# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Parse the flags of a release's llama-server from its help, and read them from the release's manifest."""

from __future__ import annotations

import dataclasses
import re
import typing

_FLAG = re.compile(r"-{1,2}[A-Za-z0-9][\w.-]*")
_ENVIRONMENT = re.compile(r"\(env: (\w+)\)")
_REMOVED = re.compile(r"the argument has been removed\.?\s*(.*?)\s*(?:\(env: \w+\)|$)")
_LISTED = re.compile(r"^\s*- ([\w.+-]+)(?: \(default\))?:\s*(\w*)", re.MULTILINE)
_ALLOWED = re.compile(r"allowed values: ((?:[\w.+-]+, )*[\w.+-]+)")
_QUOTED = re.compile(r"'([\w.+-]+)'")


@dataclasses.dataclass(frozen=True)
class Flag:
    """One option: its spellings, the name of its value (empty if it takes none) and its environment variable."""

    names: tuple[str, ...]
    value: str = ""
    environment: str = ""
    removed: bool = False
    advice: str = ""
    # The values that the help lists, and the first word of each explanation.
    choices: tuple[str, ...] = ()
    meanings: tuple[str, ...] = ()

    @property
    def is_switch(self) -> bool:
        """Return whether the value is like ``[on

        off

        auto]``, which YAML may read as a boolean.
        """
        return "on|off" in self.value

    def described(self) -> dict[str, typing.Any]:
        """Return the flag as JSON, without empty fields."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
            if value
        }


@dataclasses.dataclass(frozen=True)
class Flags:
    """All flags of one release."""

    by_name: typing.Mapping[str, Flag]
    build: str = ""

    def get(self, name: str) -> Flag | None:
        return self.by_name.get(f"--{name}")

    @property
    def environments(self) -> frozenset[str]:
        return frozenset(flag.environment for flag in self.by_name.values() if flag.environment)

    @property
    def long_names(self) -> list[str]:
        return sorted(name[2:] for name, flag in self.by_name.items() if name.startswith("--") and not flag.removed)

    @property
    def details(self) -> list[dict[str, typing.Any]]:
        """Return every flag once, for the release's manifest."""
        return [flag.described() for flag in dict.fromkeys(self.by_name.values())]


def from_manifest(manifest: typing.Mapping[str, typing.Any]) -> Flags | None:
    """Return the flags recorded in a release's manifest, or None if it records none of a server."""
    options = manifest.get("options")
    details = options.get("details") if isinstance(options, dict) else None
    fields = {field.name for field in dataclasses.fields(Flag)}
    by_name: dict[str, Flag] = {}
    for detail in details if isinstance(details, list) else []:
        if not isinstance(detail, dict) or not detail.get("names") or not set(detail) <= fields:
            return None
        values: dict[str, typing.Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in detail.items()
        }
        flag = Flag(**values)
        by_name.update(dict.fromkeys(flag.names, flag))
    return Flags(by_name, str(manifest.get("build", ""))) if "--port" in by_name else None


def parse_help(text: str) -> Flags:
    """Return the flags in the output of ``llama-server --help``."""
    by_name: dict[str, Flag] = {}
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if _FLAG.match(line)]
    for start, end in zip(starts, [*starts[1:], len(lines)]):
        flag = _parse_entry(lines[start:end])
        by_name.update(dict.fromkeys(flag.names, flag))
    return Flags(by_name)


def _parse_entry(lines: typing.Sequence[str]) -> Flag:
    rest = lines[0]
    names = []
    match = _FLAG.match(rest)
    while match:
        names.append(match.group())
        rest = rest[match.end() :]
        if not rest.startswith(","):
            break
        rest = rest[1:].lstrip()
        match = _FLAG.match(rest)
    # One space precedes the value's name, two or more the description.
    value = re.split(r"\s{2,}", rest[1:], maxsplit=1)[0] if re.match(r" \S", rest) else ""
    body = " ".join(" ".join(lines).split())
    environment = _ENVIRONMENT.search(body)
    removed = _REMOVED.search(body)
    choices, meanings = _choices(value, body, "\n".join(lines)) if value else ((), ())
    return Flag(
        tuple(names),
        value,
        environment.group(1) if environment else "",
        bool(removed),
        removed.group(1) if removed else "",
        choices,
        meanings,
    )


def _choices(value: str, body: str, text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the values of an option and their meanings.

    Read from ``{a,b}``, ``[a

    b]``, a list of allowed values, a list with explanations or quoted words, in this order.
    """
    if re.fullmatch(r"[{\[<][\w.+-]+([,|][\w.+-]+)+[}\]>]", value):
        return tuple(re.split(r"[,|]", value[1:-1])), ()
    allowed = _ALLOWED.search(body)
    if allowed:
        return tuple(allowed.group(1).split(", ")), ()
    listed = _LISTED.findall(text)
    if listed:
        return tuple(name for name, _meaning in listed), tuple(meaning for _name, meaning in listed)
    return tuple(dict.fromkeys(_QUOTED.findall(body))), ()
