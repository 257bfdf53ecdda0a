# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What happens in a run, as typed events out of ansible_runner's, and what came of it.

Hosts say a good part of it: nothing leaves here with a control character in it.
"""

import dataclasses
import re
import typing
from collections.abc import Callable, Mapping, Sequence

from ansible_collections.llama_fleet.core.plugins.module_utils import progress
from llama_fleet import printed
from llama_fleet.errors import ExitCode
from llama_fleet.run import messages

NAMESPACE = "llama_fleet.core"
LOCALHOST = "localhost"
# They run on the controller; no module runs on a host.
NOT_ON_HOSTS = (
    "ansible.builtin.include_role",
    "ansible.builtin.include_tasks",
    "ansible.builtin.set_fact",
    "ansible.builtin.validate_argument_spec",
    f"{NAMESPACE}.validate_variables",
)

_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")
_LABEL = re.compile(r"^\s*(?:\[(?:WARNING|ERROR|DEPRECATION WARNING)\]|ERROR!):?\s*")


@dataclasses.dataclass(frozen=True)
class Progress:
    """Progress of a long stage on one host, or of one of its instances."""

    host: str
    snapshot: progress.Snapshot

    @property
    def text(self) -> str:
        """The progress as one printable line."""
        return printed.one_line(self.snapshot.text())


@dataclasses.dataclass(frozen=True)
class StageDone:
    """One module call of one host, or of one of its instances, has ended well. ``plan`` ones have only looked."""

    host: str
    role: str
    task: str
    plan: bool
    changed: bool
    seconds: float
    result: Mapping[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Failure:
    """A host cannot go on; ``text`` is the module's own message."""

    host: str
    text: str
    unreachable: bool = False
    # Where: the role or else the module, and whether it only planned.
    role: str = dataclasses.field(default="", compare=False)
    plan: bool = dataclasses.field(default=False, compare=False)
    problems: tuple[Mapping[str, str], ...] = dataclasses.field(
        default=(), compare=False
    )  # the same as ``text``, one by one


@dataclasses.dataclass(frozen=True)
class Remark:
    """A warning, a diff, or (when asked for) Ansible's own words."""

    text: str
    warning: bool = False


Event = Progress | StageDone | Failure | Remark
Listener = Callable[[Event], None]


@dataclasses.dataclass
class Outcome:
    """What came of a run: counts, failures, and the last result of each role of each host, or of ``host/instance``
    where a host has several.
    """

    calls: int = 0
    changed: int = 0
    seconds: float = 0.0
    failures: list[Failure] = dataclasses.field(default_factory=list)
    results: dict[str, dict[str, Mapping[str, typing.Any]]] = dataclasses.field(default_factory=dict)
    # By host, how Ansible reaches it.
    addresses: dict[str, str] = dataclasses.field(default_factory=dict)
    # Hosts of batches that were not begun.
    untouched: list[str] = dataclasses.field(default_factory=list)

    @property
    def exit_code(self) -> ExitCode:
        """The exit status that all failures amount to."""
        return exit_code(self.failures)

    def unanswered(self, role: str) -> list[Failure]:
        """Return the failures of hosts without a result of ``role``.

        A host with one has answered, and its failure is the play's verdict on that answer.
        """
        answered = {host.partition("/")[0] for host in self.of_role(role)}
        return [failure for failure in self.failures if failure.host not in answered]

    def of_role(self, role: str) -> dict[str, Mapping[str, typing.Any]]:
        """The role's result by host, or by ``host/instance``; of a module outside of roles by its own name."""
        return {host: results[role] for host, results in self.results.items() if role in results}


def exit_code(failures: Sequence[Failure]) -> ExitCode:
    """Return FAILED if a host failed, UNREACHABLE if hosts were only not reached, else OK."""
    if any(not failure.unreachable for failure in failures):
        return ExitCode.FAILED
    return ExitCode.UNREACHABLE if failures else ExitCode.OK


