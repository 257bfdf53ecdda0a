# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run the compilers of a root process as a user that owns the work folder and nothing else."""

from __future__ import annotations

import dataclasses
import os
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands, handover

if typing.TYPE_CHECKING:
    import pathlib

_COMPILES = ("build", "tmp")


@dataclasses.dataclass(frozen=True)
class Builder:
    """The user that compiles below ``work``: its user ID, or 0 for the user of this process.

    ``run`` runs commands as that user.
    """

    user: int
    run: commands.Runner

    def give(self, folder: pathlib.Path) -> bool:
        """Make the builder the owner of ``folder``. Returns False if it belongs to another user."""
        return not self.user or handover.give(str(folder), self.user)


def builder_of(work: pathlib.Path, needed: typing.Iterable[pathlib.Path], run: commands.Runner) -> Builder:
    """Return the builder for ``work``, and give it the folders that compilers write to.

    Other files in ``work`` stay root's. If the build user could not read one of ``needed``, this process compiles
    itself; ``remark`` says why.
    """
    user = 0 if in_the_way([work.parent, *needed]) else handover.builder()
    if not user:
        return Builder(0, run)
    work.chmod(0o755)
    for name in _COMPILES:
        (work / name).mkdir()
        os.chown(work / name, user, user)
    return Builder(user, commands.as_user(user, {"HOME": str(work / "tmp"), "TMPDIR": str(work / "tmp")}))


def in_the_way(needed: typing.Iterable[pathlib.Path]) -> str:
    """Return the first of ``needed`` that the build user cannot read, with the reason; empty if none."""
    return handover.blocked(str(path) for path in needed)


def remark(needed: typing.Iterable[pathlib.Path]) -> str:
    """Return a sentence that explains why the compilers ran as root; empty if they did not or had to."""
    blocked = in_the_way(needed) if handover.may_become_others() else ""
    if not blocked:
        return ""
    return (
        f"The compilers ran as root, because a user without rights cannot read {blocked}. Put it below /opt, /srv or "
        "/var/lib."
    )
