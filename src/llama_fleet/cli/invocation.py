# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What a command line says apart from the roles' variables, and the runs of plays that come of it."""

import dataclasses
import pathlib
import re
import typing
from collections.abc import Mapping

import click

from llama_fleet import settings
from llama_fleet.cli import privileges
from llama_fleet.run import console, events, runner

# Where instances are kept: all that those commands need to know that look at what there is.
ROOTS = ("llama_server_root", "llama_server_runtime_root")
WATCH_SECONDS = 5.0
# In which portions a fleet is changed: variables of the play, and of no role.
BATCHES = SERIAL, MAX_FAIL_PERCENTAGE = "llama_fleet_serial", "llama_fleet_max_fail_percentage"


@dataclasses.dataclass(frozen=True)
class Invocation:
    """The command line's own options, apart from the roles' variables."""

    catalogue: settings.Catalogue
    command: str
    prefix: pathlib.Path | None
    inventory: tuple[pathlib.Path, ...]
    verbose: int
    check: bool = False
    diff: bool = False

    @property
    def is_local(self) -> bool:
        return not self.inventory

    def base(self) -> dict[str, object]:
        """What --prefix says."""
        if self.prefix is None:
            return {}
        # Units are for the whole machine: below a folder there are only processes.
        return {**settings.below(self.prefix, self.catalogue), "llama_server_runtime": "process"}

    def part(self, *names: str) -> dict[str, object]:
        """Of what --prefix says only these variables."""
        return {name: value for name, value in self.base().items() if name in names}

    def run(self, playbook: str, variables: Mapping[str, object]) -> events.Outcome:
        """Change the hosts."""
        become = self.is_local and self.prefix is None and privileges.needs_become(self.command)
        request = runner.Request(playbook, variables, self.inventory, become, self.check, self.diff, self.verbose)
        return runner.run(request, console.Console(self.catalogue.stages[playbook]))

    def look(self, playbook: str, variables: Mapping[str, object]) -> events.Outcome:
        """Ask every host: as root where that is to be had, else for what everybody may see."""
        become = self.is_local and self.prefix is None and privileges.may_become()
        return runner.run(runner.Request(playbook, variables, self.inventory, become, verbosity=self.verbose), _remark)

    def variables(self, given: Mapping[str, typing.Any]) -> dict[str, object]:
        """What was given on the command line."""
        return {
            name: self._value(self.catalogue.variables[name], value)
            for name, value in given.items()
            if value not in (None, ())
        }

    def _value(self, variable: settings.Variable, value: typing.Any) -> object:
        """As the roles want it. Ansible does not run in the user's folder: paths on this machine have to be whole."""
        if variable.kind == "dict":
            return dict(value)
        is_path = variable.kind == "path" or (
            variable.name.endswith("_source") and value.startswith(("./", "../", "~/"))
        )
        return str(pathlib.Path(value).expanduser().absolute()) if value and is_path and self.is_local else value


def _remark(event: events.Event) -> None:
    """Print remarks only, because the answer itself shows everything else."""
    if text := console.remark(event):
        click.echo(text, err=True)


def own_options(*only: str) -> list[click.Parameter]:
    """The options that several commands have."""
    folder = click.Path(file_okay=False)
    every: list[click.Parameter] = [
        click.Option(
            ["--prefix"],
            type=folder,
            callback=_absolute,
            metavar="DIR",
            help="Keep everything below this folder: a sandbox that needs no root.",
        ),
        click.Option(
            ["-i", "--inventory"],
            type=click.Path(exists=True, path_type=pathlib.Path),
            multiple=True,
            help="Hosts that are meant instead of this machine; may be given several times.",
        ),
        click.Option(["--check"], is_flag=True, help="Change nothing, tell what would change."),
        click.Option(["--diff"], is_flag=True, help="Show what changes in files."),
        click.Option(["-v", "--verbose"], count=True, help="Show Ansible's own words; -vv and more for more of them."),
    ]
    return [option for option in every if not only or option.name in only]


class _Sizes(click.ParamType[list[str]]):
    """How many hosts each batch has, as Ansible's ``serial`` takes it."""

    name = "sizes"

    def convert(self, value: typing.Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        sizes = [size.strip() for size in value.split(",")]
        if not all(re.fullmatch(r"[1-9][0-9]*|[1-9][0-9]?%|100%", size) for size in sizes):
            self.fail(
                (
                    f"expected numbers of hosts, or shares of them, with commas between, such as 1,25%,100%, "
                    f"found '{value}'."
                ),
                param,
                ctx,
            )
        return sizes


def batch_options() -> list[click.Parameter]:
    """BATCHES, by the names that they have in Ansible."""
    return [
        click.Option(
            ["--serial", SERIAL],
            type=_Sizes(),
            metavar="N[%],...",
            help=(
                "Change so many hosts at a time, such as 1,25%,100%. After a batch of which all hosts have failed "
                "none is begun. [default: all at once]"
            ),
        ),
        click.Option(
            ["--max-fail-percentage", MAX_FAIL_PERCENTAGE],
            type=click.IntRange(0, 100),
            metavar="N",
            help=(
                "Begin nothing more once more than so many hosts of a batch have failed; 0: after the first one. "
                "[default: 100]"
            ),
        ),
    ]


def shown_options(*, watched: bool = False) -> list[click.Parameter]:
    """How an answer is shown."""
    watch = click.Option(
        ["--watch"],
        is_flag=False,
        flag_value=WATCH_SECONDS,
        type=click.FloatRange(min=0.5),
        metavar="[SECONDS]",
        help=f"Show it again every so often, in place, until Ctrl-C. [default: {WATCH_SECONDS:g}]",
    )
    return [
        click.Option(["--json", "as_json"], is_flag=True, help="Print JSON and nothing else."),
        click.Option(
            ["--query"],
            metavar="EXPR",
            default="",
            help="Print, as JSON, what this JMESPath expression makes of the list.",
        ),
        *([watch] if watched else []),
    ]


def _absolute(_context: click.Context, _parameter: click.Parameter, value: str | None) -> pathlib.Path | None:
    if value == "":  # a variable of a script that is not set: not the folder that the script runs in
        raise click.BadParameter("it is empty, and a folder is wanted; '.' is the one you are in.")
    return pathlib.Path(value).expanduser().absolute() if value else None
