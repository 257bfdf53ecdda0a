# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Join the container's two volumes, one with the models and one with everything else."""

import contextlib
import os
import pathlib

from llama_fleet.errors import FleetError

# The folder of gguf_model below its root; older images also had it inside the models' volume.
NAME = "models"


def join(state: pathlib.Path, models: pathlib.Path) -> None:
    """Link ``models`` into ``state``, and move up what an older image stored one folder deeper.

    Each step is one atomic rename or link, so a killed start leaves a state that the next one continues. Raises
    FleetError.
    """
    try:
        _bring_up(models)
        link = state / NAME
        if not link.is_symlink() and not link.exists():
            state.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):  # another start created it meanwhile
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
        with contextlib.suppress(OSError):  # duplicates stay where they are
            owner.rmdir()
    # Older generations refer to models by the old path.
    with contextlib.suppress(OSError):
        older.rmdir()
        older.symlink_to(".")
