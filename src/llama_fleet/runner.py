# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Runs a play and turns what happens into typed events: the only file that imports ansible_runner."""

import collections
import dataclasses
import os
import pathlib
import re
import signal
import sys
import tempfile
import time
import types
import typing
import uuid
from collections.abc import Callable, Mapping

import ansible_runner
import yaml

from llama_fleet import leftovers
from llama_fleet.errors import ExitCode, RunInterruptedError
from llama_fleet.settings import COLLECTIONS

NAMESPACE = "llama_fleet.core"
LOCALHOST = "localhost"
# They run on the controller; no module runs on a host.
CHECKS = ("ansible.builtin.validate_argument_spec", f"{NAMESPACE}.validate_variables")
# Seconds that Ansible has to end by itself, and to end the jobs on its hosts, after an interruption.
GRACE = 3.0

_PROGRESS = re.compile(r"\[(?P<host>[^\]]+)\] (?P<text>\S.*)")
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")
_LABEL = re.compile(r"^\s*(?:\[(?:WARNING|ERROR|DEPRECATION WARNING)\]|ERROR!):?\s*")


@dataclasses.dataclass(frozen=True)
class Progress:
    """A long stage is this far."""

    host: str
    text: str


@dataclasses.dataclass(frozen=True)
class StageDone:
    """One module call of one host has ended well: the role's first there, or a later one."""

    host: str
    role: str
    task: str
    turn: int
    changed: bool
    seconds: float
    result: Mapping[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Failure:
    """A host cannot go on; ``text`` is the module's own message."""

    host: str
    text: str
    unreachable: bool = False


@dataclasses.dataclass(frozen=True)
class Remark:
    """A warning, a diff, or (when asked for) Ansible's own words."""

    text: str
    warning: bool = False


Event = Progress | StageDone | Failure | Remark
Listener = Callable[[Event], None]


@dataclasses.dataclass(frozen=True)
class Request:
    """What to run and where. Without inventories it is this machine."""

    playbook: str
    variables: Mapping[str, object]
    inventories: tuple[pathlib.Path, ...] = ()
    become: bool = False
    check: bool = False
    diff: bool = False
    verbosity: int = 0


@dataclasses.dataclass
class Outcome:
    """What came of a run: counts, failures, and the last result of each module of each host."""

    calls: int = 0
    changed: int = 0
    seconds: float = 0.0
    failures: list[Failure] = dataclasses.field(default_factory=list)
    results: dict[str, dict[str, Mapping[str, typing.Any]]] = dataclasses.field(default_factory=dict)

    @property
    def exit_code(self) -> ExitCode:
        if any(not failure.unreachable for failure in self.failures):
            return ExitCode.FAILED
        return ExitCode.UNREACHABLE if self.failures else ExitCode.OK

    def of_role(self, role: str) -> dict[str, Mapping[str, typing.Any]]:
        """The role's result by host."""
        return {host: results[role] for host, results in self.results.items() if role in results}


def run(request: Request, listener: Listener) -> Outcome:
    """Run a play of the collection to its end; RunInterruptedError where SIGINT or SIGTERM ends it."""
    began = time.monotonic()
    translator = Translator(request.verbosity, listener)
    with tempfile.TemporaryDirectory(prefix="llama-fleet-") as folder, _Interruption() as interruption:
        private = pathlib.Path(folder)
        for name in ("project", "home"):
            (private / name).mkdir()
        result = ansible_runner.run(
            private_data_dir=folder,
            playbook=f"{NAMESPACE}.{request.playbook}",
            inventory=[str(path.resolve()) for path in request.inventories] or _this_machine(private, request.become),
            cmdline=_arguments(request, _variables_file(private, request.variables)),
            envvars=_environment(private, interruption.marker, local=not request.inventories),
            verbosity=request.verbosity or None,
            settings={"pexpect_timeout": 1},
            suppress_env_files=True,
            quiet=True,
            event_handler=translator.handle,
            cancel_callback=interruption.is_over,
        )
        if interruption.signal_number:
            leftovers.kill(interruption.marker)
            raise RunInterruptedError(interruption.signal_number)
    translator.conclude(result.rc)
    translator.outcome.seconds = time.monotonic() - began
    return translator.outcome


class Translator:
    """Reads ansible_runner's events, tells the listener and keeps the outcome."""

    def __init__(self, verbosity: int, listener: Listener) -> None:
        self.outcome = Outcome()
        self._verbose = verbosity > 0
        self._listener = listener
        self._remarks: set[str] = set()
        self._errors: list[str] = []
        self._turns: collections.Counter[tuple[str, str]] = collections.Counter()

    def handle(self, event: Mapping[str, typing.Any]) -> bool:
        """One event. Returns whether ansible_runner should keep it in a file."""
        kind, text = event["event"], _clean(event.get("stdout", ""))
        data = event.get("event_data", {})
        if self._verbose and text:
            self._listener(Remark(text))
        if kind == "runner_on_ok":
            self._ended(data)
        elif kind in ("runner_on_failed", "runner_on_unreachable"):
            self._failed(data, unreachable=kind == "runner_on_unreachable")
        elif kind == "verbose":
            self._said(text)
        elif kind in ("warning", "system_warning"):
            self._remark(Remark(_LABEL.sub("", text), warning=True))
        elif kind == "runner_on_file_diff":
            self._remark(Remark(text))
        elif kind == "error" or text.startswith(("ERROR!", "[ERROR]")):
            self._errors.append(_LABEL.sub("", text))
        elif kind == "playbook_on_no_hosts_matched":
            self._errors.append("The inventory has no host that the play is for.")
        return False

    def conclude(self, return_code: int) -> None:
        """Ansible has ended. It may have failed before it came to a host, or without a word."""
        if self.outcome.failures or (return_code == 0 and not self._errors):
            return
        self._fail(Failure("", "\n".join(self._errors) or f"ansible-playbook ended with exit status {return_code}."))

    def _ended(self, data: Mapping[str, typing.Any]) -> None:
        if data["resolved_action"] in CHECKS:
            return
        host, role, result = data["host"], (data.get("role") or "").rpartition(".")[2], data["res"]
        stage = StageDone(host, role, data["task"], self._turns[host, role], result.get("changed", False), float(data["duration"]), result)
        self._turns[host, role] += 1
        self.outcome.calls += 1
        self.outcome.changed += stage.changed
        self.outcome.results.setdefault(host, {})[role] = result
        self._listener(stage)

    def _failed(self, data: Mapping[str, typing.Any], *, unreachable: bool) -> None:
        if data.get("ignore_errors"):
            return
        self.outcome.calls += data["resolved_action"] not in CHECKS
        text = str(data["res"].get("msg") or "the task failed without a message").strip()
        self._fail(Failure(data["host"], text, unreachable))

    def _fail(self, failure: Failure) -> None:
        self.outcome.failures.append(failure)
        self._listener(failure)

    def _said(self, text: str) -> None:
        for line in text.splitlines():
            if (match := _PROGRESS.fullmatch(line)) and match["host"] not in ("WARNING", "ERROR", "DEPRECATION WARNING"):
                self._listener(Progress(match["host"], match["text"]))
            elif _LABEL.match(line):
                self._errors += [_LABEL.sub("", line)] if "ERROR" in line else []

    def _remark(self, remark: Remark) -> None:
        # Ansible tells some of them once a task.
        if remark.text and remark.text not in self._remarks and not self._verbose:
            self._remarks.add(remark.text)
            self._listener(remark)


class _Interruption:
    """Catches SIGINT and SIGTERM, first asks Ansible to end, so that it ends the jobs on its hosts."""

    def __init__(self) -> None:
        self.marker = f"{leftovers.VARIABLE}={uuid.uuid4().hex}"
        self.signal_number = 0
        self._deadline = 0.0
        self._former: dict[int, typing.Any] = {}

    def __enter__(self) -> "typing.Self":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._former[number] = signal.signal(number, self._catch)
        return self

    def __exit__(self, *_details: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _catch(self, number: int, _frame: types.FrameType | None) -> None:
        self.signal_number = self.signal_number or number

    def is_over(self) -> bool:
        """Whether ansible_runner has to kill Ansible now."""
        if self.signal_number and not self._deadline:
            self._deadline = time.monotonic() + GRACE
            leftovers.interrupt(self.marker, "ansible-playbook")
        return bool(self.signal_number) and time.monotonic() > self._deadline


class _Literal(str):
    """A text that Ansible must not take for a template."""

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
    return " ".join([f"--extra-vars @{variables_file}", *(["--check"] if request.check else []), *(["--diff"] if request.diff else [])])


def _this_machine(private: pathlib.Path, become: bool) -> dict[str, typing.Any]:
    host = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        # Not in the home folder: it may be read-only, or another user's.
        "ansible_remote_tmp": str(private / "home" / "tmp"),
        "ansible_async_dir": str(private / "home" / "async"),
        "ansible_become": become,
    }
    return {"all": {"hosts": {LOCALHOST: host}}}


def _environment(private: pathlib.Path, marker: str, *, local: bool) -> dict[str, str]:
    here = {
        "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(filter(None, [str(COLLECTIONS), os.environ.get("ANSIBLE_COLLECTIONS_PATH", "")])),
        "ANSIBLE_NOCOLOR": "1",
        # ansible_runner would switch the check off.
        "ANSIBLE_HOST_KEY_CHECKING": os.environ.get("ANSIBLE_HOST_KEY_CHECKING", "True"),
        # Nobody sees or answers a question that ssh asks.
        "ANSIBLE_SSH_EXTRA_ARGS": os.environ.get("ANSIBLE_SSH_EXTRA_ARGS", "-o BatchMode=yes"),
        # The scripts of this environment first: ansible-playbook is one of them.
        "PATH": os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        leftovers.VARIABLE: marker.partition("=")[2],
    }
    if local:
        here["ANSIBLE_HOME"] = str(private / "home")
    configuration = COLLECTIONS.parent / "ansible.cfg"
    if "ANSIBLE_CONFIG" not in os.environ and configuration.exists():
        here["ANSIBLE_CONFIG"] = str(configuration)
    return here


def _clean(text: str) -> str:
    return _CONTROL.sub("", text).strip()
