# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Translate ansible_runner's events into typed events, and collect the outcome of a run.

Hosts are untrusted, so control characters in their texts are escaped here.
"""

import collections
import dataclasses
import re
import typing
from collections.abc import Callable, Mapping, Sequence

from ansible_collections.llama_fleet.core.plugins.module_utils import progress
from llama_fleet import printed
from llama_fleet.errors import ExitCode
from llama_fleet.run import messages

LAST_LINES, LONGEST_LINE = 20, 1000
NAMESPACE = "llama_fleet.core"
LOCALHOST = "localhost"
NO_HOST = "The inventory has no host for this play."
# Actions that run on the controller only.
NOT_ON_HOSTS = (
    "ansible.builtin.include_role",
    "ansible.builtin.include_tasks",
    "ansible.builtin.set_fact",
    "ansible.builtin.validate_argument_spec",
    f"{NAMESPACE}.validate_variables",
)
# The module that plans all stages of all instances in one call, and the roles of these stages.
PLANS = f"{NAMESPACE}.plan_info"
ROLES = ("nvidia_driver", "cuda_toolkit", "llama_cpp", "gguf_model", "llama_server")

_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")
_LABEL = re.compile(r"^\s*(?:\[(?:WARNING|ERROR|DEPRECATION WARNING)\]|ERROR!):?\s*")


@dataclasses.dataclass(frozen=True)
class Progress:
    """Progress of a long stage on one host, or of one of its instances. ``role`` is empty if it is unknown."""

    host: str
    snapshot: progress.Snapshot
    role: str = ""

    @property
    def short(self) -> str:
        """Stage and percent as one printable text."""
        return printed.one_line(self.snapshot.short)

    @property
    def text(self) -> str:
        """The progress as one printable line."""
        return printed.one_line(self.snapshot.text())


@dataclasses.dataclass(frozen=True)
class StageDone:
    """A successful module call for one host or instance. With ``plan`` it changed nothing."""

    host: str
    role: str
    task: str
    plan: bool
    changed: bool
    seconds: float
    result: Mapping[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Failure:
    """A failure that stops a host; ``text`` is the module's own message."""

    host: str
    text: str
    unreachable: bool = False
    # The role, or else the module, and whether it was a plan.
    role: str = dataclasses.field(default="", compare=False)
    plan: bool = dataclasses.field(default=False, compare=False)
    problems: tuple[Mapping[str, str], ...] = dataclasses.field(
        default=(), compare=False
    )  # the same as ``text``, one by one


@dataclasses.dataclass(frozen=True)
class Remark:
    """A warning, a diff or, with -v, a line of Ansible's output."""

    text: str
    warning: bool = False


Event = Progress | StageDone | Failure | Remark
Listener = Callable[[Event], None]


@dataclasses.dataclass
class Outcome:
    """The outcome of a run: counts, failures, and the last result of each role by host, or by ``host/instance`` if the
    host has several.
    """

    calls: int = 0
    changed: int = 0
    seconds: float = 0.0
    failures: list[Failure] = dataclasses.field(default_factory=list)
    results: dict[str, dict[str, Mapping[str, typing.Any]]] = dataclasses.field(default_factory=dict)
    # The address of each host.
    addresses: dict[str, str] = dataclasses.field(default_factory=dict)
    # Hosts of batches that did not start.
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
        """Return the results of a role, or of a module outside roles, by host or ``host/instance``."""
        return {host: results[role] for host, results in self.results.items() if role in results}


def exit_code(failures: Sequence[Failure]) -> ExitCode:
    """Return FAILED if a host failed, UNREACHABLE if hosts were only not reached, else OK."""
    if any(not failure.unreachable for failure in failures):
        return ExitCode.FAILED
    return ExitCode.UNREACHABLE if failures else ExitCode.OK


