# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Declare each option of a module once, as a dataclass field with its type, default, choices and range.

``port: int = integer(8080, 1, 65535)`` is the whole declaration. The module's argument spec and the role's files are
derived from it; ``docs/make_roles.py`` writes the latter.
"""

from __future__ import annotations

import dataclasses
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem

T = typing.TypeVar("T")
V = typing.TypeVar("V")
Spec = dict[str, dict[str, typing.Any]]
Values = typing.Mapping[str, typing.Any]

LARGEST = 2**31 - 1
_KEY = "argument"


@dataclasses.dataclass(frozen=True)
class Argument:
    """The declaration of an option: its entry in AnsibleModule's argument_spec, how its value is parsed, and its range.

    ``also`` are values outside the range that are accepted. ``wanted`` replaces the range in the error message.
    ``in_role`` is the role's default where the module requires a value. An ``internal`` option is set by the module's
    action plugin and is no variable of the role.
    """

    spec: dict[str, typing.Any]
    parse: typing.Callable[[typing.Any], typing.Any]
    low: float | None = None
    high: float | None = None
    also: tuple[float, ...] = ()
    wanted: str = ""
    in_role: typing.Any = None
    internal: bool = False

    @property
    def default(self) -> typing.Any:
        return self.parse(self.spec.get("default", ""))

    def field(self, notes: Values) -> typing.Any:
        """Return the dataclass field of the option, with ``notes`` as further metadata."""
        # Annotated, because pylint knows fields only as annotated assignments within a dataclass.
        made: typing.Any = dataclasses.field(
            default_factory=lambda: self.default, repr=not self.spec["no_log"], metadata={**notes, _KEY: self}
        )
        return made


def _same(value: typing.Any) -> typing.Any:
    return value


def _field(
    kind: str, default: typing.Any, parse: typing.Callable[[typing.Any], typing.Any] = _same, **more: typing.Any
) -> typing.Any:
    known = {field.name for field in dataclasses.fields(Argument)}
    rest = {name: more.pop(name) for name in list(more) if name in known}
    secret = bool(more.get("no_log"))
    # Explicit, because Ansible assumes that an option whose name contains "token" or "key" is secret.
    spec = {"type": kind, "no_log": secret, **({"default": default} if default is not None else {"required": True})}
    spec.update((name, list(value) if isinstance(value, tuple) else value) for name, value in more.items() if value)
    return Argument(spec, parse, **rest).field({})


def text(
    default: str | None = "", choices: tuple[str, ...] = (), in_role: str | None = None, internal: bool = False
) -> str:
    """Declare a text. The module requires it where ``default`` is None."""
    return typing.cast("str", _field("str", default, choices=choices, in_role=in_role, internal=internal))


def secret(default: str = "") -> str:
    """Declare a text that must appear in no log, output or repr."""
    return typing.cast("str", _field("str", default, no_log=True))


def optional_path(default: str = "") -> str:
    """Declare a path that may be empty."""
    return typing.cast("str", _field("path", default))


def directory(default: str) -> pathlib.Path:
    """Declare the path of a folder."""
    return typing.cast("pathlib.Path", _field("path", default, pathlib.Path))


def integer(
    default: int, low: int | None = None, high: int = LARGEST, also: tuple[int, ...] = (), wanted: str = ""
) -> int:
    """Declare a whole number from ``low`` to ``high``; without ``low`` any."""
    return typing.cast("int", _field("int", default, low=low, high=high, also=also, wanted=wanted))


def number(default: float, low: float, high: float, wanted: str) -> float:
    """Declare a number from ``low`` to ``high``."""
    return typing.cast("float", _field("float", default, low=low, high=high, wanted=wanted))


def switch(default: bool, internal: bool = False) -> bool:
    """Declare a truth value."""
    return typing.cast("bool", _field("bool", default, internal=internal))


def texts(choices: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Declare a list of texts, empty by default."""
    return typing.cast("tuple[str, ...]", _field("list", [], tuple, elements="str", choices=choices))


def secrets() -> tuple[str, ...]:
    """Declare a list of texts that must appear in no log, output or repr."""
    return typing.cast("tuple[str, ...]", _field("list", [], tuple, elements="str", no_log=True))


def numbers() -> tuple[float, ...]:
    """Declare a list of numbers, empty by default."""
    return typing.cast("tuple[float, ...]", _field("list", [], tuple, elements="float"))


def mapping() -> dict[str, typing.Any]:
    """Declare a mapping, empty by default."""
    return typing.cast("dict[str, typing.Any]", _field("dict", {}))


def required_mapping() -> dict[str, typing.Any]:
    """Declare a mapping that the module requires."""
    return typing.cast("dict[str, typing.Any]", _field("dict", None))


def secret_mapping() -> dict[str, typing.Any]:
    """Declare a mapping whose values must appear in no log, output or repr."""
    return typing.cast("dict[str, typing.Any]", _field("dict", {}, no_log=True))


def mappings() -> tuple[dict[str, typing.Any], ...]:
    """Declare a list of mappings, empty by default."""
    return typing.cast("tuple[dict[str, typing.Any], ...]", _field("list", [], tuple, elements="dict"))


def parsed(field: T, parse: typing.Callable[[T], V]) -> V:
    """Return ``field`` with a value that ``parse`` makes of the given one. ``parse`` may raise a ProblemError."""
    given = typing.cast("dataclasses.Field[typing.Any]", field)
    before: Argument = given.metadata[_KEY]
    whole = dataclasses.replace(before, parse=lambda value: parse(before.parse(value)))
    return typing.cast("V", whole.field(given.metadata))


def noted(field: T, **notes: typing.Any) -> T:
    """Return ``field`` with further metadata."""
    given = typing.cast("dataclasses.Field[typing.Any]", field)
    argument: Argument = given.metadata[_KEY]
    return typing.cast("T", argument.field({**given.metadata, **notes}))


def declared(options: typing.Any) -> dict[str, Argument]:
    """Return the declared options of a dataclass (or of an instance of it) by name; other fields are left out."""
    return {field.name: field.metadata[_KEY] for field in dataclasses.fields(options) if _KEY in field.metadata}


def argument_spec(options: type) -> Spec:
    """Return the argument_spec of AnsibleModule for a dataclass of options."""
    return {name: dict(argument.spec) for name, argument in declared(options).items()}


def values(options: type, params: Values) -> dict[str, typing.Any]:
    """Return a module's parameters as the fields' values; raises ProblemError if one cannot be parsed."""
    return {name: argument.parse(params[name]) for name, argument in declared(options).items()}


def range_problems(options: type, role: str, given: Values) -> list[Problem]:
    """Return a problem for each number in ``given`` that is outside the range of its option."""
    problems = []
    for name, argument in declared(options).items():
        value = given[name]
        if argument.low is None or argument.high is None or value in argument.also:
            continue
        if not argument.low <= value <= argument.high:
            wanted = argument.wanted or f"a number from {argument.low} to {argument.high}"
            problems.append(Problem(f"{role}_{name}", str(value), wanted))
    return problems
