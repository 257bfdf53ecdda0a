# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Pack llama.cpp's source without what a server for CPU and CUDA does not need, as small as xz makes it."""

from __future__ import annotations

import pathlib
import re
import tarfile
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import sha256_of
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import find_tree

SUFFIX = "-slim.tar.xz"
# Parts of the tree; all but those of ggml's backends and of the tools are top-level folders.
_DROPPED = re.compile(
    r"(benches|ci|conversion|docs|examples|gguf-py|grammars|media|models|pocs|requirements|skills|tests)/"
    r"|ggml/src/ggml-(?!cpu/|cuda/)[a-z]+/"
    r"|tools/[^/]+/(tests|themes|public|src|static|bench|legacy-models)/"
)
# What CMake and the compilers read, and the licences that a release carries.
_KEPT = re.compile(
    r".*\.(c|cc|cpp|cu|cuh|h|hpp|cmake|in|inc|S)|(.*/)?CMakeLists\.txt|"
    r"(.*/)?(LICEN[CS]E|COPYING|NOTICE|UNLICENSE)\b[^/]*|licenses/.*"
)
_TIME = 315532800  # 1980, for the same bytes every time


def is_kept(name: str) -> bool:
    """Return whether a file of llama.cpp's tree, named by its path there, belongs in the small archive."""
    return bool(_KEPT.fullmatch(name)) and not _DROPPED.match(name)


def cut(archive: pathlib.Path, folder: pathlib.Path) -> tuple[pathlib.Path, str]:
    """Write the small archive of a source archive into ``folder``; return its path and sha256.

    The same archive gives the same bytes.
    """
    target = folder / f"{re.sub(r'[.]tar[.][a-z0-9]+$|[.]tgz$', '', archive.name)}{SUFFIX}"
    new = target.with_name(f".{target.name}.new")
    with tarfile.open(archive) as source, tarfile.open(new, "w:xz", preset=9) as packed:
        members = {member.name: member for member in source.getmembers() if member.isfile()}
        tree = find_tree(members)
        assert tree is not None, f"{archive} holds no source of llama.cpp"
        for name in sorted(members):
            relative = pathlib.PurePosixPath(name)
            if relative.is_relative_to(tree) and is_kept(str(relative.relative_to(tree))):
                packed.addfile(
                    _plain(members[name], str(relative.relative_to(tree.parent))), source.extractfile(members[name])
                )
    new.rename(target)
    return target, sha256_of(target)


def _plain(member: tarfile.TarInfo, name: str) -> tarfile.TarInfo:
    plain = tarfile.TarInfo(name)
    plain.size, plain.mtime, plain.mode = member.size, _TIME, 0o755 if member.mode & 0o100 else 0o644
    return plain


def missing_includes(whole: typing.Mapping[str, str], kept: typing.Collection[str]) -> list[str]:
    """Return ``FILE: INCLUDE`` for each include of a kept file that the tree has and that is not kept.

    ``whole`` has the tree's texts by path.
    """
    by_name: dict[str, list[str]] = {}
    for path in whole:
        by_name.setdefault(path.rpartition("/")[2], []).append(path)
    found = []
    for path in sorted(kept):
        for named in re.findall(r'^\s*#\s*include\s+["<]([^">]+)[">]', whole[path], re.MULTILINE):
            plain = re.sub(r"^(\.\./|\./)+", "", named)
            there = [
                other
                for other in by_name.get(plain.rpartition("/")[2], [])
                if other == plain or other.endswith(f"/{plain}")
            ]
            if there and not any(other in kept for other in there):
                found.append(f"{path}: {named}")
    return found
