# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Call the server stage with a module's parameters."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof.proof import with_own_context
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import this_host
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.arguments import notes, options_of
from ansible_collections.llama_fleet.core.plugins.module_utils.server.stage import Stage

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.stage import Caller


def stage(module: Caller) -> dict[str, typing.Any]:
    """Bring the instance to its state, or only report the result in a dry run. Raises ProblemError."""
    dry = module.check_mode or module.params["plan_only"]
    for note in notes(module.params):
        module.warn(note)
    progress = Progress(module.params["progress_file"] or "")
    instance = Instance(options_of(module.params), this_host(), progress)
    options = with_own_context(instance.options, instance.store.current())
    result = Stage(dataclasses.replace(instance, options=options), dry).run()
    for warning in result.pop("warnings", []):
        module.warn(warning)
    return {**result, "changed": result["changed"] and not module.params["plan_only"]}
