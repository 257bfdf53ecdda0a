# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Find the files that the generations of this host's instances refer to, because those must not be removed."""

from __future__ import annotations

import dataclasses
import os
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.shards import parse_shard
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import read_json
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Plain, Record

if typing.TYPE_CHECKING:
    import pathlib

_LONGEST = 4 << 20  # bytes of a manifest
_SCALE = re.compile(r":-?[\d.]+$")


@dataclasses.dataclass(frozen=True)
class Use:
    """A file that a generation of an instance refers to, in a model or a release."""

    path: str
    instance: str
    generation: str

    def __str__(self) -> str:
        return f"generation {self.generation} of instance '{self.instance}'"


def uses(root: pathlib.Path, variable: str) -> list[Use]:
    """List every absolute path in every generation below ``root``, the folder of llama_server.

    A split model counts with all its shards. Problems name ``variable``, the role variable of ``root``. Raises
    ProblemError.
    """
    uses_found = []
    for folder in _folders(root / "instances", variable):
        for generation in _folders(folder / "generations", variable):
            for path in sorted(set(_paths(_manifest(generation, variable)))):
                uses_found += [Use(each, folder.name, generation.name) for each in _with_shards(os.path.realpath(path))]
    return uses_found


def uses_of(path: pathlib.Path, all_uses: typing.Iterable[Use]) -> list[Use]:
    """Return the uses of the file or folder ``path``, or of a file below it."""
    real = os.path.realpath(path)
    return [use for use in all_uses if use.path == real or use.path.startswith(f"{real}/")]


def first_use(path: pathlib.Path, all_uses: typing.Iterable[Use]) -> Use | None:
    """Return the first use of ``path``, or None."""
    return next(iter(uses_of(path, all_uses)), None)


def _folders(place: pathlib.Path, variable: str) -> list[pathlib.Path]:
    try:
        return sorted(path for path in place.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(place, error.strerror or "", variable) from error


def _manifest(generation: pathlib.Path, variable: str) -> dict[str, typing.Any]:
    path = generation / "manifest.json"
    manifest: dict[str, typing.Any] | None = read_json(path, Record(others=Plain()), _LONGEST)
    if manifest is not None:
        return manifest
    try:
        path.stat()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _unreadable(path, error.strerror or "", variable) from error
    raise _unreadable(path, "not JSON, or not readable by this user", variable)


def _unreadable(path: pathlib.Path, why: str, variable: str) -> ProblemError:
    manifest = f"{path}, which cannot be read ({why})"
    return ProblemError(Problem(variable, manifest, "readable manifests of all generations", "use become or sudo"))


def _paths(value: object) -> typing.Iterator[str]:
    """Yield the absolute paths in a manifest, including values of ``--option=/path``."""
    if isinstance(value, dict):
        for each in value.values():
            yield from _paths(each)
    elif isinstance(value, list):
        for each in value:
            yield from _paths(each)
    elif isinstance(value, str):
        tail = value[value.find("=") + 1 :] if value.startswith("-") else value
        # An adapter may be followed by its scale, and several adapters are joined by commas.
        parts = [tail, *(_SCALE.sub("", part) for part in tail.split(","))]
        yield from (part for part in dict.fromkeys(parts) if part.startswith("/"))


def _with_shards(path: str) -> list[str]:
    folder, name = os.path.split(path)
    shard = parse_shard(name)
    return [os.path.join(folder, each) for each in shard.names] if shard else [path]
