# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Compilers without rights: where this is root, a build runs as a user who owns its work folder and nothing else."""

from __future__ import annotations

import dataclasses
import os
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands, unprivileged

if typing.TYPE_CHECKING:
    import pathlib

_COMPILES = ("build", "tmp")


@dataclasses.dataclass(frozen=True)
class Builder:
    """Who compiles below ``work``: the user of that number, or whoever this process is, for 0.

    ``run`` runs commands as that user.
    """

    user: int
    run: commands.Runner

    def give(self, folder: pathlib.Path) -> bool:
        """Make ``folder`` the builder's. Returns False where it is another user's."""
        return not self.user or unprivileged.give(str(folder), self.user)


def builder_of(work: pathlib.Path, needed: typing.Iterable[pathlib.Path], run: commands.Runner) -> Builder:
    """Return who compiles below ``work``, and make the folders that compilers write to; what else is in there stays
    root's.

    Where the user could not read what it needs, this process compiles itself; ``remark`` tells why.
    """
    user = 0 if in_the_way([work.parent, *needed]) else unprivileged.builder()
    if not user:
        return Builder(0, run)
    work.chmod(0o755)
    for name in _COMPILES:
        (work / name).mkdir()
        os.chown(work / name, user, user)
    return Builder(user, commands.as_user(user, {"HOME": str(work / "tmp"), "TMPDIR": str(work / "tmp")}))


def in_the_way(needed: typing.Iterable[pathlib.Path]) -> str:
    """Return what keeps the user from reading one of the files and folders ``needed``; empty where nothing does."""
    return unprivileged.blocked(str(path) for path in needed)


def remark(needed: typing.Iterable[pathlib.Path]) -> str:
    """Return why compilers ran as root, in a sentence; empty where they did not, or this is nobody who could have
    helped it.
    """
    found = in_the_way(needed) if unprivileged.may_become_others() else ""
    return (
        (
            f"The compilers ran as root, for a user without rights cannot read {found}. Put it below /opt, /srv or "
            f"/var/lib."
        )
        if found
        else ""
    )
