# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Find files on a Python package index through its JSON API (PEP 691), without running any of them."""

from __future__ import annotations

import configparser
import contextlib
import dataclasses
import os
import re
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import ask
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import unreachable
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import OriginError, bare
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import (
    SHA256,
    Address,
    Many,
    Maybe,
    Number,
    Record,
    ShapeError,
    Table,
    Text,
    check,
    parse,
)

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import Package

_JSON = "application/vnd.pypi.simple.v1+json"
_DEFAULT_INDEX = "https://pypi.org/simple"
_NOT_FOUND = 404
LARGEST = 32 << 20  # bytes of a project page; the largest on PyPI has a few MiB
_MOST_FILES = 100_000
# Valid file names of a distribution; the index may list others, which are skipped.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,254}")
# pip's configuration files, the last wins. Read here because a host need not have pip.
_PIP_FILES = ("/etc/pip.conf", "/etc/xdg/pip/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")


@dataclasses.dataclass(frozen=True)
class IndexFile:
    """One file of a release.

    ``size`` is in bytes, 0 if the index does not state it. ``index`` is the address of the index that listed it.
    """

    name: str
    url: str
    sha256: str
    size: int
    index: str = dataclasses.field(default="", compare=False, repr=False)


def index_url(given: str = "", files: typing.Iterable[str] = _PIP_FILES) -> str:
    """Return the package index to use: the one given, else pip's configured one, else PyPI."""
    return given or _configured("index-url", files) or _DEFAULT_INDEX


def is_ignored(index: str, files: typing.Iterable[str] = _PIP_FILES) -> bool:
    """Return whether pip ignores ``index`` because it uses no TLS and its host is not marked as trusted."""
    parts = urllib.parse.urlsplit(index)
    host = parts.hostname or ""
    if parts.scheme != "http" or host == "localhost" or host.startswith("127.") or host == "::1":
        return False
    return not {host, parts.netloc.rpartition("@")[2]} & set(_configured("trusted-host", files).split())


def _configured(name: str, files: typing.Iterable[str]) -> str:
    """Return one of pip's settings from the environment or its files."""
    configuration = configparser.ConfigParser(interpolation=None, strict=False)
    with contextlib.suppress(configparser.Error):  # pip itself reports invalid files
        configuration.read(
            [os.path.expanduser(path) for path in [*files, os.environ.get("PIP_CONFIG_FILE", "")]], encoding="utf-8"
        )
    value = os.environ.get(f"PIP_{name.upper().replace('-', '_')}") or configuration.get("global", name, fallback="")
    return value or ""


def find_file(index: str, package: Package, suffix: str, variable: str) -> IndexFile:
    """Return the file of ``package`` that ends in ``suffix`` (``.tar.gz`` or ``.whl``).

    Raises ProblemError if the index cannot be reached, lacks the project or version, or does not speak JSON.
    """
    files = [file for file in _listing(index, package, variable) if file.name.endswith(suffix)]
    wanted = [file for file in files if _version_of(file.name, package, suffix) == package.version]
    if not wanted:
        versions = sorted({_version_of(file.name, package, suffix) for file in files}, key=_numbers)
        lacking = f"{package.project}=={package.version}, which has no {suffix} file on {bare(index)}"
        raise ProblemError(
            Problem(variable, lacking, f"a version with one ({', '.join(versions[-5:]) or 'there is none'})")
        )
    return wanted[0]


def find_by_sha256(index: str, package: Package, sha256: str, variable: str) -> IndexFile:
    """Return the file of ``package`` with this checksum, out of its files for several platforms."""
    for file in _listing(index, package, variable):
        if file.sha256 == sha256:
            return file
    lacking = f"{bare(index)}, which has no file of {package.project} {package.version} with sha256 {sha256}"
    raise ProblemError(Problem(variable, lacking, "an index that mirrors PyPI unchanged"))


def _listing(index: str, package: Package, variable: str) -> list[IndexFile]:
    page = f"{index.rstrip('/')}/{_normal(package)}/"
    try:
        answer = ask.read(page, LARGEST, {"Accept": _JSON})
        return [dataclasses.replace(file, index=index) for file in parse_page(answer.body, answer.url)]
    except OriginError as error:
        if error.status == _NOT_FOUND:
            raise ProblemError(
                Problem(
                    variable,
                    f"the project {package.project}, which {bare(page)} does not have",
                    "a project of the index",
                )
            ) from error
        raise unreachable(variable, page, error) from error
    except ShapeError as error:
        malformed = f"an answer from {bare(page)} that is not a valid index page ({error})"
        wanted = "an index with the JSON API (PEP 691)"
        fix = "name another one with the role's index_url"
        raise ProblemError(Problem("package index", malformed, wanted, fix)) from error


def parse_page(text: bytes, base: str, limit: int = LARGEST) -> list[IndexFile]:
    """Return the files on a project page; join their URLs to ``base``.

    Raises ShapeError if it is not a valid page.
    """
    file = Record(
        {"filename": Text(), "url": Address(base)},
        {"hashes": Maybe(Table(Text()), {}), "size": Maybe(Number(most=1 << 50), 0)},
    )
    page = parse(text, Record({"files": Many(file, most=_MOST_FILES)}), "the page", limit)
    named = [each for each in page["files"] if _NAME.fullmatch(each["filename"])]
    return [
        IndexFile(each["filename"], each["url"], _sum(each.get("hashes", {}).get("sha256", "")), each.get("size", 0))
        for each in named
    ]


def _sum(text: str) -> str:
    return str(check(text, Text(f"(?:{SHA256})?"), "a sha256"))


def _normal(package: Package) -> str:
    """Return the project's name as an index spells it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", package.project).lower()


def _version_of(name: str, package: Package, suffix: str) -> str:
    """Return the version in a file name (PEP 427 for wheels, PEP 625 for source distributions)."""
    stem = name[: -len(suffix)]
    if suffix == ".whl":
        return stem.split("-")[1] if "-" in stem else ""
    return stem[len(_normal(package)) + 1 :]


def _numbers(version: str) -> list[int]:
    """Return a sort key that is good enough to name the newest versions."""
    return [int(number) for number in re.findall(r"\d+", version)]
