# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module plan_info with the arguments of every stage of the host's instances."""

from __future__ import annotations

import dataclasses
import typing

from ansible.utils.display import Display

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.stage import lacks_binaries
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.plugin_utils import host_results, instances, overrides, role_values
from ansible_collections.llama_fleet.core.plugins.plugin_utils.host_action import HostAction, host_of
from ansible_collections.llama_fleet.core.plugins.plugin_utils.published_binaries import Wish, once_more
from ansible_collections.llama_fleet.core.plugins.plugin_utils.published_binaries import wish as wish_of
from ansible_collections.llama_fleet.core.plugins.plugin_utils.sharing import sharing_of

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem

display = Display()
Values = dict[str, typing.Any]
SERVER = "llama_server"
# Arguments that are no variables of an instance.
_NOT_THEIRS = ("plan_only", "overrides")


class ActionModule(HostAction):
    """An action without progress display, because the module ends within seconds."""

    @property
    def _stages(self) -> list[str]:
        return list(self._task.args.get("stages") or instances.STAGES)

    def run(self, tmp: str | None = None, task_vars: Values | None = None) -> Values:
        self._begin(tmp, task_vars)
        try:
            return self._plan(dict(task_vars or {}), task_vars)
        except ProblemError as error:
            problems = [dataclasses.asdict(problem) for problem in error.problems]
            return {"failed": True, "msg": str(error), "problems": problems}

    def _plan(self, variables: Values, task_vars: Values | None) -> Values:
        host = role_values.whole_host(variables, self._templar.template, {})
        arguments = {name: self._arguments(host, name, variables) for name in host.entries}
        result = self._planned(arguments, host, task_vars)
        again = self._ask_for_binaries(arguments, result, variables)
        if again:
            result = _merged(result, self._planned(again, host, task_vars))
        if not result.get("failed"):
            result["plans"] = {
                name: self._seen(
                    _complete(result["plans"], name, [role for role in asked if role in self._stages], task_vars)
                )
                for name, asked in arguments.items()
            }
        return _judged(result, host)

    def _seen(self, plan: Values) -> Values:
        return {**plan, SERVER: self._way.seen(plan[SERVER])}

    def _planned(
        self, arguments: dict[str, dict[str, Values]], host: instances.HostInstances, task_vars: Values | None
    ) -> Values:
        """Return the module's answer to the arguments of each stage of each instance."""
        hidden = {name: _secrets(given, host.specs) for name, given in arguments.items()}
        shown = {name: self._shown(given, host.specs) for name, given in arguments.items()}
        given = {"instances": shown, "secrets": hidden, "stages": self._stages}
        return self._execute_module(module_args=given, task_vars=task_vars)

    @staticmethod
    def _shown(given: dict[str, Values], specs: instances.Specs) -> dict[str, Values]:
        """Return the arguments of each stage without the secret ones."""
        hidden = _secrets(given, specs)
        return {
            role: {key: value for key, value in values.items() if key not in hidden[role]}
            for role, values in given.items()
        }

    def _ask_for_binaries(
        self, arguments: dict[str, dict[str, Values]], result: Values, variables: Values
    ) -> dict[str, dict[str, Values]]:
        """Ask for the published binaries of instances whose release would be built.

        Return the arguments of these instances with the answer, or with the reason why there is none.
        """
        plans = result.get("plans") or {}
        again = {}
        for name, given in arguments.items():
            release = given.get("llama_cpp", {})
            plan = plans.get(name) or {}
            failed = plan.get("failed") and plan.get("nvidia_driver") and not plan.get("llama_cpp")
            planned = {"failed": failed, **plan.get("llama_cpp", {})}
            wish = self._wish(release, variables)
            if wish and release.get("asks_first") and lacks_binaries(planned):
                known = wish.known(ask=True, warn=display.warning)
                again[name] = {**given, "llama_cpp": once_more(known.among(release), planned)}
        return again

    def _wish(self, release: Values, variables: Values) -> Wish | None:
        return wish_of(release, str(variables.get("inventory_dir") or "")) if release else None

    def _arguments(self, host: instances.HostInstances, name: str, variables: Values) -> dict[str, Values]:
        """Return the arguments of each stage of the instance ``name``, without those that other stages set."""
        values = {**role_values.effective(host, name), instances.ONE: name}
        roles = instances.STAGES if values["llama_server_state"] == "started" else (SERVER,)
        arguments = {role: _of(role, values, host.specs[role]) for role in roles}
        release = arguments.get("llama_cpp")
        sharing = sharing_of(release, variables, self._connection.transport, self._loader) if release else None
        if release and sharing:
            release["offered"] = sharing.offer()
        wish = self._wish(release or {}, variables)
        if release and wish:
            arguments["llama_cpp"] = wish.known(ask=wish.moving, warn=display.warning).among(release)
        return arguments


