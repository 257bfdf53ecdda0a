# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What of a release's flags an instance may use beside the role variables, and the command line of them."""

from __future__ import annotations

import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.systemd_text import is_one_line
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, nearest, one_of
from ansible_collections.llama_fleet.core.plugins.module_utils.release.flags import (
    Flag,
    Flags,
    from_manifest,
    parse_help,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import flag_kinds as server_flag_kinds
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.flag_kinds import (
    ALLOWED,
    LOADING,
    MANAGED,
)

__all__ = [
    "ALLOWED",
    "MANAGED",
    "VARIABLE",
    "Flag",
    "Flags",
    "arguments",
    "from_manifest",
    "parse_help",
    "problems",
    "resolved",
    "translated",
]

VARIABLE = "llama_server_extra_options"
Extra = typing.Mapping[str, typing.Any]

# A name in the environment, and what llama-server takes for on and off in there.
_ENVIRONMENT = re.compile(r"LLAMA_[A-Z0-9_]+")
_SWITCHED = {
    "1": True,
    "true": True,
    "on": True,
    "enabled": True,
    "0": False,
    "false": False,
    "off": False,
    "disabled": False,
}


def translated(options: Extra) -> tuple[str, dict[str, typing.Any]]:
    """The load mode that ``mlock`` and its kind stand for, empty where there is none, and the options that remain."""
    on, rest = {}, {}
    for given, value in options.items():
        name = _plain(str(given))
        if name.removeprefix("no-") in LOADING and isinstance(value, bool):
            on[name.removeprefix("no-")] = value != name.startswith("no-")
        else:
            rest[given] = value
    if on.get("direct-io"):
        # Beside the others it has no meaning; the caller's own check then says so.
        return ("direct", rest) if not on.get("mlock") and not on.get("mmap") else ("", dict(options))
    if on.get("mlock"):
        return "mmap+mlock" if on.get("mmap", True) else "mlock", rest
    return {None: "", True: "mmap", False: "none"}[on.get("mmap")], rest


def arguments(options: Extra, flags: Flags | None) -> list[str]:
    """The command line for options without problems, sorted by name so that their order never matters."""
    named, _problems = resolved(options, flags)
    words: list[str] = []
    for name in sorted(named):
        words += _words(name, named[name], flags.get(name) if flags else None)
    return words


def resolved(options: Extra, flags: Flags | None) -> tuple[dict[str, typing.Any], list[Problem]]:
    """Return the options by their long names, and what is wrong with those that were given in another way.

    Container arguments may name a flag by its short name and the environment by ``LLAMA_ARG_…``: only the release's own
    list knows which that is, so without it such names are left out.
    """
    named: dict[str, typing.Any] = {}
    found: list[Problem] = []
    for given in sorted(options, key=str):
        name, value = str(given), options[given]
        flag = _flag_of(name, flags)
        if _ENVIRONMENT.fullmatch(name) or _is_short(name):
            if flag is None:
                found += [_unknown_name(name, flags)] if flags else []
                continue
            name, value = _long_name(flag), _switched(value, flag) if _ENVIRONMENT.fullmatch(name) else value
        name = _plain(name)
        if name in named:
            found.append(Problem(VARIABLE, f"{name} twice, the second time as {given}", "each option once"))
        named[name] = value
    return named, found


def _is_short(name: str) -> bool:
    return name.startswith("-") and not name.startswith("--")


def _flag_of(name: str, flags: Flags | None) -> Flag | None:
    if flags is None:
        return None
    return flags.by_name.get(name) or next((flag for flag in flags.by_name.values() if flag.environment == name), None)


def _long_name(flag: Flag) -> str:
    """Return a name that the flag is known by here: one that a role variable owns, or else its first long one."""
    names = [_plain(name) for name in flag.names if name.startswith("--")] or [_plain(flag.names[0])]
    return next((name for name in names if server_flag_kinds.owner(name)), names[0])


def _switched(value: typing.Any, flag: Flag) -> typing.Any:
    return value if flag.value else _SWITCHED.get(str(value).lower(), value)


def _unknown_name(name: str, flags: Flags) -> Problem:
    known = (
        flags.environments if _ENVIRONMENT.fullmatch(name) else {short for short in flags.by_name if _is_short(short)}
    )
    close = nearest(name, known)
    wanted = (
        f"a name that this release knows; the nearest are {one_of(close)}"
        if close
        else "a name that this release knows"
    )
    return Problem(VARIABLE, name, wanted, "run 'llama-server --help' to list them all")


def _words(name: str, value: typing.Any, flag: Flag | None) -> list[str]:
    if isinstance(value, bool):
        if flag is not None and flag.is_switch:
            return [f"--{name}", "on" if value else "off"]
        return [f"--{name}" if value else f"--no-{name}"]
    values = value if isinstance(value, list) else [value]
    return [f"--{name}", *(str(item) for item in values)]


def problems(options: Extra, flags: Flags | None, allow: typing.Collection[str] = ()) -> list[Problem]:
    """Everything wrong with the extra options; what a release knows is only checked where ``flags`` are known."""
    named, found = resolved(options, flags)
    for name in sorted(named):
        problem = (
            _refused(name, flags, allow)
            or _bad_value(name, named[name])
            or (_unknown(name, named[name], flags) if flags else None)
        )
        if problem is not None:
            found.append(problem)
    return found


def _plain(name: str) -> str:
    return name.lstrip("-").replace("_", "-")


def _refused(name: str, flags: Flags | None, allow: typing.Collection[str]) -> Problem | None:
    base = name.removeprefix("no-")
    for spelling in sorted(_spellings(base, flags), key=lambda spelling: spelling != base):
        variable = server_flag_kinds.owner(spelling)
        if variable:
            return Problem(VARIABLE, name, f"it to be left to {variable}", f"set {variable} instead")
        wanted = "no option that opens the host, serves another model or ends the server"
        what = server_flag_kinds.way_in(spelling)
        if what and what not in allow:
            return Problem(
                VARIABLE,
                name,
                wanted,
                f"leave it out, or name {what} in llama_server_allow if every user of the port may have that",
            )
        flag = flags.get(spelling) if flags else None
        reason = server_flag_kinds.reason_against(spelling, flag.value if flag else "")
        if reason:
            return Problem(VARIABLE, f"{name}, which {reason}", wanted, "leave it out")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]+", name):
        return Problem(VARIABLE, repr(name), "the long name of an option, such as top-k")
    return None


