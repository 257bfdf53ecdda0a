# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Remove old releases from the host, except those that an instance uses or that are being built."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import require_writable, sync_directory
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store
from ansible_collections.llama_fleet.core.plugins.module_utils.release.listing import releases
from ansible_collections.llama_fleet.core.plugins.module_utils.release.usage import first_use

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.release.usage import Use

_ROOT = "llama_cpp_root"
# Leftovers of killed runs: a release that is incomplete, set aside or half removed, and a build folder. The name ends
# in the fingerprint.
_LEFTOVER = re.compile(r"(?:\.(?:new|gone)-)?(?P<name>.+-[0-9a-f]{12})(?:-old|\.work-.*)?")


def superfluous(
    root: pathlib.Path, keep: int, current: pathlib.Path | None, uses: typing.Sequence[Use]
) -> list[pathlib.Path]:
    """List the releases that may be removed, newest first, without changing anything.

    ``keep`` is the number to keep, including ``current`` of any age; 0 keeps all. Never lists one that ``uses`` refers
    to or that is being built. This process must hold no lock of a release other than ``current``: the kernel drops a
    process's lock on a file when the process closes that file, even after only reading it.
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
    """Return whether a run is building the release of ``path``, or left a part of it; change nothing."""
    if store.staging(path).exists():
        return True
    try:
        with _lock(root, path.name).open("rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:  # locked, or not visible to this user
        return True
    return False


def remove(paths: typing.Iterable[pathlib.Path], root: pathlib.Path) -> list[pathlib.Path]:
    """Remove releases and the leftovers of killed runs; return the removed ones. Those being built stay.

    Each is first renamed to a hidden name in one step, so a killed run leaves it either whole or gone. Raises
    ProblemError.
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
        kept = f"{path}, which cannot be removed ({error.strerror})"
        raise ProblemError(Problem(_ROOT, kept, "a release that can be removed", "use become or sudo")) from error
    sync_directory(path.parent)
    # Its log first, because the hidden folder shows the next run that work is left.
    with contextlib.suppress(OSError):
        (root / "builds" / f"{path.name}.log").unlink()
    shutil.rmtree(hidden, ignore_errors=True)


def _clear_leftovers(root: pathlib.Path) -> None:
    """Remove the leftovers of killed runs, except those that another run is working on."""
    places = [
        *(root / "releases").glob(".new-*"),
        *(root / "releases").glob(".gone-*"),
        *(root / "builds").glob("*.work-*"),
    ]
    names = {match.group("name") for match in (_LEFTOVER.fullmatch(path.name) for path in places) if match}
    for name in sorted(names):
        with _locked_at_once(_lock(root, name)) as ours:
            if ours:
                store.clear_leftovers(root, name)
                shutil.rmtree(root / "releases" / f".gone-{name}", ignore_errors=True)


def _same(one: pathlib.Path, other: pathlib.Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _lock(root: pathlib.Path, name: str) -> pathlib.Path:
    """Return the path of the lock that a build of the release ``name`` holds."""
    return root / "locks" / f"{name}.lock"


@contextlib.contextmanager
def _locked_at_once(path: pathlib.Path) -> typing.Iterator[bool]:
    """Try to hold the lock file ``path`` without waiting; yield whether it is held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            held = False
        else:
            held = True
        yield held
