# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Name the folder that an instance's server may write: the one in which it saves slots."""

from __future__ import annotations

import pathlib
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

OPTION = "slot-save-path"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def folder(options: Options) -> pathlib.Path:
    """Return the folder of everything that the instance's server writes."""
    return options.state_root / options.instance


def placed(extra: typing.Mapping[str, typing.Any], state: pathlib.Path) -> dict[str, typing.Any]:
    """Return the extra options with a plain name for saved slots replaced by its path below ``state``."""
    return {
        name: str(state / value) if _is_option(name) and isinstance(value, str) and _NAME.fullmatch(value) else value
        for name, value in extra.items()
    }


def used(options: Options) -> str:
    """Return the path at which the server saves slots, or an empty string if it saves none."""
    return saved_at(options.extra_options)


def saved_at(extra: typing.Mapping[str, typing.Any]) -> str:
    """Return the path for saved slots among extra options, or an empty string."""
    return next((str(value) for name, value in extra.items() if _is_option(name)), "")


def owned(path: str, instance: str) -> pathlib.Path | None:
    """Return the folder of ``instance`` around the saved slots at ``path``, under any state root; None if it has none.

    A generation keeps the whole path, because the state root of its time may have been another.
    """
    parent = pathlib.Path(path).parent
    return parent if parent.name == instance else None


def folder_problems(options: Options) -> list[Problem]:
    """Return a problem if slots are to be saved anywhere but below the instance's own folder."""
    path = used(options)
    own = f"{folder(options)}/"
    if not path or (path.startswith(own) and _NAME.fullmatch(path[len(own) :])):
        return []
    wanted = f"a plain name such as slots, which becomes {own}slots"
    fix = "the server can write nowhere else; llama_server_state_root moves that folder"
    return [Problem("llama_server_extra_options", f"{OPTION}: {path}", wanted, fix)]


def _is_option(name: object) -> bool:
    return str(name).lstrip("-").replace("_", "-") == OPTION
