# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Collect the contents of a release besides its programs: licences, and the options of its llama-server."""

from __future__ import annotations

import pathlib
import re
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import flags as release_flags

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner

# Below the release's folder: one folder per origin.
LICENCES = "licenses/llama.cpp"
_CUDA_LICENCES = "licenses/cuda"
_OPENMP_LICENCE = "licenses/openmp/copyright"

_FILE = re.compile(r"(LICEN[CS]E|COPYING|NOTICE|UNLICENSE)\b.*", re.IGNORECASE)
_SOURCES = (".h", ".hpp", ".c", ".cpp")
# Folders of third-party code that is linked in.
_FOREIGN = ("vendor", "ggml/src/ggml-cpu")
_COMMENT = re.compile(r"/\*.*?\*/|(?:^[ \t]*//[^\n]*\n)+", re.DOTALL | re.MULTILINE)
_TERMS = re.compile(
    r"Permission is hereby granted|released into the public domain|100% Public Domain|Redistribution and use in source",
    re.IGNORECASE,
)


def copy_licences(
    source: pathlib.Path,
    staged: pathlib.Path,
    toolkit: pathlib.Path | None = None,
    documents: pathlib.Path = pathlib.Path("/usr/share/doc"),
) -> None:
    """Copy into ``staged`` the licences of llama.cpp, of its linked code and of the bundled libraries.

    Single-header libraries state theirs in a comment, which is copied. ``toolkit`` is the CUDA toolkit; the host keeps
    the licence of the compiler's OpenMP library in ``documents``.
    """
    ours = staged / LICENCES
    for path in [
        *_licence_files(source, "*"),
        *_licence_files(source / "licenses", "*"),
        *_licence_files(source / "vendor", "**/*"),
    ]:
        _copy(path, ours / path.relative_to(source))
    for path, text in _comments(source):
        target = ours / path.parent.relative_to(source) / f"{path.name}.txt"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    if toolkit is not None:
        for path in [*_licence_files(toolkit / "licenses", "**/*", named=False), *toolkit.glob("EULA.txt")]:
            _copy(
                path,
                staged / _CUDA_LICENCES / path.name
                if path.parent == toolkit
                else staged / _CUDA_LICENCES / path.relative_to(toolkit / "licenses"),
            )
    copyright_file = documents / "libgomp1" / "copyright"
    if any((staged / "bin").glob("libgomp.so*")) and copyright_file.is_file():
        _copy(copyright_file, staged / _OPENMP_LICENCE)


def _licence_files(folder: pathlib.Path, pattern: str, named: bool = True) -> list[pathlib.Path]:
    return [
        path for path in sorted(folder.glob(pattern)) if path.is_file() and (not named or _FILE.fullmatch(path.name))
    ]


def _copy(path: pathlib.Path, target: pathlib.Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


def _comments(source: pathlib.Path) -> typing.Iterator[tuple[pathlib.Path, str]]:
    """Yield the files without a licence file beside them, and the licence terms in their comments."""
    for folder in _FOREIGN:
        for path in sorted((source / folder).rglob("*")):
            if path.suffix not in _SOURCES or _licence_files(path.parent, "*"):
                continue
            terms = [
                comment
                for comment in _COMMENT.findall(path.read_text(encoding="utf-8", errors="replace"))
                if _TERMS.search(comment)
            ]
            if terms:
                yield path, "\n\n".join(comment.strip() for comment in terms) + "\n"


def server_options(programs: pathlib.Path, run: Runner) -> dict[str, list[typing.Any]]:
    """Return the options in ``llama-server --help``: ``flags``, ``environments`` and ``details``.

    An instance knows the release from these without running it. Raises ProblemError if even --help fails.
    """
    result = run([str(programs / "llama-server"), "--help"], cwd="/", timeout=60)
    if not result.ok:
        said = (result.stderr.strip() or f"exit code {result.code}").splitlines()[-1]
        raise ProblemError(
            Problem("release", f"'{said.strip()[:300]}' from llama-server --help", "a server that starts on this host")
        )
    flags = release_flags.parse_help(result.stdout)
    known = {name: flag for name, flag in flags.by_name.items() if not flag.removed}
    environments = sorted({flag.environment for flag in known.values() if flag.environment})
    return {"flags": sorted(known), "environments": environments, "details": flags.details}
