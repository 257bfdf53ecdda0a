# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Render settings for one release of llama-server, so that options mean the same for old and new releases."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, one_of, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import table as server_settings

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.release.flags import Flag, Flags
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.table import Setting

# A path that does not exist, so that a config.ini in a home folder cannot change the server.
NO_CONFIGURATION = "/nonexistent"
# More layers than any model has, for releases that do not accept "all".
_ALL_LAYERS = "999"

Written = tuple[dict[str, str], list[str]]
_NOTHING: Written = ({}, [])


def split(settings: typing.Iterable[Setting], flags: Flags | None) -> tuple[dict[str, str], list[str]]:
    """Return the settings as environment, and as command line where the release has no variable.

    Raises ProblemError with every setting that the release does not support.
    """
    variables, words, problems = {"XDG_CONFIG_HOME": NO_CONFIGURATION}, [], []
    for setting in settings:
        written = _written(setting, flags)
        if written is None and not setting.default:
            problems.append(_unsupported(setting, flags))
        elif written is not None:
            variables.update(written[0])
            words += written[1]
    raise_if_any(problems)
    return variables, words


def _unsupported(setting: Setting, flags: Flags | None) -> Problem:
    build = flags.build if flags else ""
    release = f"release {build}" if build else "this release"
    flag = _find(setting, flags) if flags else None
    choices = (
        []
        if flag is None or setting.kind == server_settings.LOG
        else [_ours(setting, choice) for choice in flag.choices]
    )
    can = f"one of {one_of(choices)}" if choices else "the default"
    unsupported = f"{_ours(setting, setting.value)}, which {release} does not support"
    return Problem(setting.variable, unsupported, can, "change it or build a newer release")


def _ours(setting: Setting, value: str) -> str:
    """Return a value as the role variable spells it."""
    if setting.kind == server_settings.SWITCH:
        return "true" if value == "1" else "false"
    return "direct" if setting.kind == server_settings.LOAD and value == "dio" else value


def _find(setting: Setting, flags: Flags) -> Flag | None:
    """Return the flag by the first of its names that the release still has."""
    known = (flags.get(name) for name in (setting.flag, *setting.names))
    return next((flag for flag in known if flag is not None and not flag.removed), None)


def _written(setting: Setting, flags: Flags | None) -> Written | None:
    """Return what to set for this release, or None if it does not support the value."""
    if flags is None:
        return _for_any(setting)
    written = _KINDS[setting.kind](setting, flags)
    # A release that lacks the flag for the address or the model is useless: let it report that itself.
    return ({}, [f"--{setting.flag}", setting.value]) if written is None and setting.basic else written


def _for_any(setting: Setting) -> Written:
    """Render for the newest release if none is known; such a plan is never started."""
    if setting.kind == server_settings.LORA:
        return {}, [f"--{setting.flag}", setting.value]
    return {setting.environment: _dio(setting.value) if setting.kind == server_settings.LOAD else setting.value}, []


def _assigned(flag: Flag, name: str, value: str) -> Written:
    return ({flag.environment: value}, []) if flag.environment else ({}, [f"--{name}", value])


def _dio(value: str) -> str:
    return "dio" if value == "direct" else value


# -- one function per kind ---------------------------------------------------------------------------


def _known(setting: Setting, flags: Flags) -> Written | None:
    flag = _find(setting, flags)
    return _assigned(flag, setting.flag, setting.value) if flag else None


def _limit(setting: Setting, flags: Flags) -> Written | None:
    # A release without the flag uses nothing, which is below any limit.
    return _known(setting, flags) or _NOTHING


def _choice(setting: Setting, flags: Flags) -> Written | None:
    flag = _find(setting, flags)
    if flag is None or (flag.choices and setting.value not in flag.choices):
        return None
    return _assigned(flag, setting.flag, setting.value)


def _switch(setting: Setting, flags: Flags) -> Written | None:
    return _turned(flags, (setting.flag, *setting.names), setting.value == "1")


