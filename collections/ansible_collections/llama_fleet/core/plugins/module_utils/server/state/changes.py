# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What makes a wanted generation another one than the current, in the words of the role's variables."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import files_wanted

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.table import Setting
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Content, Generation

_PREFIX = "llama_server_"
# The parts of a manifest that say the same as an option, each by its name.
_PARTS = {
    "runtime": "runtime",
    "release": "release",
    "release_fingerprint": "release",
    "model": "model",
    "model_size": "model",
    "api_key_sha256": "api_key",
}
# Large files are told apart by their size, as the model is.
_SMALL = 16 << 20


def changed_parts(current: Generation | None, content: Content, settings: typing.Iterable[Setting] = ()) -> list[str]:
    """The role variables that differ, and where none of them explains it C(environment), C(command) or C(unit)."""
    if current is None or current.fingerprint == content.fingerprint:
        return []
    before, after = current.manifest, content.described()
    found = {part for name, part in _PARTS.items() if before.get(name) != after[name]}
    found |= _keys(before.get("inputs", {}), after["inputs"])
    options = before.get("options", {})
    found |= {name for name, value in after["options"].items() if options.get(name, value) != value}
    found = {f"{_PREFIX}{name}" for name in found}
    if not found:
        by_environment = {setting.environment: setting.variable for setting in settings}
        found = {
            by_environment.get(name, "environment") for name in _keys(before.get("variables", {}), after["variables"])
        }
    return sorted(found) or (["command"] if list(before.get("command", [])) != after["command"] else ["unit"])


def _keys(before: typing.Mapping[str, str], after: typing.Mapping[str, str]) -> set[str]:
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def inputs(options: Options) -> dict[str, str]:
    """Of every file that the server reads at its start, beside its release and its model, what tells it from
    another in its place.
    """
    found: dict[str, str] = {}
    for variable, path in files_wanted(options):
        name = variable.removeprefix(_PREFIX)
        if path.is_file():
            found[name] = " ".join(filter(None, [found.get(name, ""), _print_of(path)]))
    return found


def _print_of(path: pathlib.Path) -> str:
    size = path.stat().st_size
    return files.sha256_of(path) if size <= _SMALL else f"{size} bytes"
