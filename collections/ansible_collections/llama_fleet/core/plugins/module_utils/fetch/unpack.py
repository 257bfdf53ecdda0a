# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Unpack one folder of a source archive, and nothing that could land outside it."""

from __future__ import annotations

import itertools
import os
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import archives
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.tar import Tar, decompressed
from ansible_collections.llama_fleet.core.plugins.module_utils.host.disk import disk_problems
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import space_problem
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import printable
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Inside, ShapeError, check

if typing.TYPE_CHECKING:
    import tarfile

Choose = typing.Callable[[typing.Iterable[str]], typing.Optional[pathlib.PurePosixPath]]
ROOT_VARIABLE = "llama_cpp_root"


def unpack_tree(
    archive: typing.IO[bytes],
    name: str,
    target: pathlib.Path,
    choose: Choose,
    variable: str,
    limits: archives.Limits = archives.LIMITS,
) -> None:
    """Unpack into ``target`` only the folder that ``choose`` picks from the file names of ``archive``.

    Messages call the archive ``name``. Accepts files, folders and links that stay inside; raises ProblemError for
    anything else, and if ``choose`` picks nothing. Files belong to this user with default modes, but stay executable.
    """
    try:
        files = {_name(member): member.size for member in Tar(decompressed(archive), limits) if member.isfile()}
        tree = choose(files)
        if tree is None:
            raise ProblemError(
                Problem(
                    variable,
                    f"{name}, which holds no source of llama.cpp",
                    "an archive with its CMakeLists.txt, ggml/ and tools/server/",
                )
            )
        size = sum(size for each, size in files.items() if tree in pathlib.PurePosixPath(each).parents)
        raise_if_any(filter(None, [space_problem(target, size, ROOT_VARIABLE)]))
        target.mkdir(parents=True)
        inside = pathlib.Path(os.path.realpath(target))
        tar = Tar(decompressed(archive), limits)
        for member in tar:
            _unpack(tar, member, tree, inside, f"{name}: '{printable(member.name, 200)}'", variable)
    except archives.ArchiveError as error:
        raise ProblemError(
            Problem(variable, f"{name}, which cannot be unpacked ({error})", "a whole tar archive")
        ) from error


def _name(member: tarfile.TarInfo) -> str:
    return str(pathlib.PurePosixPath(member.name))


def _unpack(
    tar: Tar,
    member: tarfile.TarInfo,
    tree: pathlib.PurePosixPath,
    inside: pathlib.Path,
    label: str,
    variable: str,
) -> None:
    path = pathlib.PurePosixPath(member.name)
    try:
        relative = path.relative_to(tree)
    except ValueError:
        return
    if not relative.parts:  # the folder itself, which exists
        return
    place = inside / relative
    if not _is_inside(relative) or not _within(os.path.realpath(place.parent), inside):
        raise _refused(label, variable)
    try:
        _put(tar, member, place, inside, label, variable)
    except FileExistsError:
        raise _refused(label, variable, "is in it twice") from None


def _is_inside(path: pathlib.PurePosixPath) -> bool:
    try:
        check(str(path), Inside())
    except ShapeError:
        return False
    return True


def _put(
    tar: Tar, member: tarfile.TarInfo, place: pathlib.Path, inside: pathlib.Path, label: str, variable: str
) -> None:
    if member.isdir():
        place.mkdir(parents=True, exist_ok=True)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if member.isfile():
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(place, flags, 0o755 if member.mode & 0o100 else 0o644), "wb") as file:
            for data in tar.read(member):
                with disk_problems(place):
                    file.write(data)
    elif (
        member.issym()
        and _is_target(member.linkname)
        and _within(os.path.realpath(place.parent / member.linkname), inside)
    ):
        place.symlink_to(member.linkname)
    else:
        raise _refused(label, variable)


def _is_target(target: str) -> bool:
    """Return whether a file system accepts ``target`` as a link's target.

    Allows ``..`` only at the beginning: after a name that becomes a link, it would lead elsewhere.
    """
    parts = list(itertools.dropwhile(lambda part: part == "..", target.split("/")))
    return bool(target) and target.isprintable() and len(target) <= 1024 and ".." not in parts


def _within(path: str, folder: pathlib.Path) -> bool:
    return path == str(folder) or path.startswith(f"{folder}{os.sep}")


def _refused(
    label: str, variable: str, what: str = "would be written or point outside the source folder"
) -> ProblemError:
    return ProblemError(
        Problem(
            variable,
            f"{label}, which {what}",
            "files, folders and links inside it, each once",
            "do not trust this archive",
        )
    )
