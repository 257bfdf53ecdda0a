# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run a play; the only file that imports ansible_runner."""

import dataclasses
import getpass
import json
import os
import pathlib
import sys
import time
import typing
from collections.abc import Mapping

import ansible_runner
import yaml

from ansible_collections.llama_fleet.core.plugins.module_utils import progress
from llama_fleet.errors import RunInterruptedError
from llama_fleet.run import locales, orphans, signals
from llama_fleet.run.events import LOCALHOST, NAMESPACE, Listener, Outcome, Translator
from llama_fleet.settings import COLLECTIONS

# Seconds that Ansible may take after an interruption to end itself and the jobs on its hosts.
GRACE = 3.0
# Seconds between two checks for a signal. ansible_runner reads this from a file only.
SETTINGS = {"pexpect_timeout": 0.3}
# As for an inventory without a folder, which the role describes.
UPSTREAM_LOCK = "~/.config/llama-fleet/upstream.lock"


@dataclasses.dataclass(frozen=True)
class Request:
    """A play to run, and its hosts: this machine if there is no inventory."""

    playbook: str
    variables: Mapping[str, object]
    inventories: tuple[pathlib.Path, ...] = ()
    become: bool = False
    check: bool = False
    diff: bool = False
    verbosity: int = 0


def run(request: Request, listener: Listener) -> Outcome:
    """Run a play of the collection. Raises RunInterruptedError if a signal ends it."""
    began = time.monotonic()
    translator = Translator(request.verbosity, listener)
    interruption = _Interruption()
    with orphans.private_folder(interruption.marker) as private, signals.caught(interruption.begin):
        for name in ("project", "home", "env"):
            (private / name).mkdir()
        (private / "env" / "settings").write_text(json.dumps(SETTINGS), encoding="utf-8")
        result = ansible_runner.run(
            private_data_dir=str(private),
            playbook=f"{NAMESPACE}.{request.playbook}",
            inventory=[str(path.resolve()) for path in request.inventories] or _this_machine(private, request.become),
            cmdline=_arguments(request, _variables_file(private, request.variables)),
            envvars=_environment(private, interruption.marker, local=not request.inventories),
            verbosity=request.verbosity or None,
            suppress_env_files=True,
            quiet=True,
            event_handler=translator.handle,
            cancel_callback=interruption.is_over,
        )
        if interruption.signal_number:
            orphans.kill(interruption.marker)
            raise RunInterruptedError(interruption.signal_number)
    translator.conclude(result.rc)
    translator.outcome.seconds = time.monotonic() - began
    return translator.outcome


class _Interruption:
    """The first signal of a run. Ansible is asked to end first, so that it ends the jobs on its hosts."""

    def __init__(self) -> None:
        self.marker = orphans.new_marker()
        self.signal_number = 0
        self._deadline = 0.0

    def begin(self, number: int) -> None:
        """Note the signal ``number`` if it is the first."""
        self.signal_number = self.signal_number or number

    def is_over(self) -> bool:
        """Return whether ansible_runner must kill Ansible now."""
        if self.signal_number and not self._deadline:
            self._deadline = time.monotonic() + GRACE
            orphans.interrupt(self.marker, "ansible-playbook")
        return bool(self.signal_number) and time.monotonic() > self._deadline


class _Literal(str):
    """A text that Ansible must not template."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(_Literal, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text), style='"'))


def _literal(value: object) -> object:
    if isinstance(value, str):
        return _Literal(value)
    if isinstance(value, Mapping):
        return {name: _literal(item) for name, item in value.items()}
    return [_literal(item) for item in value] if isinstance(value, list) else value


def _variables_file(private: pathlib.Path, variables: Mapping[str, object]) -> pathlib.Path:
    path = private / "variables.yml"
    with open(path, "w", encoding="utf-8", opener=_private_opener) as file:
        yaml.dump(_literal(variables), file, Dumper=_Dumper, allow_unicode=True)
    return path


def _private_opener(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


def _arguments(request: Request, variables_file: pathlib.Path) -> str:
    return " ".join(
        [
            f"--extra-vars @{variables_file}",
            *(["--check"] if request.check else []),
            *(["--diff"] if request.diff else []),
        ]
    )


def _this_machine(private: pathlib.Path, become: bool) -> dict[str, typing.Any]:
    host = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        # The home folder may be read-only or belong to another user.
        "ansible_remote_tmp": str(private / "home" / "tmp"),
        "ansible_async_dir": str(private / "home" / "async"),
        "ansible_become": become,
        # The inventory's own folder is removed after the run, and the lock with it.
        "llama_cpp_upstream_lock": UPSTREAM_LOCK,
    }
    return {"all": {"hosts": {LOCALHOST: host}}}


def _environment(private: pathlib.Path, marker: str, *, local: bool) -> dict[str, str]:
    here = {
        "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(
            filter(None, [str(COLLECTIONS), os.environ.get("ANSIBLE_COLLECTIONS_PATH", "")])
        ),
        "ANSIBLE_NOCOLOR": "1",
        progress.VARIABLE: "json",
        progress.SHOWS_TABLES: "1",
        # ansible_runner would disable the check.
        "ANSIBLE_HOST_KEY_CHECKING": os.environ.get("ANSIBLE_HOST_KEY_CHECKING", "True"),
        # No user could answer a question of ssh.
        "ANSIBLE_SSH_EXTRA_ARGS": os.environ.get("ANSIBLE_SSH_EXTRA_ARGS", "-o BatchMode=yes"),
        # This environment's ansible-playbook comes first.
        "PATH": os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        orphans.VARIABLE: marker.partition("=")[2],
        **locales.variables(),
    }
    if local:
        here["ANSIBLE_HOME"] = str(private / "home")
        here.update(_person(private / "home"))
    configuration = COLLECTIONS.parent / "ansible.cfg"
    if "ANSIBLE_CONFIG" not in os.environ and configuration.exists():
        here["ANSIBLE_CONFIG"] = str(configuration)
    return here


def _person(home: pathlib.Path) -> dict[str, str]:
    """Return HOME and USER for a user without them, such as an arbitrary uid in a container.

    pip, git and Python need them.
    """
    given = os.environ.get("HOME", "")
    person = {} if given and os.access(given, os.W_OK) else {"HOME": str(home)}
    try:
        getpass.getuser()
    except (KeyError, OSError):
        person["USER"] = "llama-fleet"
    return person
