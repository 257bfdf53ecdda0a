# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The container's start: its environment becomes role variables, the play runs, then llama-server takes this process's place."""

import contextlib
import json
import os
import pathlib
import signal
import sys
import types
import typing
from collections.abc import Mapping, Sequence

from llama_fleet import events, runner, settings
from llama_fleet.console import Console, summary
from llama_fleet.errors import FleetError, UsageError

STATE = pathlib.Path("/var/lib/llama-fleet")
# The volume is the root itself, so that whatever the role keeps beside the models lies in the volume as well.
MODELS = "/models"
# What a container differs in from a host; all but the runtime can be set otherwise. Who reaches its port is for its publisher to say.
CONTAINER: Mapping[str, object] = {"gguf_model_root": MODELS, "llama_server_host": "0.0.0.0", "llama_server_allow_unauthenticated": True}
# Given to llama-server as they are.
UPSTREAM_PREFIX = "LLAMA_ARG_"


def variables(environment: Mapping[str, str], catalogue: settings.Catalogue) -> dict[str, object]:
    """The role variables of a container with this environment."""
    given = settings.from_environment(environment, catalogue)
    if "gguf_model_source" not in given:
        raise UsageError("MODEL: found nothing, wanted owner/repo, owner/repo:QUANT, a URL, a wheel or a path; run the image with '-e MODEL=owner/repo'.")
    return {**settings.below(STATE, catalogue), **CONTAINER, **given, "llama_server_runtime": "exec"}


def provision(values: Mapping[str, object], catalogue: settings.Catalogue) -> Mapping[str, typing.Any]:
    """Run the play; the result of llama_server."""
    outcome = runner.run(runner.Request("site", values), Console(catalogue.stages["site"]))
    if outcome.exit_code:
        raise FleetError("The container cannot start: see above.")
    sys.stderr.write(summary(outcome) + "\n")
    return outcome.of_role("llama_server")[events.LOCALHOST]


def server_environment(environment: Mapping[str, str], generation: Mapping[str, str], catalogue: settings.Catalogue) -> dict[str, str]:
    """The server's environment: the generation's, the user's own LLAMA_ARG_* before it, no secret that was meant for the roles."""
    secret = {name for name, variable in catalogue.variables.items() if variable.secret}
    withheld = {name.upper() for name in secret} | {name for name, target in settings.ENVIRONMENT_NAMES.items() if target in secret}
    inherited = {name: value for name, value in environment.items() if name not in withheld}
    upstream = {name: value for name, value in inherited.items() if name.startswith(UPSTREAM_PREFIX)}
    return {**inherited, **generation, **upstream}


def generation_environment(environment_file: pathlib.Path) -> dict[str, str]:
    """The environment of the generation that this file belongs to, out of its manifest, which needs no unquoting."""
    manifest = json.loads(environment_file.with_name("manifest.json").read_text(encoding="utf-8"))
    return dict(manifest["environment"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns only where the container cannot start."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the first process of a container has no default action for them
        signal.signal(number, _end)
    try:
        catalogue = settings.load()
        result = provision(variables(os.environ, catalogue), catalogue)
        environment = server_environment(os.environ, generation_environment(pathlib.Path(result["environment_file"])), catalogue)
    except FleetError as error:
        sys.stderr.write(f"Error: {error}\n")
        return error.exit_code
    _reap()
    command = [*result["command"], *(sys.argv[1:] if arguments is None else arguments)]
    sys.stderr.flush()
    return os.execve(command[0], command, environment)


def _end(number: int, _frame: types.FrameType | None) -> typing.NoReturn:
    sys.exit(128 + number)


def _reap() -> None:
    """The first process of a container inherits the dead; llama-server would not know what to do with them."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    sys.exit(main())