class Translator:
    """A reader of ansible_runner's events that informs a listener and keeps the outcome."""

    def __init__(self, verbosity: int, listener: Listener) -> None:
        self.outcome = Outcome()
        self._verbose = verbosity > 0
        self._listener = listener
        self._remarks: set[str] = set()
        self._errors: list[str] = []
        # What Ansible said at last, in case that it ends without an error of its own.
        self._lines: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        self._hosts: set[str] = set()
        self._fleet: set[str] = set()

    def handle(self, event: Mapping[str, typing.Any]) -> bool:
        """Handle one event. Return False, so that ansible_runner keeps no file of it."""
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
            self._errors.append(NO_HOST)
        return False

    def conclude(self, return_code: int) -> None:
        """Complete the outcome when Ansible has ended, possibly before it reached a host or without a message."""
        self.outcome.untouched = sorted(self._fleet - self._hosts)
        if self.outcome.failures or (return_code == 0 and not self._errors):
            return
        said = "\n".join(self._errors or self._lines)
        ended = f"ansible-playbook ended with exit status {return_code}"
        self._fail(Failure("", said if self._errors else f"{ended}. It said:\n{said}" if said else f"{ended}."))

    def _ended(self, data: Mapping[str, typing.Any]) -> None:
        self._fleet.update(data["res"].get("fleet", ()))
        if data["resolved_action"] in NOT_ON_HOSTS:
            return
        if data["resolved_action"] == PLANS:
            self.outcome.calls += 1
            self._planned(data)
            return
        role, result = (data.get("role") or data["resolved_action"]).rpartition(".")[2], data["res"]
        if result.get("begun"):  # a stage that is reported when it has ended
            return
        # Set by the actions of the stages.
        host = "/".join(filter(None, [data["host"], result.get("turn_of")]))
        plan = result.get("plan_only", False)
        stage = StageDone(host, role, data["task"], plan, result.get("changed", False), float(data["duration"]), result)
        self.outcome.calls += 1
        self.outcome.changed += stage.changed
        self.outcome.results.setdefault(host, {})[role] = result
        if data.get("remote_addr"):
            self.outcome.addresses[data["host"]] = str(data["remote_addr"])
        self._listener(stage)

    def _planned(self, data: Mapping[str, typing.Any]) -> None:
        """Report each stage of each instance that one call has planned."""
        if data.get("remote_addr"):
            self.outcome.addresses[data["host"]] = str(data["remote_addr"])
        for name, plan in (data["res"].get("plans") or {}).items():
            host = f"{data['host']}/{name}" if data["res"].get("has_several") else data["host"]
            for role, result in plan.items():
                if role in ROLES and result and not result.get("failed"):
                    self.outcome.results.setdefault(host, {})[role] = result
                    plans, seconds = role != ROLES[0], float(data["duration"])
                    self._listener(StageDone(host, role, data["task"], plans, False, seconds, result))

    def _failed(self, data: Mapping[str, typing.Any], *, unreachable: bool) -> None:
        self._fleet.update(data["res"].get("fleet", ()))
        if data["resolved_action"] == PLANS:
            self._planned(data)
        if data.get("ignore_errors"):
            return
        self.outcome.calls += data["resolved_action"] not in NOT_ON_HOSTS
        text = messages.of_failure(data["res"])
        if not unreachable and not _is_ours(data):
            text = f"{data['task']}: {text}"
        planned = _failed_plan(data["res"]) if data["resolved_action"] == PLANS else ""
        role = planned or (data.get("role") or data["resolved_action"]).rpartition(".")[2]
        self._fail(
            Failure(
                data["host"],
                text,
                unreachable,
                role,
                bool(planned or data["res"].get("plan_only")),
                tuple(data["res"].get("problems") or ()),
            )
        )

    def _fail(self, failure: Failure) -> None:
        """Keep a failure. If it repeats the message of an earlier one and adds to it, replace that one and report only
        the addition.
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
            elif line.strip():
                self._lines.append(line[:LONGEST_LINE])

    def _warned(self, result: object) -> None:
        """Report the warnings in a result; since ansible-core 2.19 they are no events of their own."""
        warnings = result.get("warnings") if isinstance(result, Mapping) else None
        for text in warnings if isinstance(warnings, list) else []:
            self._remark(Remark(str(text), warning=True))

    def _remark(self, remark: Remark) -> None:
        # Ansible repeats some of them for each task.
        if remark.text and remark.text not in self._remarks and not self._verbose:
            self._remarks.add(remark.text)
            self._listener(remark)


def _failed_plan(result: Mapping[str, typing.Any]) -> str:
    """Return the role of the first stage whose plan has failed; empty if none has."""
    plans = (result.get("plans") or {}).values()
    return next((role for plan in plans for role in ROLES if (plan.get(role) or {}).get("failed")), "")


def _is_ours(data: Mapping[str, typing.Any]) -> bool:
    """Return whether a task is a module or a role of the collection."""
    names = (data["resolved_action"], data.get("role"), data.get("resolved_role"))
    return any(str(name).startswith(f"{NAMESPACE}.") for name in names)


def _clean(text: str) -> str:
    """Return ``text`` without Ansible's colours and with any other control character escaped."""
    return printed.text(_CONTROL.sub("", text)).strip()
