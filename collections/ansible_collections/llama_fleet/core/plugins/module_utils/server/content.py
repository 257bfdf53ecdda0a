# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Build the content of the generation that the options ask for."""

from __future__ import annotations

import dataclasses
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.release import store as release_store
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import checks
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import options as server_options
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import secrets as server_secrets
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state import changes as server_changes
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Content

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

# Options that are no part of a generation, because they change how we ask, not what runs.
_HOW_WE_ASK = (
    "prompt",
    "ready_timeout",
    "drain_timeout",
    "state",
    "to_generation",
    "keep",
    "min_speed_ratio",
    "memory_check",
    "allow_unauthenticated",
)
_NOT_CONTENT = (
    *_HOW_WE_ASK,
    *server_options.SECRET_FIELDS,
    "runtime",
    "root",
    "runtime_root",
    "state_root",
    "instance",
)


def content_of(instance: Instance, variables: typing.Mapping[str, str], words: typing.Sequence[str]) -> Content:
    """Return the instance's generation whose server has the environment ``variables`` and the arguments ``words``."""
    options, kind = instance.options, instance.kind
    command = [str(options.server), *words]
    keys = tuple(server_secrets.keys(options))
    if keys:
        command += ["--api-key-file", str(options.key_file)]
    plain = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(options)
        if field.name not in _NOT_CONTENT
    }
    return Content(
        runtime=kind.name,
        release=options.release,
        release_fingerprint=str(release_manifest(options).get("fingerprint", "")),
        model=options.model,
        model_size=checks.model_size(options.model) if options.model else 0,
        options={name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()},
        variables=dict(variables),
        command=tuple(command),
        files=kind.render(options, command, variables),
        inputs=server_changes.inputs(options),
        api_keys=keys,
    )


def release_manifest(options: Options) -> dict[str, typing.Any]:
    """Return the manifest of the release; empty without one."""
    return release_store.read_manifest(pathlib.Path(options.release)) or {} if options.release else {}
