# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Talk to an instance and open its web interface: the commands chat and open."""

import importlib
import os
import pathlib
import sys
import typing
import webbrowser
from collections.abc import Callable, Iterator, Mapping

import click

from llama_fleet import settings
from llama_fleet.cli import options, status
from llama_fleet.cli.invocation import ROOTS, Invocation, own_options
from llama_fleet.errors import ExitCode, FleetError, UsageError
from llama_fleet.run import console, example_request

if typing.TYPE_CHECKING:
    from llama_fleet.chat.server import Target

CHAT_HELP = """Talk to the model of an instance of this machine, of a fleet (-i) or at a URL (--url).

With MESSAGE, or if the standard input is no terminal, ask once, print the answer and exit. A last word - of MESSAGE
stands for the standard input. Otherwise /help lists the commands, Ctrl-C stops an answer, and Ctrl-D leaves.

The API key is read from --api-key-file, from LLAMA_API_KEY, or from the instance's own key file.

\b
Exit status: 0 answered, 1 failed, 2 wrong usage, 3 server unreachable, 130 interrupted.
"""
OPEN_HELP = """Print the address of an instance's web interface, and open it if there is a display.

If only its host reaches the instance, print the ssh line that forwards its port.

\b
Exit status: 0 printed, 1 it has no web interface, 2 wrong usage, 3 unreachable.
"""
INPUT = "-"
# Most characters of the standard input.
LONGEST_INPUT = 4 << 20
_OWN = ("prefix", "inventory", "verbose")
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


def commands(catalogue: settings.Catalogue) -> Iterator[click.Command]:
    """Yield the two commands."""
    message = click.Argument(["message"], nargs=-1, metavar="[MESSAGE]")
    model = click.Option(["--model"], metavar="NAME", default="", help="Model to ask, if the server has several.")
    system = click.Option(["--system"], metavar="TEXT", default="", help="System prompt.")
    place = _place(catalogue)
    yield options.StagedCommand(
        "chat", callback=_chat(catalogue), params=[message, model, system, *place], help=CHAT_HELP
    )
    yield options.StagedCommand("open", callback=_open(catalogue), params=place, help=OPEN_HELP)


def _place(catalogue: settings.Catalogue) -> list[click.Parameter]:
    """Return the options that name the server."""
    file = click.Path(exists=True, dir_okay=False)
    return [
        click.Option(["--url"], metavar="URL", default="", help="Server to use instead of an instance."),
        click.Option(["--instance"], metavar="NAME", default="", help="Instance to use if there are several."),
        click.Option(["--limit"], metavar="HOST", default="", help="Host of the inventory to use."),
        click.Option(["--api-key-file"], type=file, help="File whose first line is the API key."),
        click.Option(["--certificate"], type=file, help="PEM file of the certificates to trust with --url or -i."),
        *own_options(*_OWN),
        *options.make(catalogue, ROOTS),
    ]


class _RemoteError(FleetError):
    """An instance that listens on its host only."""

    def __init__(self, result: Mapping[str, str], address: str) -> None:
        self.tunnel = example_request.tunnel(result["endpoint"], address)
        self.endpoint = result["endpoint"]
        super().__init__(
            f"{result['host']}: {result['instance']} listens on its host only. Fix: Run '{self.tunnel}' in another "
            f"terminal, then use --url {self.endpoint}."
        )


def _chat(catalogue: settings.Catalogue) -> Callable[..., int]:
    def handle(*, message: tuple[str, ...], model: str, system: str, **given: typing.Any) -> int:
        text = _asked(message)
        server, session, shown = (_later(name) for name in ("server", "session", "shown"))
        display = shown.Display(sys.stdout)
        talk = session.Conversation(server.Server(_target(catalogue, "chat", given)), display, model, system)
        return int(session.interactive(talk) if text is None else session.once(talk, text))

    return handle


def _asked(words: tuple[str, ...]) -> str | None:
    """Return the question, or None if the user is to type it. Raises UsageError."""
    if not words and sys.stdin.isatty():
        return None
    text = " ".join(words)
    if not words or words[-1] == INPUT:
        try:
            given = sys.stdin.read(LONGEST_INPUT + 1)
        except ValueError:
            raise UsageError("The standard input is no text in UTF-8.") from None
        if len(given) > LONGEST_INPUT:
            raise UsageError(f"The standard input has more than {LONGEST_INPUT} characters.")
        text = "\n\n".join(filter(None, [" ".join(words[:-1]), given.strip()]))
    if not text.strip():
        raise UsageError("There is no message. Fix: Give one as an argument or on the standard input.")
    return text


