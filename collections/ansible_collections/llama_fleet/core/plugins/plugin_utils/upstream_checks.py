# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask llama.cpp's release API for a preflight, and make checks of its answers."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import versions
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.published import VARIABLE
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.check import Check, all_wrong, fine
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.plugin_utils.published_binaries import wish

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.plugin_utils import newest_versions

Values = dict[str, typing.Any]
_ROLE = "llama_cpp_"


def with_binaries(variables: Values, inventory_folder: str) -> tuple[Values, list[Check]]:
    """Return an instance's variables with what is known of its published binaries, and a check if nothing is."""
    arguments = {name[len(_ROLE) :]: value for name, value in variables.items() if name.startswith(_ROLE)}
    asked = wish(arguments, inventory_folder)
    if asked is None:
        return variables, []
    try:
        known = asked.known(ask=True, warn=lambda _warning: None)
    except ProblemError as error:
        return variables, all_wrong("source", error)
    unknown = f"{known.unanswered}; a host without a release builds it"
    checks = [fine("source", VARIABLE, unknown)] if known.unanswered else []
    return known.among({**variables}, _ROLE), checks


def source_of(variables: Values) -> str:
    """Return the source of an instance's release as a release records it, without checksums."""
    return str(variables.get("llama_cpp_source", "")).removeprefix("git+").partition("#")[0]


def versions_of(
    instances: typing.Iterable[str], releases: typing.Mapping[str, Values], newest: newest_versions.Newest
) -> dict[str, list[Check]]:
    """Return for each instance a check of what it runs, and how far that is behind the ``newest`` versions."""
    return {name: [_version(releases.get(name) or {}, newest)] for name in instances}


def _version(record: Values, newest: newest_versions.Newest) -> Check:
    compared = newest.beside(record)
    build = str(record.get("build", ""))
    origin = versions.origin(record)
    parts = [
        f"{build}{f', {origin}' if origin else ''}" if build else "no release yet",
        *([versions.behind(compared) if build else versions.newest_of(compared)] if newest.nightly else []),
        *([versions.unknown_of(compared)] if versions.unknown_of(compared) else []),
    ]
    return fine("version", "llama.cpp", "; ".join(filter(None, parts)))
