# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Takes old releases off the host, never one that a generation of an instance uses or that is being built."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import require_writable, sync_directory
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store as release_store
from ansible_collections.llama_fleet.core.plugins.module_utils.release.listing import releases
from ansible_collections.llama_fleet.core.plugins.module_utils.release.usage import first_use

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.release.usage import Use

_ROOT = "llama_cpp_root"
# What a killed run leaves: a release half made, set aside or half removed, and a build. The name ends in its
# fingerprint.
_LEFTOVER = re.compile(r"(?:\.(?:new|gone)-)?(?P<name>.+-[0-9a-f]{12})(?:-old|\.work-.*)?")


def superfluous(
    root: pathlib.Path, keep: int, current: pathlib.Path | None, uses: typing.Sequence[Use]
) -> list[pathlib.Path]:
    """The releases that may go, the newest first. ``keep`` counts ``current``, whatever its age; 0 keeps all.

    Never one that ``uses`` refers to or that is being built. Changes nothing. This process must hold no lock of another
    release than ``current``: the kernel drops a process's lock on a file when it closes that file, if only to have
    looked.
    """
    if keep <= 0:
        return []
    others = [
        release.path
        for release in releases(root, _ROOT)
        if release.is_ours and not (current and _same(release.path, current))
    ]
    beyond = others[keep - (1 if current else 0) :]
    return [path for path in beyond if first_use(path, uses) is None and not being_built(root, path)]


def being_built(root: pathlib.Path, path: pathlib.Path) -> bool:
    """Whether a run is at work on the release of ``path``, or was and left a part of it; changes nothing."""
    if release_store.staging(path).exists():
        return True
    try:
        with _lock(root, path.name).open("rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:  # held; or not to be known by this user
        return True
    return False


def remove(paths: typing.Iterable[pathlib.Path], root: pathlib.Path) -> list[pathlib.Path]:
    """Remove these releases, and what killed runs left; returns the releases that went. One that is being built stays.

    Each goes in one rename to a hidden name: cut off at any point, a release is whole or not there.
    """
    require_writable(root / "releases", _ROOT)
    require_writable(root / "locks", _ROOT)
    _clear_leftovers(root)
    gone = []
    for path in paths:
        with _locked_at_once(_lock(root, path.name)) as ours:
            if ours and path.is_dir():
                _remove(root, path)
                gone.append(path)
    return gone


def _remove(root: pathlib.Path, path: pathlib.Path) -> None:
    hidden = path.with_name(f".gone-{path.name}")
    try:
        os.rename(path, hidden)
    except OSError as error:
        raise ProblemError(
            Problem(
                _ROOT,
                f"{path}, which cannot be removed ({error.strerror})",
                "a release that can be",
                "run with become or sudo",
            )
        ) from error
    sync_directory(path.parent)
    # Its log first: what is hidden shows the next run that there is something left to do.
    with contextlib.suppress(OSError):
        (root / "builds" / f"{path.name}.log").unlink()
    shutil.rmtree(hidden, ignore_errors=True)


def _clear_leftovers(root: pathlib.Path) -> None:
    """Remove what killed runs left of any release, except where another run is at work on it."""
    places = [
        *(root / "releases").glob(".new-*"),
        *(root / "releases").glob(".gone-*"),
        *(root / "builds").glob("*.work-*"),
    ]
    names = {match.group("name") for match in (_LEFTOVER.fullmatch(path.name) for path in places) if match}
    for name in sorted(names):
        with _locked_at_once(_lock(root, name)) as ours:
            if ours:
                release_store.clear_leftovers(root, name)
                shutil.rmtree(root / "releases" / f".gone-{name}", ignore_errors=True)


def _same(one: pathlib.Path, other: pathlib.Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _lock(root: pathlib.Path, name: str) -> pathlib.Path:
    """The lock that a build of the release ``name`` holds."""
    return root / "locks" / f"{name}.lock"


@contextlib.contextmanager
def _locked_at_once(path: pathlib.Path) -> typing.Iterator[bool]:
    """Hold the lock file ``path`` if nobody else does; tells whether it is so, and never waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            held = False
        else:
            held = True
        yield held