def _open(catalogue: settings.Catalogue) -> Callable[..., int]:
    def handle(**given: typing.Any) -> int:
        try:
            target = _target(catalogue, "open", given)
        except _RemoteError as remote:
            click.echo(f"{remote.tunnel}\n{remote.endpoint}/")
            return ExitCode.OK
        address = f"{target.base}/"
        if not _later("server").Server(target).has_interface():
            raise FleetError(
                f"{address}: the server has no web interface, because its release was built without one or --no-ui is "
                "set. Fix: Use './llama-fleet chat', or a release that has it, such as llama.cpp's own binaries "
                "(llama_cpp_source: 'upstream:…')."
            )
        click.echo(address)
        if any(os.environ.get(name) for name in _DISPLAYS):
            webbrowser.open(address)
        elif line := _from_elsewhere(target.base):
            click.echo(line)
        return ExitCode.OK

    return handle


def _from_elsewhere(base: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the ssh line for a user who is logged in here by ssh; empty for anyone else or for a public address."""
    words = environment.get("SSH_CONNECTION", "").split()
    return example_request.tunnel(base, words[2]) if len(words) == 4 else ""


def _target(catalogue: settings.Catalogue, command: str, given: dict[str, typing.Any]) -> "Target":
    """Return the server that the options name. Raises FleetError."""
    place = {name: given.pop(name) for name in ("url", "instance", "limit", "api_key_file", "certificate")}
    invocation = Invocation(catalogue, command, **{name: given.pop(name) for name in _OWN})
    if place["limit"] and invocation.is_local:
        raise UsageError("--limit needs an inventory. Fix: Add one with -i.")
    if place["url"] and (place["instance"] or not invocation.is_local):
        raise UsageError("--url cannot be combined with --instance or -i. Fix: Remove one of them.")
    key, authority = _key(place["api_key_file"]), place["certificate"] or ""
    target = _later("target")
    if place["url"]:
        return typing.cast("Target", target.of_url(place["url"], key, authority))
    variables = {**invocation.part(*ROOTS), **invocation.variables(given)}
    if invocation.is_local:
        roots = (pathlib.Path(str(variables.get(name, catalogue.variables[name].default))) for name in ROOTS)
        return typing.cast("Target", target.of_instance(*roots, place["instance"], key))
    endpoint = _endpoint(invocation, variables, place["instance"], place["limit"])
    return typing.cast("Target", target.of_url(endpoint, key, authority))


def _endpoint(invocation: Invocation, variables: Mapping[str, object], instance: str, limit: str) -> str:
    """Return the URL of the one running instance that fits. Raises FleetError; _RemoteError names the way to it."""
    asked: dict[str, object] = {"llama_fleet_asked_for": instance}
    asked.update(llama_fleet_asks_for_metrics=False, llama_fleet_asks_for_newest=False)
    hosts = {"llama_fleet_hosts": limit} if limit else {}
    outcome = invocation.look("status", {**variables, **asked, **hosts})
    for failure in outcome.unanswered(status.ROLE):
        click.echo(f"Error: {console.failure_text(failure)}", err=True)
    running = [row for row in status.instances(outcome) if row["endpoint"] and row["pid"]]
    if not running:
        raise FleetError("The inventory has no running instance that fits. Fix: Look with './llama-fleet status -i …'.")
    if len(running) > 1:
        choices = ", ".join(f"{row['instance']} on {row['host']}" for row in running[:10])
        raise UsageError(f"Several instances run: {choices}. Fix: Choose one with --limit and --instance.")
    address = outcome.addresses.get(running[0]["host"]) or str(running[0]["host"])
    if example_request.tunnel(running[0]["endpoint"], address):
        raise _RemoteError(running[0], address)
    return str(running[0]["endpoint"])


def _key(file: str | None) -> str:
    """Return the first line of a key file. Raises FleetError."""
    if not file:
        return ""
    try:
        key = pathlib.Path(file).read_text(encoding="ascii").partition("\n")[0].strip()
    except (OSError, ValueError):
        key = ""
    if not key or not key.isprintable():
        raise UsageError(f"--api-key-file: expected an API key in the first line of {file}, found none.")
    return key


def _later(name: str) -> typing.Any:
    """Import a module of the chat on demand, because its HTTP client costs every other command a fifth of a second."""
    return importlib.import_module(f"llama_fleet.chat.{name}")
