# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The container's two volumes: models lie in one of their own, all else in the other."""

import contextlib
import os
import pathlib

from llama_fleet.errors import FleetError

# Of gguf_model below its root; of images before this one also below the volume of the models.
NAME = "models"


def join(state: pathlib.Path, models: pathlib.Path) -> None:
    """Make ``models`` the folder of models below ``state``, and bring up what an older image kept one folder deeper.

    Each step is one rename or one new name: a start that is killed leaves what the next one goes on with.
    """
    try:
        _bring_up(models)
        link = state / NAME
        if not link.is_symlink() and not link.exists():
            state.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):  # another start was quicker
                link.symlink_to(models)
    except OSError as error:
        place, reason = error.filename or state, error.strerror
        raise FleetError(
            f"{place}: expected a folder that user {os.geteuid()} may write to, found '{reason}'. "
            f"Fix: Give its volume to this user."
        ) from error


def _bring_up(models: pathlib.Path) -> None:
    older = models / NAME
    if older.is_symlink() or not older.is_dir():
        return
    for owner in sorted(older.iterdir()):
        target = models / owner.name
        if not target.exists():
            owner.rename(target)
            continue
        for repository in sorted(owner.iterdir()):
            if not (target / repository.name).exists():
                repository.rename(target / repository.name)
        with contextlib.suppress(OSError):  # what is there twice stays where it is
            owner.rmdir()
    # Generations of before name their models by the old path.
    with contextlib.suppress(OSError):
        older.rmdir()
        older.symlink_to(".")
