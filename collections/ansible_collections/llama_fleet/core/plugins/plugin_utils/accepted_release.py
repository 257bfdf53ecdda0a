# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accept on the controller a release that a host has built: the requested one, in an archive that holds only it.

The controller cannot see whether the programs do what their source says. So a host takes releases only from the
builders that its operator names.
"""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import tempfile
import time
import typing

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import sha256_of
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.options import (
    CUDA,
    Target,
    cmake_options,
    fingerprint,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import (
    ARGUMENTS,
    Request,
    parse_request,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import Archive, archive_build
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import line
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import archive as release_archive
from ansible_collections.llama_fleet.core.plugins.module_utils.release.index import SUFFIX, Entry, is_name
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import (
    COMMIT,
    SHA256,
    Many,
    Number,
    Record,
    ShapeError,
    Table,
    Text,
    check,
)

Values = typing.Mapping[str, typing.Any]
# In bytes. A release with CUDA libraries has 1 to 2 GB, and half of that packed.
LARGEST_ARCHIVE = 8 << 30
LARGEST_RELEASE = 24 << 30
# Parts that a host may know only after it has installed or unpacked something.
LATE = ("compiler", "cuda_toolkit", "cures")
_PARTS = Record(
    {
        "source": Text(f"{SHA256}|{COMMIT}"),
        "build": Text(r"[A-Za-z0-9][A-Za-z0-9._+-]*", most=100),
        "backend": Text(r"cpu|cuda"),
        "machine": Text(r"[A-Za-z0-9_]+", most=40),
        "libc": Text(r"[A-Za-z0-9 ._-]+", most=60),
        "cmake_options": Table(Text(most=10_000), keys=Text(r"[A-Za-z0-9_]+", most=200), most=1000),
        "cuda_architectures": Many(Text(r"[0-9]{2,3}[af]?(-real|-virtual)?"), most=100),
        "cuda_toolkit": Text(r"|[0-9][0-9.]*", most=40),
        "cpu_features": Text(rf"|{SHA256}"),
        "compiler": Text(most=500),
        "recipe": Number(most=1000),
        "cures": Many(Text(r"[a-z0-9-]+", most=40), most=20),
    }
)


@dataclasses.dataclass(frozen=True)
class Asked:
    """The release that a run asked a host to build.

    Its ``name`` is computed by the controller; nothing else of it becomes part of a path.
    """

    build: str
    fingerprint: str
    parts: dict[str, typing.Any]

    @property
    def name(self) -> str:
        return f"{self.build}-{self.fingerprint[:12]}"

    @property
    def file(self) -> str:
        return f"{self.name}{SUFFIX}"


def asked(arguments: Values, planned: Values, built: Values) -> Asked:
    """Return the release that the module's ``arguments`` ask for, as the host has built it.

    ``planned`` are the fingerprint parts before the build, ``built`` is the module's result. Raises ValueError with a
    noun phrase if the host reports another release.
    """
    try:
        parts = check(built.get("fingerprint_parts"), _PARTS, "its fingerprint_parts")
    except ShapeError as error:
        raise ValueError(f"a release of another kind ({error})") from error
    release = Asked(parts["build"], fingerprint(parts), parts)
    if (
        dict(parts) != dict(built["fingerprint_parts"])
        or built.get("fingerprint") != release.fingerprint
        or not is_name(release.name)
    ):
        raise ValueError(f"a fingerprint that does not match its parts ({line(str(built.get('fingerprint')), 80)})")
    for name, value in planned.items():
        if name not in (*LATE, "cmake_options") and parts.get(name) != value:
            raise ValueError(f"a release whose {line(str(name), 40)} is not the one that was planned")
    wrong = next(
        (name for name, allowed in _wanted(_request(arguments), parts).items() if parts[name] not in allowed), ""
    )
    if wrong:
        raise ValueError(f"a release whose {wrong} is not the one that was asked for")
    return release


def _request(arguments: Values) -> Request:
    spec = {name: option for name, option in ARGUMENTS.items() if name != "offered"}
    validated = ArgumentSpecValidator(spec).validate({name: value for name, value in arguments.items() if name in spec})
    return parse_request({**validated.validated_parameters, "offered": ""})


def _wanted(request: Request, parts: Values) -> dict[str, list[typing.Any]]:
    """Return the values that the request allows for each part that the controller can check without the host."""
    cuda = request.backend == CUDA
    architectures = sorted(request.cuda_architectures)
    target = Target(request.backend, request.cpu, parts["machine"], tuple(architectures))
    wanted: dict[str, list[typing.Any]] = {
        "backend": [request.backend],
        "cuda_architectures": [architectures if cuda else []],
    }
    commit = parts["source"]
    if isinstance(request.source, Archive):
        wanted |= {"source": [request.source.sha256], "build": [archive_build(request.source, request.version)]}
        commit = ""
    options = [
        cmake_options(target, parts["build"], commit, openssl, request.cmake_options) for openssl in (True, False)
    ]
    return {**wanted, "cmake_options": options}


def accept(archive: pathlib.Path, wanted: Asked) -> Entry:
    """Return the index entry for ``archive``, which a host has sent, after reading all of it.

    Raises ValueError with a noun phrase, ProblemError or OSError if it is not the packed release ``wanted``.
    """
    size = archive.stat().st_size
    if not 0 < size <= LARGEST_ARCHIVE:
        raise ValueError(f"an archive of {size} bytes")
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=archive.parent) as folder, archive.open("rb") as file:
        manifest = release_archive.extract(
            file, pathlib.Path(folder), _require_room(archive.parent), lambda _count: None
        )
    recorded = {name: manifest.get(name) for name in ("build", "fingerprint", "fingerprint_parts")}
    if recorded != {"build": wanted.build, "fingerprint": wanted.fingerprint, "fingerprint_parts": wanted.parts}:
        other = line(str(recorded["fingerprint"]), 80)
        raise ValueError(f"an archive of the release {other}, where {wanted.fingerprint} was requested")
    return Entry(
        wanted.name, sha256_of(archive), size, wanted.fingerprint, wanted.parts, signed=True, packed=int(time.time())
    )


def _require_room(place: pathlib.Path) -> release_archive.Begin:
    def begin(inside: release_archive.Contents) -> None:
        if inside.size > min(LARGEST_RELEASE, shutil.disk_usage(place).free):
            raise ValueError(f"an archive of {inside.size} bytes unpacked, more than fit")

    return begin


# Exceptions of ``asked`` and ``accept``; each has a one-sentence message.
REFUSALS = (ValueError, ProblemError, OSError)
_SIZE = Number(least=1, most=LARGEST_ARCHIVE)


def size_of(packed: Values) -> int:
    """Return the size in bytes that a host announces for its packed release. Raises ValueError if it is invalid."""
    try:
        return int(check(packed.get("size"), _SIZE, "the size of its packed release"))
    except ShapeError as error:
        raise ValueError(str(error)) from error
