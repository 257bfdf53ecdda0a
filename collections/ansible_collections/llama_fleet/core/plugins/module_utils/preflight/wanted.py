# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Read an instance's requirements from the roles' variables, as the stages themselves do."""

from __future__ import annotations

import dataclasses
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import plan as cuda
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import request as llama_cpp_request
from ansible_collections.llama_fleet.core.plugins.module_utils.model import request as model_request
from ansible_collections.llama_fleet.core.plugins.module_utils.model.stage import ARGUMENTS as MODEL_ARGUMENTS
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.check import Check, all_wrong
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import arguments as server_arguments

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

Facts = typing.Mapping[str, typing.Any]
CPU = "cpu"
GPU = "GPU"  # the subject of every problem of the driver


@dataclasses.dataclass(frozen=True)
class Wanted:
    """An instance's requirements; ``plans`` are the results of the stages, by role. Unreadable ones are None."""

    variables: Facts
    plans: Facts
    release: llama_cpp_request.Request | None
    model: model_request.Request | None
    options: Options
    toolkit: cuda.Wanted

    @property
    def planned(self) -> bool:
        """Return whether every stage has planned without a problem, so that their checks need not be repeated."""
        return bool(self.plans.get("llama_cpp")) and "failed" not in self.plans

    @property
    def reported(self) -> set[str]:
        """Return the subjects of the problems that this instance's plan failed with."""
        return {str(problem.get("subject", GPU)) for problem in (self.plans.get("failed") or {}).get("problems") or ()}

    @property
    def backend(self) -> str:
        return self.options.backend

    def index(self, role: str) -> str:
        """Return the package index configured for a role, or an empty string for the host's own."""
        return str(self.variables.get(f"{role}_index_url", ""))


def read(name: str, variables: Facts, plans: Facts, token: str) -> tuple[Wanted, list[Check]]:
    """Read the requirements of the instance ``name``, and check its variables on their own."""
    driver = plans.get("nvidia_driver") or {}
    toolkit = plans.get("cuda_toolkit") or {}
    backend = str(driver.get("backend") or CPU)
    architectures = list(driver.get("cuda_architectures") or [])
    version = str((driver.get("driver") or {}).get("version", ""))
    facts = {"backend": backend, "cuda_architectures": architectures, "driver_version": version}
    facts.update(cuda_toolkit=toolkit.get("path") or "", cuda_toolkit_version=toolkit.get("version") or "")
    checks: list[Check] = []
    release_given = {**_defaults(llama_cpp_request.ARGUMENTS), **_of("llama_cpp", variables), **facts}
    release = _tried(lambda: llama_cpp_request.parse_request(release_given), checks)
    if release:
        checks += all_wrong("variables", ProblemError(*release.request_problems()))
    given = {
        **_defaults(MODEL_ARGUMENTS),
        **_of("gguf_model", variables),
        "token": token,
        "plan_only": True,
        "state": "present",
    }
    # Without a release, because the one that a choice by memory needs may not exist yet.
    model = _tried(lambda: model_request.request_of({**given, "release": ""}, check_mode=True), checks)
    server = {
        **_defaults(server_arguments.ARGUMENTS),
        **_of("llama_server", variables),
        "instance": name,
        "backend": backend,
        "release": "",
        "model": "",
    }
    wanted = cuda.Wanted(
        pathlib.Path(variables["cuda_toolkit_root"]),
        variables["cuda_toolkit_path"],
        variables["cuda_toolkit_version"],
        version,
        tuple(architectures),
    )
    return Wanted(variables, plans, release, model, server_arguments.options_of(server), wanted), checks


Request = typing.TypeVar("Request")


def _tried(read_request: typing.Callable[[], Request], checks: list[Check]) -> Request | None:
    """Return the request, or None after adding its problems to ``checks``."""
    try:
        return read_request()
    except ProblemError as error:
        checks += all_wrong("variables", error)
        return None


def _of(role: str, variables: Facts) -> dict[str, typing.Any]:
    """Return a role's variables by the names of its module's parameters."""
    return {name[len(role) + 1 :]: value for name, value in variables.items() if name.startswith(f"{role}_")}


def _defaults(arguments: typing.Mapping[str, Facts]) -> dict[str, typing.Any]:
    return {name: argument.get("default") for name, argument in arguments.items()}
