# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Check an instance's extra options against the flags of its release, and render them as a command line."""

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
    "extra_problems",
    "from_manifest",
    "parse_help",
    "resolved",
    "translated",
    "written",
]

VARIABLE = "llama_server_extra_options"
Extra = typing.Mapping[str, typing.Any]

# Names of environment variables, and the values that llama-server reads as on and off there.
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
    """Return the load mode that mlock, mmap and direct-io stand for (empty: none), and the remaining options."""
    on, rest = {}, {}
    for given, value in options.items():
        name = _plain(str(given))
        if name.removeprefix("no-") in LOADING and isinstance(value, bool):
            on[name.removeprefix("no-")] = value != name.startswith("no-")
        else:
            rest[given] = value
    if on.get("direct-io"):
        # It excludes the others; the check of extra options reports that.
        return ("direct", rest) if not on.get("mlock") and not on.get("mmap") else ("", dict(options))
    if on.get("mlock"):
        return "mmap+mlock" if on.get("mmap", True) else "mlock", rest
    return {None: "", True: "mmap", False: "none"}[on.get("mmap")], rest


def written(
    options: Extra, flags: Flags | None, in_environment: typing.Callable[[str], bool] | None = None
) -> tuple[dict[str, str], list[str]]:
    """Render valid options as environment and command line, sorted by name so that their order makes no difference.

    ``in_environment`` tells the long names that become environment where the release has a variable for them.
    """
    named, _problems = resolved(options, flags)
    variables: dict[str, str] = {}
    words: list[str] = []
    for name in sorted(named):
        variable = _variable(name, named[name], flags) if flags and in_environment and in_environment(name) else {}
        variables.update(variable)
        words += [] if variable else _words(name, named[name], flags.get(name) if flags else None)
    return variables, words


def _variable(name: str, value: typing.Any, flags: Flags) -> dict[str, str]:
    """Return the option as a variable of the environment; empty if the release has none for this value."""
    flag = flags.get(name)
    if flag is None or not flag.environment:
        return {}
    if value is False and not flag.is_switch and flags.get(f"no-{name}") is not flag:
        return {}
    if isinstance(value, bool):
        return {flag.environment: ("on" if value else "off") if flag.is_switch else str(int(value))}
    return {flag.environment: ",".join(map(str, value)) if isinstance(value, list) else str(value)}


def resolved(options: Extra, flags: Flags | None) -> tuple[dict[str, typing.Any], list[Problem]]:
    """Return the options by their long names, and the problems of those given by another name.

    Container arguments may use a short flag or ``LLAMA_ARG_…``. Only the release's own list maps these to long names,
    so without ``flags`` they are left out.
    """
    named: dict[str, typing.Any] = {}
    problems: list[Problem] = []
    for given in sorted(options, key=str):
        name, value = str(given), options[given]
        flag = _flag_of(name, flags)
        if _ENVIRONMENT.fullmatch(name) or _is_short(name):
            if flag is None:
                problems += [_unknown_name(name, flags)] if flags else []
                continue
            name, value = _long_name(flag), _switched(value, flag) if _ENVIRONMENT.fullmatch(name) else value
        name = _plain(name)
        if name in named:
            problems.append(Problem(VARIABLE, f"{name} twice, the second time as {given}", "each option once"))
        named[name] = value
    return named, problems


def _is_short(name: str) -> bool:
    return name.startswith("-") and not name.startswith("--")


def _flag_of(name: str, flags: Flags | None) -> Flag | None:
    if flags is None:
        return None
    return flags.by_name.get(name) or next((flag for flag in flags.by_name.values() if flag.environment == name), None)


def _long_name(flag: Flag) -> str:
    """Return the flag's name that a role variable owns, or else its first long name."""
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


def extra_problems(options: Extra, flags: Flags | None, allow: typing.Collection[str] = ()) -> list[Problem]:
    """Return the problems of the extra options; without ``flags`` they are not compared with the release."""
    named, problems = resolved(options, flags)
    for name in sorted(named):
        problem = (
            _refused(name, flags, allow)
            or _bad_value(name, named[name])
            or (_unknown(name, named[name], flags) if flags else None)
        )
        if problem is not None:
            problems.append(problem)
    return problems


def _plain(name: str) -> str:
    return name.lstrip("-").replace("_", "-")


def _refused(name: str, flags: Flags | None, allow: typing.Collection[str]) -> Problem | None:
    """Return a problem if the option is managed by a role variable, needs to be allowed, or is never allowed."""
    base = name.removeprefix("no-")
    for spelling in sorted(_spellings(base, flags), key=lambda spelling: spelling != base):
        variable = server_flag_kinds.owner(spelling)
        if variable:
            return Problem(VARIABLE, name, f"no {name} here, because {variable} sets it", f"set {variable} instead")
        wanted = "no option that opens the host, serves another model or ends the server"
        what = server_flag_kinds.way_in(spelling)
        if what and what not in allow:
            fix = f"leave it out, or name {what} in llama_server_allow if every user of the port may have that"
            return Problem(VARIABLE, name, wanted, fix)
        flag = flags.get(spelling) if flags else None
        reason = server_flag_kinds.reason_against(spelling, flag.value if flag else "")
        if reason:
            return Problem(VARIABLE, f"{name}, which {reason}", wanted, "leave it out")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]+", name):
        return Problem(VARIABLE, repr(name), "the long name of an option, such as top-k")
    return None


def _spellings(name: str, flags: Flags | None) -> set[str]:
    """Return every long name of the flag, because releases add names."""
    flag = (flags.get(name) or flags.get(f"no-{name}")) if flags else None
    return {name, *(spelling[2:] for spelling in (flag.names if flag else ()) if spelling.startswith("--"))}


def _bad_value(name: str, value: typing.Any) -> Problem | None:
    """Return a problem if the value has an unsupported type or holds a control character."""
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, (bool, int, float, str)):
            bad_value = f"{name} with a value of type {type(item).__name__}"
            return Problem(VARIABLE, bad_value, "a string, a number, true, false or a list of strings")
        if not is_one_line(str(item)):
            bad_value = f"{name} with a value that holds a newline or a control character"
            return Problem(VARIABLE, bad_value, "printable text on one line")
    return None


def _unknown(name: str, value: typing.Any, flags: Flags) -> Problem | None:
    """Return a problem if the release does not know the option, or not with this value."""
    positive = flags.get(name)
    flag = flags.get(f"no-{name}") if value is False and not (positive and positive.is_switch) else positive
    close = nearest(name, flags.long_names)
    if flag is None:
        if positive is not None:
            wanted = f"no false for {name}, which cannot be turned off"
            return Problem(VARIABLE, f"{name}: false", wanted, "leave it out")
        wanted = f"an option of this release; the nearest are {one_of(close)}" if close else "an option of this release"
        return Problem(VARIABLE, name, wanted, "run 'llama-server --help' to list them all")
    if flag.removed:
        advice = flag.advice.rstrip(".") or (f"use {one_of(close)}" if close else "leave it out")
        return Problem(VARIABLE, name, "an option that this release still has", advice)
    if isinstance(value, bool):
        if flag.value and not flag.is_switch:
            given, fix = f"{name}: {str(value).lower()}", "quote on, off, yes and no in YAML"
            return Problem(VARIABLE, given, f"a value ({flag.value})", fix)
    elif not flag.value:
        wanted = f"{name}: true or {name}: false, because it takes no value"
        return Problem(VARIABLE, f"{name} with the value {value}", wanted)
    return None