def _of(role: str, values: Values, spec: typing.Mapping[str, typing.Any]) -> Values:
    """Return the values of a role's variables by the names of its module's arguments."""
    start = len(role) + 1
    names = [name for name in spec if name not in instances.wired() and name != instances.VARIABLE]
    return {name[start:]: values[name] for name in names if name[start:] not in _NOT_THEIRS}


def _secrets(given: dict[str, Values], specs: instances.Specs) -> dict[str, Values]:
    return {
        role: {key: value for key, value in values.items() if specs[role].get(f"{role}_{key}", {}).get("no_log")}
        for role, values in given.items()
    }


def _merged(first: Values, second: Values) -> Values:
    """Return the module's first answer, with the plans of the second one in place of its own."""
    if second.get("failed") or not second.get("plans"):
        return second
    warnings = {"warnings": [*(first.get("warnings") or []), *(second.get("warnings") or [])]}
    return {**first, **warnings, "plans": {**first["plans"], **second["plans"]}}


def _complete(plans: Values, name: str, asked: typing.Collection[str], task_vars: Values | None) -> Values:
    """Return the plan of an instance; a stage that a host left out is a failure, because others need its result."""
    plan: Values = plans.get(name) or {**{role: {} for role in instances.STAGES}, "is_settled": False, "has_work": True}
    for role in asked:
        if role != "cuda_toolkit" and not plan[role] and "failed" not in plan:
            refused = host_results.admit(host_results.STAGES[role], {}, host_of(task_vars))
            plan["failed"] = {"msg": refused["msg"], "problems": refused["problems"]}
    return plan


def _judged(result: Values, host: instances.HostInstances) -> Values:
    """Return the result as a failure if an instance's plan failed, or if instances take the same GPU by accident."""
    plans: dict[str, Values] = result.get("plans") or {}
    if result.get("failed") or not plans:
        return result
    for name, plan in plans.items():
        if "failed" in plan:
            plan["failed"] = overrides.labelled({"failed": True, **plan["failed"]}, name if len(plans) > 1 else "")
    if any(plan["nvidia_driver"].get("backend") == "cuda" for plan in plans.values()):
        _add(plans, instances.shared_gpus(host))
    failures = [plan["failed"] for plan in plans.values() if "failed" in plan]
    return {**result, **_together(failures)} if failures else result


def _add(plans: dict[str, Values], problems: list[Problem]) -> None:
    """Fail the first plan with the problems of all instances together."""
    if problems:
        first = plans[next(iter(plans))]
        failure = {"msg": "\n".join(map(str, problems)), "problems": [dataclasses.asdict(each) for each in problems]}
        first["failed"] = {"failed": True, **_together([*filter(None, [first.get("failed")]), failure])}


def _together(failures: typing.Sequence[Values]) -> Values:
    return {
        "failed": True,
        "msg": "\n".join(failure["msg"] for failure in failures),
        "problems": [problem for failure in failures for problem in failure["problems"]],
    }
