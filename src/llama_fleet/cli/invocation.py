# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Handle the options that are no role variables, and run plays with them."""

import dataclasses
import pathlib
import re
import typing
from collections.abc import Mapping

import click

from llama_fleet import settings
from llama_fleet.cli import privileges
from llama_fleet.run import console, events, runner

# The folders of the instances: all that read-only commands need.
ROOTS = ("llama_server_root", "llama_server_runtime_root")
WATCH_SECONDS = 5.0
# The batches of a rollout: variables of the play, not of a role.
BATCHES = SERIAL, MAX_FAIL_PERCENTAGE = "llama_fleet_serial", "llama_fleet_max_fail_percentage"

# The first line of each play that changes hosts.
BEGINNINGS = {
    "site": "Checking the variables and planning every stage",
    "down": "Stopping llama-server",
    "rollback": "Going back to an earlier generation",
}


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
        """Return the variables that --prefix sets."""
        if self.prefix is None:
            return {}
        # Units are machine-wide, so a prefix supports plain processes only.
        return {**settings.below(self.prefix, self.catalogue), "llama_server_runtime": "process"}

    def part(self, *names: str) -> dict[str, object]:
        """Return those of the variables ``names`` that --prefix sets."""
        return {name: value for name, value in self.base().items() if name in names}

    def run(self, playbook: str, variables: Mapping[str, object]) -> events.Outcome:
        """Run a play that changes the hosts."""
        become = self.is_local and self.prefix is None and privileges.needs_become(self.command)
        request = runner.Request(playbook, variables, self.inventory, become, self.check, self.diff, self.verbose)
        shown = console.Console(self.catalogue.stages[playbook])
        shown.begin(BEGINNINGS[playbook])
        return runner.run(request, shown)

    def look(self, playbook: str, variables: Mapping[str, object]) -> events.Outcome:
        """Run a read-only play, as root if that is possible, else with this user's view."""
        become = self.is_local and self.prefix is None and privileges.may_become()
        return runner.run(runner.Request(playbook, variables, self.inventory, become, verbosity=self.verbose), _remark)

    def variables(self, given: Mapping[str, typing.Any]) -> dict[str, object]:
        """Return the role variables that the command line sets."""
        return {
            name: self._value(self.catalogue.variables[name], value)
            for name, value in given.items()
            if value not in (None, ())
        }

    def _value(self, variable: settings.Variable, value: typing.Any) -> object:
        """Convert a value for the roles. Paths become absolute, because Ansible runs in another folder."""
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
    """Return the options that several commands share, or only those in ``only``."""
    folder = click.Path(file_okay=False)
    every: list[click.Parameter] = [
        click.Option(
            ["--prefix"],
            type=folder,
            callback=_absolute,
            metavar="DIR",
            help="Keep everything below this folder; needs no root.",
        ),
        click.Option(
            ["-i", "--inventory"],
            type=click.Path(exists=True, path_type=pathlib.Path),
            multiple=True,
            help="Run on the hosts of this inventory instead of this machine; may be given several times.",
        ),
        click.Option(["--check"], is_flag=True, help="Change nothing; report what would change."),
        click.Option(["--diff"], is_flag=True, help="Show the changes to files."),
        click.Option(["-v", "--verbose"], count=True, help="Show Ansible's own output; -vv and more for more detail."),
    ]
    return [option for option in every if not only or option.name in only]


class _Sizes(click.ParamType[list[str]]):
    """The batch sizes of a rollout, as Ansible's ``serial`` takes them."""

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
    """Return the options for batches, named as in Ansible."""
    return [
        click.Option(
            ["--serial", SERIAL],
            type=_Sizes(),
            metavar="N[%],...",
            help=(
                "Update hosts in batches of these sizes, for example 1,25%,100%. A batch that fails on every host "
                "stops the rollout. [default: all at once]"
            ),
        ),
        click.Option(
            ["--max-fail-percentage", MAX_FAIL_PERCENTAGE],
            type=click.IntRange(0, 100),
            metavar="N",
            help=(
                "Abort the rollout once more than N percent of a batch has failed. 0 aborts at the first failure. "
                "[default: 100]"
            ),
        ),
    ]


def shown_options(*, watched: bool = False) -> list[click.Parameter]:
    """Return the options for the output format."""
    watch = click.Option(
        ["--watch"],
        is_flag=False,
        flag_value=WATCH_SECONDS,
        type=click.FloatRange(min=0.5),
        metavar="[SECONDS]",
        help=f"Refresh every SECONDS seconds, in place, until Ctrl-C. [default: {WATCH_SECONDS:g}]",
    )
    return [
        click.Option(["--json", "as_json"], is_flag=True, help="Print JSON only."),
        click.Option(
            ["--query"],
            metavar="EXPR",
            default="",
            help="Print the result of this JMESPath expression over the list, as JSON.",
        ),
        *([watch] if watched else []),
    ]


def _absolute(_context: click.Context, _parameter: click.Parameter, value: str | None) -> pathlib.Path | None:
    if value == "":  # an unset variable of a script, which must not mean the current folder
        raise click.BadParameter("expected a folder, found an empty text. Fix: Use '.' for the current folder.")
    return pathlib.Path(value).expanduser().absolute() if value else None