def _spellings(name: str, flags: Flags | None) -> set[str]:
    """Every long name of the flag, for releases add some."""
    flag = (flags.get(name) or flags.get(f"no-{name}")) if flags else None
    return {name, *(spelling[2:] for spelling in (flag.names if flag else ()) if spelling.startswith("--"))}


def _bad_value(name: str, value: typing.Any) -> Problem | None:
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, (bool, int, float, str)):
            return Problem(
                VARIABLE,
                f"{name} with a value of type {type(item).__name__}",
                "a string, a number, true, false or a list of strings",
            )
        if not is_one_line(str(item)):
            return Problem(
                VARIABLE,
                f"{name} with a value that holds a newline or a control character",
                "printable text on one line",
            )
    return None


def _unknown(name: str, value: typing.Any, flags: Flags) -> Problem | None:
    positive = flags.get(name)
    flag = flags.get(f"no-{name}") if value is False and not (positive and positive.is_switch) else positive
    close = nearest(name, flags.long_names)
    if flag is None:
        if positive is not None:
            return Problem(
                VARIABLE, f"{name}: false", f"no false for {name}, which cannot be turned off", "leave it out"
            )
        wanted = f"an option of this release; the nearest are {one_of(close)}" if close else "an option of this release"
        return Problem(VARIABLE, name, wanted, "run 'llama-server --help' to list them all")
    if flag.removed:
        advice = flag.advice.rstrip(".") or (f"use {one_of(close)}" if close else "leave it out")
        return Problem(VARIABLE, name, "an option that this release still has", advice)
    if isinstance(value, bool):
        if flag.value and not flag.is_switch:
            return Problem(
                VARIABLE,
                f"{name}: {str(value).lower()}",
                f"a value ({flag.value})",
                "quote on, off, yes and no in YAML",
            )
    elif not flag.value:
        return Problem(
            VARIABLE, f"{name} with the value {value}", f"{name}: true or {name}: false, for it takes no value"
        )
    return None
