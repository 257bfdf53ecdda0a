# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What the user of llama_cpp_release asks for, and what is wrong with it by itself."""

from __future__ import annotations

import dataclasses
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.options import (
    CUDA,
    architecture_problems,
    option_problems,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import (
    SOURCE,
    Archive,
    PackedSource,
    Repository,
    Upstream,
    parse_source,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.upstream import URL as UPSTREAM_URL
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
from ansible_collections.llama_fleet.core.plugins.module_utils.release.cache import location_problems
from ansible_collections.llama_fleet.core.plugins.module_utils.release.index import Entry, parse
from ansible_collections.llama_fleet.core.plugins.module_utils.release.signature import signer_problems

# Where a release comes from that the controller has.
OFFERED = "controller"
# Of the module llama_cpp_release.
ARGUMENTS: dict[str, dict[str, typing.Any]] = {
    "source": {"type": "str", "required": True},
    "version": {"type": "str", "default": ""},
    "update": {"type": "str", "choices": ["always", "background", "missing", "never"], "default": "always"},
    "state": {"type": "str", "choices": ["present", "packed"], "default": "present"},
    "method": {"type": "str", "choices": ["auto", "source", "upstream"], "default": "auto"},
    "backend": {"type": "str", "choices": ["cpu", "cuda"], "default": "cpu"},
    "cuda_toolkit": {"type": "path", "default": ""},
    "cuda_toolkit_version": {"type": "str", "default": ""},
    "cuda_architectures": {"type": "list", "elements": "str", "default": []},
    "driver_version": {"type": "str", "default": ""},
    "cpu": {"type": "str", "default": "native"},
    "cmake_options": {"type": "dict", "default": {}},
    "jobs": {"type": "int", "default": 0},
    "root": {"type": "path", "default": "/opt/llama-fleet"},
    "compiler_cache": {"type": "path", "default": ""},
    "install_packages": {"type": "bool", "default": True},
    "index_url": {"type": "str", "default": ""},
    "cache": {"type": "list", "elements": "str", "default": []},
    "trusted_signers": {"type": "list", "elements": "str", "default": []},
    "builders": {"type": "list", "elements": "str", "default": []},
    "controller_cache": {"type": "str", "default": "~/.cache/llama-fleet/releases"},
    "upstream_url": {"type": "str", "default": UPSTREAM_URL},
    "pack_to": {"type": "path", "default": ""},
    "signing_key": {"type": "path", "default": "", "no_log": False},
    "offered": {"type": "str", "default": ""},
    "install_git": {"type": "bool", "default": False},
    "keep": {"type": "int", "default": 3},
    "instances": {"type": "path", "default": "/etc/llama-fleet"},
}


@dataclasses.dataclass(frozen=True)
class Request:
    """The module's parameters, parsed."""

    source: Archive | Repository | PackedSource | Upstream
    version: str
    method: str
    backend: str
    cuda_toolkit: str
    cuda_toolkit_version: str
    cuda_architectures: tuple[str, ...]
    driver_version: str
    cpu: str
    cmake_options: dict[str, typing.Any]
    jobs: int
    root: pathlib.Path
    compiler_cache: pathlib.Path
    install_packages: bool
    index_url: str
    cache: tuple[str, ...]
    trusted_signers: tuple[str, ...]
    upstream_url: str
    offered: tuple[Entry, ...] = ()
    update: str = "always"

    @property
    def from_source(self) -> bool:
        """Whether it can be compiled here."""
        return isinstance(self.source, (Archive, Repository))

    @property
    def source_name(self) -> str:
        """The source without its checksums."""
        if isinstance(self.source, Upstream):
            return f"upstream:{self.source.tag}"
        return self.source.url if isinstance(self.source, Repository) else self.source.reference

    def problems(self) -> list[Problem]:
        """What is wrong with the request, whatever the host."""
        found = option_problems(self.cmake_options, "llama_cpp_cmake_options")
        if self.jobs < 0:
            found.append(
                Problem("llama_cpp_jobs", str(self.jobs), "0 for as many as the host bears, or a positive number")
            )
        if not self.root.is_absolute():
            found.append(Problem("llama_cpp_root", f"'{self.root}'", "an absolute path"))
        if self.backend == CUDA and self.from_source:
            found += architecture_problems(self.cuda_architectures, "llama_cpp_cuda_architectures")
            if not self.cuda_architectures:
                found.append(
                    Problem(
                        "llama_cpp_cuda_architectures",
                        "an empty list",
                        "at least one architecture such as '90-real' for the backend cuda",
                    )
                )
        return [
            *found,
            *self._method_problems(),
            *location_problems(self.cache),
            *signer_problems(self.trusted_signers),
        ]

    def _method_problems(self) -> list[Problem]:
        if self.method == "upstream" and not isinstance(self.source, Upstream):
            wanted = f"'upstream:<build tag>#sha256=<sum>' as {SOURCE}"
            return [
                Problem(
                    "llama_cpp_method", f"upstream, and {self.source_name} as {SOURCE}", wanted, "correct one of them"
                )
            ]
        if self.method == "source" and not self.from_source:
            wanted = f"an archive or a repository as {SOURCE}"
            return [
                Problem(
                    "llama_cpp_method",
                    f"source, and binaries ({self.source_name}) as {SOURCE}",
                    wanted,
                    "correct one of them",
                )
            ]
        return []


def parse_request(parameters: typing.Mapping[str, typing.Any]) -> Request:
    """The request in the parameters of the module; raises where the source is not one."""
    root = pathlib.Path(parameters["root"])
    return Request(
        source=parse_source(parameters["source"]),
        version=parameters["version"],
        method=parameters["method"],
        backend=parameters["backend"],
        cuda_toolkit=parameters["cuda_toolkit"],
        cuda_toolkit_version=parameters["cuda_toolkit_version"],
        cuda_architectures=tuple(parameters["cuda_architectures"]),
        driver_version=parameters["driver_version"],
        cpu=parameters["cpu"],
        cmake_options=parameters["cmake_options"],
        jobs=parameters["jobs"],
        root=root,
        compiler_cache=pathlib.Path(parameters["compiler_cache"] or root / "cache" / "compiler"),
        install_packages=parameters["install_packages"],
        index_url=parameters["index_url"],
        cache=tuple(parameters["cache"]),
        trusted_signers=tuple(parameters["trusted_signers"]),
        upstream_url=parameters["upstream_url"],
        offered=tuple(parse(parameters["offered"])) if parameters["offered"] else (),
        update=parameters["update"],
    )