class Translator:
    """Reads ansible_runner's events, tells the listener and keeps the outcome."""

    def __init__(self, verbosity: int, listener: Listener) -> None:
        self.outcome = Outcome()
        self._verbose = verbosity > 0
        self._listener = listener
        self._remarks: set[str] = set()
        self._errors: list[str] = []
        self._hosts: set[str] = set()
        self._fleet: set[str] = set()

    def handle(self, event: Mapping[str, typing.Any]) -> bool:
        """One event. Returns whether ansible_runner should keep it in a file."""
        kind, text = event["event"], _clean(event.get("stdout", ""))
        data = printed.every_text(event.get("event_data", {}))
        self._hosts.add(data.get("host", ""))
        if self._verbose and text and not progress.from_line(text):
            self._listener(Remark(text))
        self._warned(data.get("res"))
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
        elif kind == "error":
            self._errors.append(_LABEL.sub("", text))
        elif kind == "playbook_on_no_hosts_matched":
            self._errors.append("The inventory has no host that the play is for.")
        return False

    def conclude(self, return_code: int) -> None:
        """Ansible has ended. It may have failed before it came to a host, or without a word."""
        self.outcome.untouched = sorted(self._fleet - self._hosts)
        if self.outcome.failures or (return_code == 0 and not self._errors):
            return
        self._fail(Failure("", "\n".join(self._errors) or f"ansible-playbook ended with exit status {return_code}."))

    def _ended(self, data: Mapping[str, typing.Any]) -> None:
        self._fleet.update(data["res"].get("fleet", ()))
        if data["resolved_action"] in NOT_ON_HOSTS:
            return
        role, result = (data.get("role") or data["resolved_action"]).rpartition(".")[2], data["res"]
        # The stages' actions tell both.
        host = "/".join(filter(None, [data["host"], result.get("turn_of")]))
        plan = result.get("plan_only", False)
        stage = StageDone(host, role, data["task"], plan, result.get("changed", False), float(data["duration"]), result)
        self.outcome.calls += 1
        self.outcome.changed += stage.changed
        self.outcome.results.setdefault(host, {})[role] = result
        if data.get("remote_addr"):
            self.outcome.addresses[data["host"]] = str(data["remote_addr"])
        self._listener(stage)

    def _failed(self, data: Mapping[str, typing.Any], *, unreachable: bool) -> None:
        self._fleet.update(data["res"].get("fleet", ()))
        if data.get("ignore_errors"):
            return
        self.outcome.calls += data["resolved_action"] not in NOT_ON_HOSTS
        text = messages.of_failure(data["res"])
        if not unreachable and not _is_ours(data):
            text = f"{data['task']}: {text}"
        role = (data.get("role") or data["resolved_action"]).rpartition(".")[2]
        self._fail(
            Failure(
                data["host"],
                text,
                unreachable,
                role,
                bool(data["res"].get("plan_only")),
                tuple(data["res"].get("problems") or ()),
            )
        )

    def _fail(self, failure: Failure) -> None:
        """One that says again what a plan has failed with, and then more, takes that one's place; told is what is
        new.
        """
        before = [
            known
            for known in self.outcome.failures
            if known.host == failure.host and f"{failure.text}\n".startswith(f"{known.text}\n")
        ]
        self.outcome.failures = [*(known for known in self.outcome.failures if known not in before), failure]
        new = failure.text.removeprefix(before[0].text).strip() if before else failure.text
        if new:
            self._listener(dataclasses.replace(failure, text=new))

    def _said(self, text: str) -> None:
        for line in text.splitlines():
            if made := progress.from_line(line):
                self._listener(Progress(*made))
            elif _LABEL.match(line) and "ERROR" in line:
                self._errors.append(_LABEL.sub("", line))

    def _warned(self, result: object) -> None:
        """Tell what a module or its action warned of, which since ansible-core 2.19 comes with the result and as no
        event of its own.
        """
        warnings = result.get("warnings") if isinstance(result, Mapping) else None
        for text in warnings if isinstance(warnings, list) else []:
            self._remark(Remark(str(text), warning=True))

    def _remark(self, remark: Remark) -> None:
        # Ansible tells some of them once a task.
        if remark.text and remark.text not in self._remarks and not self._verbose:
            self._remarks.add(remark.text)
            self._listener(remark)


def _is_ours(data: Mapping[str, typing.Any]) -> bool:
    """Return whether a task is a module or a role of the collection."""
    names = (data["resolved_action"], data.get("role"), data.get("resolved_role"))
    return any(str(name).startswith(f"{NAMESPACE}.") for name in names)


def _clean(text: str) -> str:
    """Return what Ansible printed without its own colours, which are gone before anything else is written as an
    escape.
    """
    return printed.text(_CONTROL.sub("", text)).strip()
