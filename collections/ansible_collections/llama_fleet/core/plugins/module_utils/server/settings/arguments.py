# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The parameters of the module llama_server, and what they are as typed options."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import arguments
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import extra as server_flags
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import state_folder
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

ARGUMENTS = arguments.argument_spec(Options)


def options_of(params: typing.Mapping[str, typing.Any]) -> Options:
    """Return the module's parameters, typed."""
    values = arguments.values(Options, params)
    mode, rest = server_flags.translated(params["extra_options"])
    if not mode or params["load_mode"] in ("auto", mode):
        values.update(load_mode=mode or params["load_mode"], extra_options=rest)
    state = values["state_root"] / values["instance"]
    values.update(extra_options=state_folder.placed(values["extra_options"], state))
    return Options(**values)


def notes(params: typing.Mapping[str, typing.Any]) -> list[str]:
    """Return a note if the old memory flags in ``extra_options`` are read as a load mode."""
    mode, _rest = server_flags.translated(params["extra_options"])
    if not mode or params["load_mode"] not in ("auto", mode):
        return []
    return [
        (
            f"llama_server_extra_options: what it says of memory is taken as llama_server_load_mode: {mode}; set that "
            f"instead."
        )
    ]
