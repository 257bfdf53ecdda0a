# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Plan every stage of an instance in one process."""

from __future__ import annotations

import dataclasses
import json
import typing

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import stage as cuda
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import stage as llama_cpp
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import ARGUMENTS as RELEASE_ARGUMENTS
from ansible_collections.llama_fleet.core.plugins.module_utils.model import stage as model
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import stage as nvidia
from ansible_collections.llama_fleet.core.plugins.module_utils.planning.wiring import ByRole, wired
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.server import call as server
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.arguments import (
    ARGUMENTS as SERVER_ARGUMENTS,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import PROGRESS_ARGUMENTS, RefusedError, told

Result = dict[str, typing.Any]
# The outcome of each distinct release request of a host, by its arguments.
Releases = dict[str, typing.Union[typing.Mapping[str, typing.Any], ProblemError]]


@dataclasses.dataclass
class Planned:
    """The caller of a stage that plans."""

    params: dict[str, typing.Any]
    check_mode: bool
    warnings: list[str] = dataclasses.field(default_factory=list)

    def warn(self, warning: str) -> None:
        """Keep a warning for the module."""
        self.warnings.append(warning)


@dataclasses.dataclass(frozen=True)
class Step:
    """A stage, and the argument spec of its module."""

    spec: typing.Mapping[str, typing.Mapping[str, typing.Any]]
    run: typing.Callable[[Planned], typing.Mapping[str, typing.Any]]


# By role, in the order in which each needs the results of those before it.
STEPS: dict[str, Step] = {
    "nvidia_driver": Step(nvidia.ARGUMENTS, nvidia.look),
    "cuda_toolkit": Step(cuda.ARGUMENTS, cuda.run),
    "llama_cpp": Step({**RELEASE_ARGUMENTS, **PROGRESS_ARGUMENTS}, llama_cpp.provide_release),
    "gguf_model": Step(model.ARGUMENTS, model.stage),
    "llama_server": Step({**SERVER_ARGUMENTS, **PROGRESS_ARGUMENTS}, server.stage),
}


def plan_instance(
    given: ByRole,
    check_mode: bool,
    warn: typing.Callable[[str], None],
    stages: typing.Collection[str] = tuple(STEPS),
    releases: Releases | None = None,
) -> Result:
    """Return the result of each stage's plan by role, and whether there is anything to do.

    ``given`` has the arguments of each stage; only those of the server are needed for an instance that is not to run.
    Only ``stages`` are planned. The first stage that fails ends the plan: ``failed`` then has its message and problems.
    A release that waits for the controller ends it as well. ``releases`` holds those of the host's other instances.
    """
    results: dict[str, Result] = {role: {} for role in STEPS}
    for role, step in STEPS.items():
        without_gpu = role == "cuda_toolkit" and results["nvidia_driver"].get("backend") != "cuda"
        if role not in given or role not in stages or without_gpu:
            continue
        caller = Planned({}, check_mode)
        try:
            more = {"for_instance": given["llama_server"].get("instance", ""), "plan_only": True}
            caller.params = parameters(role, step, {**given[role], **wired(role, given, results), **more})
            results[role] = {
                name: value
                for name, value in _run(role, caller, {} if releases is None else releases).items()
                if name != "diff"
            }
        except (ProblemError, RefusedError) as error:
            failure = _failure(error)
            results[role] = {**(error.result if isinstance(error, RefusedError) else {}), **failure, "failed": True}
            return {**results, "failed": failure, "is_settled": False, "has_work": True}
        finally:
            for warning in caller.warnings:
                warn(warning)
        if role == "llama_cpp" and given[role].get("asks_first") and llama_cpp.lacks_binaries(results[role]):
            return {**results, "is_settled": False, "has_work": True}
    provides = any(results[role].get("would_change", False) for role in ("llama_cpp", "gguf_model"))
    waits = provides or bool(results["llama_cpp"].get("beside"))
    is_settled = bool(results["llama_server"].get("ready", "llama_server" not in stages)) and not waits
    return {**results, "is_settled": is_settled, "has_work": provides}


def _run(role: str, caller: Planned, releases: Releases) -> typing.Mapping[str, typing.Any]:
    """Return the result of a stage; a release that several instances share is planned once. Raises ProblemError."""
    if role != "llama_cpp":
        return STEPS[role].run(caller)
    # The instance matters only where the project's binaries serve first, while the native release is built.
    alike = caller.params if caller.params["method"] == "background" else {**caller.params, "for_instance": ""}
    asked = json.dumps(alike, sort_keys=True, default=str)
    if asked not in releases:
        try:
            releases[asked] = STEPS[role].run(caller)
        except ProblemError as error:
            releases[asked] = error
    outcome = releases[asked]
    if isinstance(outcome, ProblemError):
        raise outcome
    return outcome


def parameters(role: str, step: Step, given: typing.Mapping[str, typing.Any]) -> dict[str, typing.Any]:
    """Return the arguments as the stage's own module would have them. Raises ProblemError for what it would refuse."""
    known = {name: value for name, value in given.items() if name in step.spec}
    checked = ArgumentSpecValidator(dict(step.spec)).validate(known)
    raise_if_any(Problem(role, message, "arguments that its module accepts") for message in checked.error_messages)
    return dict(checked.validated_parameters)


def _failure(error: ProblemError | RefusedError) -> Result:
    problems = told(error) if isinstance(error, ProblemError) else error.result.get("problems", [])
    return {"msg": str(error), "problems": problems}
