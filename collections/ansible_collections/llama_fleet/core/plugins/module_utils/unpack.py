# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Tar archives unpacked by hand, so that no Python version writes outside the folder it was told."""

from __future__ import annotations

import os
import pathlib
import shutil
import tarfile
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

Choose = typing.Callable[[typing.Iterable[str]], typing.Optional[pathlib.PurePosixPath]]


def unpack_tree(archive: pathlib.Path, target: pathlib.Path, choose: Choose, variable: str) -> None:
    """Unpack into ``target`` only the folder that ``choose`` picks among the archive's file names.

    Takes files, folders and links that stay inside; raises for anything else, and where
    ``choose`` finds nothing. Owners and modes are this user's, but a file stays executable.
    """
    try:
        with tarfile.open(archive) as tar:
            members = tar.getmembers()
            tree = choose(_name(member) for member in members if member.isfile())
            if tree is None:
                raise ProblemError(
                    Problem(variable, f"{archive.name}, which holds no source of llama.cpp", "an archive with its CMakeLists.txt, ggml/ and tools/server/")
                )
            target.mkdir(parents=True)
            inside = pathlib.Path(os.path.realpath(target))
            for member in members:
                _unpack(tar, member, tree, inside, f"{archive.name}: {member.name}", variable)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, tarfile.TarError):
            raise  # the host's trouble, not the archive's
        raise ProblemError(Problem(variable, f"{archive.name}, which cannot be unpacked ({error})", "a whole tar archive")) from error


def _name(member: tarfile.TarInfo) -> str:
    return str(pathlib.PurePosixPath(member.name))


def _unpack(tar: tarfile.TarFile, member: tarfile.TarInfo, tree: pathlib.PurePosixPath, inside: pathlib.Path, label: str, variable: str) -> None:
    path = pathlib.PurePosixPath(member.name)
    try:
        relative = path.relative_to(tree)
    except ValueError:
        return
    if not relative.parts:  # the tree's own folder, which is there
        return
    place = inside / relative
    if ".." in path.parts or not _within(os.path.realpath(place.parent), inside):
        raise _refused(label, variable)
    if member.isdir():
        place.mkdir(parents=True, exist_ok=True)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if member.isfile():
        source = typing.cast("typing.IO[bytes]", tar.extractfile(member))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(place, flags, 0o755 if member.mode & 0o100 else 0o644), "wb") as file:
            shutil.copyfileobj(source, file)
    elif member.issym() and _within(os.path.realpath(place.parent / member.linkname), inside):
        place.symlink_to(member.linkname)
    else:
        raise _refused(label, variable)


def _within(path: str, folder: pathlib.Path) -> bool:
    return path == str(folder) or path.startswith(f"{folder}{os.sep}")


def _refused(label: str, variable: str) -> ProblemError:
    return ProblemError(
        Problem(
            variable, f"{label}, which would be written or point outside the source's folder", "files, folders and links inside it", "do not trust this archive"
        )
    )
