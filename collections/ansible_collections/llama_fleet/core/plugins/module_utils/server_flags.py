# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What of a release's flags an instance may use beside the role variables, and the command line of them."""

from __future__ import annotations

import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import server_settings
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, nearest, one_of
from ansible_collections.llama_fleet.core.plugins.module_utils.server_help import Flag, Flags, from_manifest, parse_help
from ansible_collections.llama_fleet.core.plugins.module_utils.systemd_text import is_one_line

__all__ = ["ALLOWED", "MANAGED", "VARIABLE", "Flag", "Flags", "arguments", "from_manifest", "parse_help", "problems", "translated"]

VARIABLE = "llama_server_extra_options"
Extra = typing.Mapping[str, typing.Any]

# Flags that releases had where there is a load mode now. They mean the same for all of them.
_LOADING = ("mlock", "mmap", "direct-io")
# What a role variable sets is not set a second time behind its back.
MANAGED = server_settings.managed()
MANAGED["llama_server_load_mode"] += _LOADING
# They open the host to whoever reaches the port, or hand work to other hosts: for those only who ask for them by name.
ALLOWED = {"router": r"models-.*", "tools": r"tools|tools-runtime", "agent": r"agent", "mcp": r"(ui-|webui-)?mcp-.*", "rpc": r"rpc"}
# They read files for whoever asks, or serve another model than the one asked for.
_FORBIDDEN = re.compile(r"media-path|(?!spec-default).+-default|fim-.*|hf-repo-.*|spec-draft-hf")
# They print something and end, or go to the background where nobody sees them.
_ENDING = ("help", "usage", "version", "cache-list", "completion-bash", "list-devices", "log-disable")


def translated(options: Extra) -> tuple[str, dict[str, typing.Any]]:
    """The load mode that ``mlock`` and its kind stand for, empty where there is none, and the options that remain."""
    on, rest = {}, {}
    for given, value in options.items():
        name = _plain(str(given))
        if name.removeprefix("no-") in _LOADING and isinstance(value, bool):
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
    words: list[str] = []
    for name in sorted(options):
        words += _words(_plain(name), options[name], flags.get(_plain(name)) if flags else None)
    return words


def _words(name: str, value: typing.Any, flag: Flag | None) -> list[str]:
    if isinstance(value, bool):
        if flag is not None and flag.is_switch:
            return [f"--{name}", "on" if value else "off"]
        return [f"--{name}" if value else f"--no-{name}"]
    values = value if isinstance(value, list) else [value]
    return [f"--{name}", *(str(item) for item in values)]


def problems(options: Extra, flags: Flags | None, allow: typing.Collection[str] = ()) -> list[Problem]:
    """Everything wrong with the extra options; what a release knows is only checked where ``flags`` are known."""
    found = []
    for given in sorted(options, key=str):
        name = _plain(str(given))
        problem = _refused(name, flags, allow) or _bad_value(name, options[given]) or (_unknown(name, options[given], flags) if flags else None)
        if problem is not None:
            found.append(problem)
    return found


def _plain(name: str) -> str:
    return name.lstrip("-").replace("_", "-")


def _refused(name: str, flags: Flags | None, allow: typing.Collection[str]) -> Problem | None:
    base = name.removeprefix("no-")
    for variable, names in MANAGED.items():
        if not _spellings(base, flags).isdisjoint(names):
            return Problem(VARIABLE, name, f"it to be left to {variable}", f"set {variable} instead")
    wanted = "no option that opens the host, serves another model or ends the server"
    for what, pattern in ALLOWED.items():
        if re.fullmatch(pattern, base) and what not in allow:
            return Problem(VARIABLE, name, wanted, f"leave it out, or name {what} in llama_server_allow if every user of the port may have that")
    if _FORBIDDEN.fullmatch(base) or base in _ENDING:
        return Problem(VARIABLE, name, wanted, "leave it out")
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
            return Problem(VARIABLE, f"{name} with a value of type {type(item).__name__}", "a string, a number, true, false or a list of strings")
        if not is_one_line(str(item)):
            return Problem(VARIABLE, f"{name} with a value that holds a newline or a control character", "printable text on one line")
    return None


def _unknown(name: str, value: typing.Any, flags: Flags) -> Problem | None:
    positive = flags.get(name)
    flag = flags.get(f"no-{name}") if value is False and not (positive and positive.is_switch) else positive
    close = nearest(name, flags.long_names)
    if flag is None:
        if positive is not None:
            return Problem(VARIABLE, f"{name}: false", f"no false for {name}, which cannot be turned off", "leave it out")
        wanted = f"an option of this release; the nearest are {one_of(close)}" if close else "an option of this release"
        return Problem(VARIABLE, name, wanted, "llama-server --help lists them all")
    if flag.removed:
        advice = flag.advice.rstrip(".") or (f"the nearest are {one_of(close)}" if close else "leave it out")
        return Problem(VARIABLE, name, "an option that this release still has", advice)
    if isinstance(value, bool):
        if flag.value and not flag.is_switch:
            return Problem(VARIABLE, f"{name}: {str(value).lower()}", f"a value ({flag.value})", "quote on, off, yes and no in YAML")
    elif not flag.value:
        return Problem(VARIABLE, f"{name} with the value {value}", f"{name}: true or {name}: false, for it takes no value")
    return None