def _turned(flags: Flags, names: typing.Sequence[str], on: bool) -> Written | None:
    """Set a switch, which is one flag with two spellings, two flags, or one flag for the non-default state."""
    for name in names:
        positive, negative = flags.get(name), flags.get(f"no-{name}")
        if positive is not None and not positive.removed:
            if positive.value:
                return _assigned(positive, name, "on" if on else "off")
            if on or negative is positive or negative is None:
                return _flipped(positive, name, on, both=negative is positive)
        if negative is not None and not negative.removed:
            return _NOTHING if on else _flipped(negative, f"no-{name}", on=True, both=False)
    return None


def _flipped(flag: Flag, name: str, on: bool, both: bool) -> Written:
    if flag.environment:
        return {flag.environment: "1" if on else "0"}, []
    if on:
        return {}, [f"--{name}"]
    return ({}, [f"--no-{name}"]) if both else _NOTHING


def _flash(setting: Setting, flags: Flags) -> Written | None:
    flag = _find(setting, flags)
    if flag is None or flag.value:
        return _known(setting, flags)
    # In such a release it was off unless requested, and there was no automatic mode.
    return _NOTHING if setting.value == "auto" else _flipped(flag, setting.flag, setting.value == "on", both=False)


def _layers(setting: Setting, flags: Flags) -> Written | None:
    flag = _find(setting, flags)
    if flag is not None and not setting.value.isdigit() and setting.value not in flag.choices:
        return _assigned(flag, setting.flag, _ALL_LAYERS)
    return _known(setting, flags)


def _load(setting: Setting, flags: Flags) -> Written | None:
    flag = _find(setting, flags)
    if flag is not None:
        value = _dio(setting.value)
        return None if flag.choices and value not in flag.choices else _assigned(flag, setting.flag, value)
    if setting.value == "auto":
        return _NOTHING
    variables: dict[str, str] = {}
    words: list[str] = []
    for name, on in (
        ("mmap", "mmap" in setting.value),
        ("mlock", "mlock" in setting.value),
        ("direct-io", setting.value == "direct"),
    ):
        turned = _turned(flags, (name,), on)
        if turned is None and (on or name == "mmap"):
            return None
        variables.update(turned[0] if turned else {})
        words += turned[1] if turned else []
    return variables, words


def _log(setting: Setting, flags: Flags) -> Written | None:
    """Return the release's number for the level, but never the number that logs the content of requests."""
    flag = _find(setting, flags)
    if flag is None:
        return None
    levels = dict(zip(flag.meanings, flag.choices))
    if not levels:
        # The scale had two steps: normal, and everything including the content of requests.
        return _assigned(flag, setting.flag, "0") if setting.value in ("info", "debug") else None
    if setting.value != "debug":
        return _assigned(flag, setting.flag, levels[setting.value]) if setting.value in levels else None
    quiet = [number for meaning, number in levels.items() if meaning != "debug"]
    return _assigned(flag, setting.flag, quiet[-1])


def _reasoning(setting: Setting, flags: Flags) -> Written | None:
    budget = flags.get("reasoning-budget")
    if _find(setting, flags) is not None or budget is None:
        return _choice(setting, flags)
    return _assigned(budget, "reasoning-budget", "0" if setting.value == "off" else "-1")


def _lora(setting: Setting, flags: Flags) -> Written | None:
    flag = flags.get(setting.flag)
    if flag is None:
        return None
    if "," in flag.value:
        return {}, [f"--{setting.flag}", setting.value]
    # Path and scale were two words, and each adapter had a flag of its own.
    return {}, [word for adapter in setting.value.split(",") for word in (f"--{setting.flag}", *adapter.rsplit(":", 1))]


def _origins(setting: Setting, flags: Flags) -> Written | None:
    # A release that cannot distinguish origins allows all of them.
    return _known(setting, flags) or (_NOTHING if setting.value == "*" else None)


_KINDS: dict[str, typing.Callable[[Setting, Flags], Written | None]] = {
    server_settings.VALUE: _known,
    server_settings.LIMIT: _limit,
    server_settings.CHOICE: _choice,
    server_settings.SWITCH: _switch,
    server_settings.FLASH: _flash,
    server_settings.LAYERS: _layers,
    server_settings.LOAD: _load,
    server_settings.LOG: _log,
    server_settings.REASONING: _reasoning,
    server_settings.LORA: _lora,
    server_settings.ORIGINS: _origins,
}
