# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Build the command line's options from the roles' variables.

An option is its variable's name with hyphens, without the prefixes llama_server and gguf_model unless another role has
a variable of the same name. A secret is read from the file that the option ``--…-file`` names.
"""

import collections
import pathlib
import typing
from collections.abc import Iterable

import click

from llama_fleet.settings import ENVIRONMENT_NAMES, Catalogue, Variable
from llama_fleet.values import pair

SHORT_ROLES = ("llama_server", "gguf_model")
# Second names of options that are often given by hand.
_ALSO = {"llama_cpp_method": "--method"}
# An argument of `up`, not an option.
MODEL = "gguf_model_source"


class StageOption(click.Option):
    """An option that belongs to a role."""

    role = ""


class StagedCommand(click.Command):
    """A command whose help groups the options by role."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = collections.defaultdict(list)
        for parameter in self.get_params(context):
            record = parameter.get_help_record(context)
            if record and isinstance(parameter, click.Option):
                groups[f"Role {parameter.role}" if isinstance(parameter, StageOption) else "Options"].append(record)
        for title, records in sorted(groups.items(), key=lambda group: group[0] != "Options"):
            with formatter.section(title):
                formatter.write_dl(records)


class _Text(click.ParamType[object]):
    """A value that its variable parses."""

    def __init__(self, variable: Variable) -> None:
        self._variable = variable
        self.name = variable.kind

    def convert(self, value: typing.Any, param: click.Parameter | None, ctx: click.Context | None) -> typing.Any:
        try:
            return pair(value) if self._variable.kind == "dict" else self._variable.parse(value)
        except ValueError:
            wanted = "NAME=VALUE" if self._variable.kind == "dict" else self._variable.accepted
            self.fail(f"expected {wanted}, found '{value}'.", param, ctx)


class _SecretFile(click.Path):
    """The text of a file, or its lines for a list."""

    def __init__(self, variable: Variable) -> None:
        super().__init__(exists=True, dir_okay=False)
        self._lines = variable.kind == "list"

    def convert(self, value: typing.Any, param: click.Parameter | None, ctx: click.Context | None) -> typing.Any:
        path = pathlib.Path(str(super().convert(value, param, ctx)))
        try:
            text = path.read_text(encoding="utf-8").strip()
        except ValueError:
            self.fail(f"{path} is not a text.", param, ctx)
        if not text:
            self.fail(f"{path} is empty.", param, ctx)
        return [line.strip() for line in text.splitlines() if line.strip()] if self._lines else text


def option_name(variable: Variable, catalogue: Catalogue) -> str:
    """Return the option's name without leading hyphens."""
    same_name = [other for other in catalogue.for_users if other.short_name == variable.short_name]
    is_short = variable.role in SHORT_ROLES and len(same_name) == 1
    name = (variable.short_name if is_short else variable.name).replace("_", "-")
    return f"{name}-file" if variable.secret else name


def make(catalogue: Catalogue, only: Iterable[str] | None = None) -> list[click.Parameter]:
    """Return an option for each variable that users may set, or only for those in ``only``."""
    return [
        _option(variable, catalogue)
        for variable in catalogue.for_users
        if variable.name != MODEL and (only is None or variable.name in only)
    ]


def _option(variable: Variable, catalogue: Catalogue) -> StageOption:
    name = option_name(variable, catalogue)
    declaration = f"--{name}/--no-{name}" if variable.kind == "bool" else f"--{name}"
    option = StageOption(
        [declaration, *([_ALSO[variable.name]] if variable.name in _ALSO else []), variable.name],
        type=_type(variable),
        multiple=variable.kind == "dict",
        default=None,
        metavar="NAME=VALUE" if variable.kind == "dict" else None,
        help=_help(variable),
    )
    option.role = variable.role
    return option


def _type(variable: Variable) -> click.ParamType[typing.Any]:
    if variable.secret:
        return _SecretFile(variable)
    if variable.choices and variable.kind != "list":
        return click.Choice(variable.choices)
    simple = {"bool": click.BOOL, "int": click.INT, "float": click.FLOAT, "str": click.STRING, "path": click.STRING}
    return simple.get(variable.kind) or _Text(variable)


def _help(variable: Variable) -> str:
    if variable.secret:
        names = [name for name, target in ENVIRONMENT_NAMES.items() if target == variable.name]
        return f"File that contains it (or set {' or '.join(names)} in the environment). {variable.description}"
    if variable.default in ("", [], {}, None):
        return variable.description
    return (
        f"{variable.description} [default: "
        f"{str(variable.default).lower() if variable.kind == 'bool' else variable.default}]"
    )
