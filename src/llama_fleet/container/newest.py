# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Ask a repository for the commit of its newest build, with a timeout of a few seconds."""

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import git
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import source
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

# Timeout of the query in seconds.
PATIENCE = 5.0


class UnknownError(Exception):
    """An error that says why the repository gave no answer."""


def commit(url: str, version: str) -> str:
    """Return the commit that ``version`` names in the repository at ``url``. Raises UnknownError."""
    try:
        listing = git.list_tags(url, source.SOURCE, commands.run, PATIENCE)
        return source.find_revision(version, listing, url).commit
    except ProblemError as error:
        raise UnknownError(str(error)) from error
