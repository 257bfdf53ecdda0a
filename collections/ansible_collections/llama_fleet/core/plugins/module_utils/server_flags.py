# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The flags that a release of llama-server knows, read from its own help, and what of them an instance may use."""

from __future__ import annotations

import dataclasses
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, nearest, one_of
from ansible_collections.llama_fleet.core.plugins.module_utils.systemd_text import is_one_line

VARIABLE = "llama_server_extra_options"

# What a role variable sets is not set a second time behind its back.
MANAGED = {
    "llama_server_model": ("model", "model-url", "docker-repo", "hf-repo", "hf-file", "hf-token", "offline"),
    "llama_server_alias": ("alias",),
    "llama_server_host": ("host",),
    "llama_server_port": ("port", "reuse-port"),
    "llama_server_ctx_size": ("ctx-size", "kv-unified-per-slot"),
    "llama_server_parallel": ("parallel",),
    "llama_server_max_tokens": ("predict", "n-predict"),
    "llama_server_batch_size": ("batch-size",),
    "llama_server_ubatch_size": ("ubatch-size",),
    "llama_server_threads": ("threads",),
    "llama_server_n_gpu_layers": ("gpu-layers", "n-gpu-layers"),
    "llama_server_devices": ("device",),
    "llama_server_api_key": ("api-key", "api-key-file"),
}
# They open the host to whoever reaches the port, hand work to other hosts, or serve another model than the one asked for.
FORBIDDEN = re.compile(r"(ui-|webui-)?mcp-.*|tools|tools-runtime|agent|rpc|media-path|models-.*|(?!spec-default).+-default|fim-.*|hf-repo-.*|spec-draft-hf")
# They print something and end, or go to the background where nobody sees them.
ENDING = ("help", "usage", "version", "cache-list", "completion-bash", "list-devices", "log-disable")

_FLAG = re.compile(r"-{1,2}[A-Za-z0-9][\w.-]*")
_ENVIRONMENT = re.compile(r"\(env: (\w+)\)")
_REMOVED = re.compile(r"the argument has been removed\.?\s*(.*?)\s*(?:\(env: \w+\)|$)")


@dataclasses.dataclass(frozen=True)
class Flag:
    """One option: every spelling of it, what its value is called (empty where it takes none), its variable."""

    names: tuple[str, ...]
    value: str = ""
    environment: str = ""
    removed: bool = False
    advice: str = ""

    @property
    def is_switch(self) -> bool:
        """``[on|off|auto]``: a value that YAML likes to read as a boolean."""
        return "on|off" in self.value


@dataclasses.dataclass(frozen=True)
class Flags:
    """All flags of one release."""

    by_name: typing.Mapping[str, Flag]

    def get(self, name: str) -> Flag | None:
        return self.by_name.get(f"--{name}")

    @property
    def environments(self) -> frozenset[str]:
        return frozenset(flag.environment for flag in self.by_name.values() if flag.environment)

    @property
    def long_names(self) -> list[str]:
        return sorted(name[2:] for name, flag in self.by_name.items() if name.startswith("--") and not flag.removed)


def parse_help(text: str) -> Flags:
    """The flags in what ``llama-server --help`` prints."""
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
    # One space before the value's name; two or more before the description.
    value = re.split(r"\s{2,}", rest[1:], maxsplit=1)[0] if re.match(r" \S", rest) else ""
    body = " ".join(" ".join(lines).split())
    environment = _ENVIRONMENT.search(body)
    removed = _REMOVED.search(body)
    return Flag(tuple(names), value, environment.group(1) if environment else "", bool(removed), removed.group(1) if removed else "")


def arguments(options: typing.Mapping[str, typing.Any], flags: Flags | None) -> list[str]:
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


def problems(options: typing.Mapping[str, typing.Any], flags: Flags | None) -> list[Problem]:
    """Everything wrong with the extra options; what a release knows is only checked where ``flags`` are known."""
    found = []
    for given in sorted(options, key=str):
        name = _plain(str(given))
        problem = _refused(name) or _bad_value(name, options[given]) or (_unknown(name, options[given], flags) if flags else None)
        if problem is not None:
            found.append(problem)
    return found


def _plain(name: str) -> str:
    return name.lstrip("-").replace("_", "-")


def _refused(name: str) -> Problem | None:
    base = name.removeprefix("no-")
    for variable, names in MANAGED.items():
        if base in names:
            return Problem(VARIABLE, name, f"it to be left to {variable}", f"set {variable} instead")
    if FORBIDDEN.fullmatch(base) or base in ENDING:
        return Problem(VARIABLE, name, "no option that opens the host, serves another model or ends the server", "leave it out")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]+", name):
        return Problem(VARIABLE, repr(name), "the long name of an option, such as flash-attn")
    return None


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
    if flag is None:
        if positive is not None:
            return Problem(VARIABLE, f"{name}: false", f"no false for {name}, which cannot be turned off", "leave it out")
        close = nearest(name, flags.long_names)
        wanted = f"an option of this release; the nearest are {one_of(close)}" if close else "an option of this release"
        return Problem(VARIABLE, name, wanted, "llama-server --help lists them all")
    if flag.removed:
        return Problem(VARIABLE, name, "an option that this release still has", flag.advice.rstrip("."))
    if isinstance(value, bool):
        if flag.value and not flag.is_switch:
            return Problem(VARIABLE, f"{name}: {str(value).lower()}", f"a value ({flag.value})", "quote on, off, yes and no in YAML")
    elif not flag.value:
        return Problem(VARIABLE, f"{name} with the value {value}", f"{name}: true or {name}: false, for it takes no value")
    return None
