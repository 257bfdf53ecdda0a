# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare what hosts run with the newest versions of llama.cpp, which the controller asks for once in a run."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import Patience
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import published
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.upstream import URL, is_of_the_project
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.versions import (
    LATEST,
    NOT_ASKED,
    STABLE,
    Version,
    beside,
    parse_version,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.plugin_utils import release_api
from ansible_collections.llama_fleet.core.plugins.plugin_utils.asked_once import Question
from ansible_collections.llama_fleet.core.plugins.plugin_utils.published_binaries import learnt, question_of

# A look at hosts does not wait long.
_PATIENCE = Patience(seconds=3, total=4, tries=1)
Facts = dict[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Newest:
    """The newest versions; ``unknown`` says why one is None."""

    stable: Version | None = None
    nightly: Version | None = None
    unknown: str = NOT_ASKED

    def beside(self, facts: typing.Mapping[str, typing.Any]) -> Facts:
        """Return the newest versions beside the build of an instance, and how far it is behind them."""
        source, build = str(facts.get("source", "")), str(facts.get("build", ""))
        if build and not is_of_the_project(source):
            whence = f"is {source}" if source else "was not recorded"
            return Newest(unknown=f"not compared, because its source {whence}").beside({})
        return beside(parse_version(build, str(facts.get("nightly", ""))), self.stable, self.nightly, self.unknown)


def are_comparable(instances: typing.Iterable[typing.Mapping[str, typing.Any]]) -> bool:
    """Return whether an instance runs a build of the project's own source."""
    return any(is_of_the_project(str(facts.get("source", ""))) for facts in instances)


def ask(api: str, downloads: str) -> Newest:
    """Return the newest versions at the release API ``api``. Each failure is a reason in the result."""
    api, downloads = api or published.API, downloads or URL

    def asked() -> str:
        known = (learnt(question_of(api, downloads, channel)) for channel in (LATEST, STABLE))
        return release_api.newest(api, downloads, _PATIENCE, *known).to_json()

    question = Question((api, downloads, "the newest versions"), published.VARIABLE, release_api.parse_newest)
    try:
        answer = release_api.parse_newest(question.ask(asked))
    except ProblemError as error:
        return Newest(unknown=error.problems[0].found)
    stable = parse_version(answer.stable, answer.same) if answer.stable else None
    return Newest(stable, parse_version(answer.nightly), answer.unknown)
