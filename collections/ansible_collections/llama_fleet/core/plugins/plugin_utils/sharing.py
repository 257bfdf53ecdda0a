# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell with which hosts a host shares releases, and which of theirs the controller has."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import ARGUMENTS, OFFERED
from ansible_collections.llama_fleet.core.plugins.module_utils.release import cache as release_cache
from ansible_collections.llama_fleet.core.plugins.module_utils.release import index as release_index
from ansible_collections.llama_fleet.core.plugins.plugin_utils import builders
from ansible_collections.llama_fleet.core.plugins.plugin_utils.controller_cache import Accepted, ControllerCache
from ansible_collections.llama_fleet.core.plugins.plugin_utils.host_action import host_of

Arguments = dict[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Sharing:
    """The partners with which a host shares. ``hands_on`` says whether others take its builds."""

    cache: ControllerCache
    host: builders.Builder
    trusted: frozenset[builders.Builder]
    signers: tuple[str, ...]
    signs: bool

    @property
    def hands_on(self) -> bool:
        return self.host in self.trusted or self.signs

    @property
    def takes(self) -> bool:
        return bool(self.trusted or self.signers)

    def offers(self) -> dict[str, Accepted]:
        """Return the releases on the controller for this host, by name; of two with the same name the older."""
        offered: dict[str, Accepted] = {}
        for each in self.cache.accepted():
            if each.signed if self.signers else each.builder in self.trusted:
                offered.setdefault(each.entry.name, each)
        return offered

    def match(self, plan: Arguments) -> str:
        """Return the name of the release that a host's ``plan`` wants and the controller has by now; empty without."""
        entries = [each.entry for each in self.offers().values()]
        entry = release_cache.match(entries, OFFERED, plan["fingerprint_parts"], plan.get("fingerprint", ""))
        return entry.name if entry else ""

    def offer(self) -> str:
        """Return the offers as an index, for a plan."""
        return json.dumps(release_index.render(each.entry for each in self.offers().values()))


def sharing_of(arguments: Arguments, task_vars: Arguments, transport: str, loader: typing.Any) -> Sharing | None:
    """Return the host's sharing partners, or None if it has none.

    Only the operator's variables decide.
    """
    place = arguments.get("controller_cache", ARGUMENTS["controller_cache"]["default"])
    patterns, signers = arguments.get("builders") or [], tuple(arguments.get("trusted_signers") or ())
    signs = bool(arguments.get("signing_key"))
    # The controller itself has no one to share with.
    if not place or transport == "local" or not (patterns or signers or signs):
        return None
    trusted = builders.named(patterns, task_vars, loader)
    host = builders.builder(host_of(task_vars), task_vars)
    return Sharing(ControllerCache(pathlib.Path(place).expanduser()), host, trusted, signers, signs)
