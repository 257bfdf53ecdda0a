# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Check the host for one instance before anything changes: release, model, files, rights, address and port."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server import room as server_room
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import checks
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.requirements import unwritable

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
    from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance

_PATHS = (
    "llama_server_release",
    "llama_server_model",
    "llama_server_instance",
    "llama_server_root",
    "llama_server_runtime_root",
)


def instance_problems(
    instance: Instance, own: typing.Collection[processes.Process], dry: bool, wrong: typing.Collection[str] = ()
) -> list[Problem]:
    """Return every problem of the host, apart from those of variables that are ``wrong`` in themselves.

    The instance's ``own`` processes make room for what comes. With ``dry`` a release or a model may still be missing.
    """
    options = instance.options
    problems = checks.configuration_problems(instance.host.configuration)
    if any(name in wrong for name in _PATHS):
        return problems
    problems += checks.release_problems(options, dry) + checks.model_problems(options, dry)
    problems += checks.file_problems(options, dry)
    problems += instance.kind.requirements(options, instance.host, None if dry else instance.progress.stage)
    problems += unwritable_folder(instance)
    if "llama_server_host" not in wrong and "llama_server_port" not in wrong:
        problems += checks.host_problems(options, [process.pid for process in own], instance.pids)
    return problems


def unwritable_folder(instance: Instance) -> list[Problem]:
    """Return what keeps the instance's folder from being written."""
    options = instance.options
    obstacles = server_room.obstacles(options.folder) if options.state != "absent" else []
    return unwritable(options.folder, "llama_server_root") + obstacles
