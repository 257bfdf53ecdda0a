# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Which commit a repository's newest build is, asked in a few seconds or not at all."""

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import git
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import source
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

# Seconds that a restart waits for an answer.
PATIENCE = 5.0


class UnknownError(Exception):
    """Nobody answered, and why."""


def commit(url: str, version: str) -> str:
    """The commit that ``version`` names in the repository at ``url`` now."""
    try:
        listing = git.list_tags(url, source.SOURCE, commands.run, PATIENCE)
        return source.find_revision(version, listing, url).commit
    except ProblemError as error:
        raise UnknownError(str(error)) from error
