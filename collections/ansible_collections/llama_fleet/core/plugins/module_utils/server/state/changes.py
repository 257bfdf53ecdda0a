# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Explain why a wanted generation differs from the current one, by the names of role variables."""

from __future__ import annotations

import json
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import files_wanted

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.table import Setting
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Content, Generation

UNIT = "unit"
_UNIT_SHA256 = "unit_sha256"
_PREFIX = "llama_server_"
# Manifest entries that correspond to an option, and its name.
_PARTS = {
    "runtime": "runtime",
    "release": "release",
    "release_fingerprint": "release",
    "model": "model",
    "model_size": "model",
    "api_key_sha256": "api_key",
}
# Larger files are compared by size only, as the model is.
_SMALL = 16 << 20


def changed_parts(current: Generation | None, content: Content, settings: typing.Iterable[Setting] = ()) -> list[str]:
    """Return the role variables that differ, or if none explains it ``environment``, ``command`` or ``unit``."""
    if current is None or current.fingerprint == content.fingerprint:
        return []
    before, after = current.manifest, content.described()
    changed = {part for name, part in _PARTS.items() if before.get(name) != after[name]}
    changed |= _keys(before.get("inputs", {}), after["inputs"])
    options = before.get("options", {})
    changed |= {name for name, value in after["options"].items() if options.get(name, value) != value}
    if changed:
        return sorted(f"{_PREFIX}{name}" for name in changed)
    by_environment = {setting.environment: setting.variable for setting in settings}
    names = _keys(before.get("variables", {}), after["variables"])
    changed = {by_environment.get(name, "environment") for name in names}
    return sorted(changed) or (["command"] if list(before.get("command", [])) != after["command"] else ["unit"])


def only_unit(current: Generation, content: Content) -> bool:
    """Return whether ``content`` differs from ``current`` in nothing but its unit, which may be half rewritten."""
    before, after = current.manifest, json.loads(json.dumps(content.described()))
    compared = after.keys() - {"options", "files", _UNIT_SHA256}
    half = {UNIT} if current.text(UNIT) == content.files.get(UNIT) else set()
    return (
        UNIT in current.files
        and UNIT in content.files
        and not set(current.damage()) - half
        and all(before.get(name) == after[name] for name in compared)
        and _others(current.files) == _others(after["files"])
    )


def _others(sums: typing.Mapping[str, str]) -> dict[str, str]:
    """Return the checksums of the files that a server depends on; the environment names its generation."""
    return {name: sha256 for name, sha256 in sums.items() if name not in (UNIT, "environment")}


def _keys(before: typing.Mapping[str, str], after: typing.Mapping[str, str]) -> set[str]:
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def inputs(options: Options) -> dict[str, str]:
    """Return a fingerprint of every file that the server reads at start, besides its release and its model."""
    prints: dict[str, str] = {}
    for variable, path in files_wanted(options):
        name = variable.removeprefix(_PREFIX)
        if path.is_file():
            prints[name] = " ".join(filter(None, [prints.get(name, ""), _print_of(path)]))
    return prints


def _print_of(path: pathlib.Path) -> str:
    size = path.stat().st_size
    return files.sha256_of(path) if size <= _SMALL else f"{size} bytes"
