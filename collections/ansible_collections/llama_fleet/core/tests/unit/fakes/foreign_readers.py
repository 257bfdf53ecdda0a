# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Every reader of foreign JSON, with a good document and the errors that it documents."""

from __future__ import annotations

import contextlib
import json
import math
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import progress
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import wheels as cuda_wheels
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import index as package_index
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import Package
from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.model import hub
from ansible_collections.llama_fleet.core.plugins.module_utils.model import store as model_store
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight import network as preflight_network
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.listing import parse_listing
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.web import Reply
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import archive as release_archive
from ansible_collections.llama_fleet.core.plugins.module_utils.release import flags as server_help
from ansible_collections.llama_fleet.core.plugins.module_utils.release import index as release_index
from ansible_collections.llama_fleet.core.plugins.module_utils.release import listing as release_list
from ansible_collections.llama_fleet.core.plugins.module_utils.release import pack as release_pack
from ansible_collections.llama_fleet.core.plugins.module_utils.release import smoke_test
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store as release_store
from ansible_collections.llama_fleet.core.plugins.module_utils.release import usage as instance_usage
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import metrics as server_metrics
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import router as server_router
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import speed as server_speed
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.client import Reply as Answer
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import process as runtime_process
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state import store as server_store
from ansible_collections.llama_fleet.core.plugins.module_utils.server.status import info as server_info
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv as tools_venv
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer import journal as segment_journal
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import ShapeError
from ansible_collections.llama_fleet.core.tests.unit.fakes.foreign_documents import (
    COMPLETION,
    FILE,
    GENERATION,
    INDEX,
    JOURNAL,
    LISTED,
    MODEL,
    PAGE,
    RELEASE,
    REVISIONS,
    SHA,
    SNAPSHOT,
    SUM,
)

Reader = typing.Callable[[bytes, pathlib.Path], object]
Json = typing.Any


class Hosted:
    """An object as huggingface_hub makes it from the server's JSON, with unvalidated attributes."""

    def __init__(self, told: Json) -> None:
        self.told = told

    def __getattr__(self, name: str) -> Json:
        if name.startswith("__"):
            raise AttributeError(name)
        told = self.told.get(name) if isinstance(self.told, dict) else self.told
        return Hosted(told) if isinstance(told, dict) else told


class Client:
    """The part of huggingface_hub that is used to query a Hub."""

    class errors:  # noqa: N801  # because the client has this name
        GatedRepoError = RepositoryNotFoundError = RevisionNotFoundError = EntryNotFoundError = HFValidationError = (
            OfflineModeIsEnabled
        ) = ConnectionError

    def __init__(self, told: Json) -> None:
        self.told = told

    def HfApi(self, **_settings: object) -> Client:  # noqa: N802  # because the client has this name
        return self

    def model_info(self, *_words: object, **_more: object) -> Hosted:
        return Hosted(self.told)

    def list_repo_tree(self, *_words: object, **_more: object) -> typing.Iterator[Hosted]:
        return (Hosted(each) for each in self.told)

    def get_hf_file_metadata(self, *_words: object, **_more: object) -> Hosted:
        return Hosted(self.told)

    def hf_hub_url(self, *_words: object, **_more: object) -> str:
        return "http://127.0.0.1:9/x"  # nothing listens there


def asked(act: typing.Callable[[hub.Hub], object]) -> Reader:
    def read(data: bytes, _folder: pathlib.Path) -> object:
        return act(hub.Hub(Client(json.loads(data)), "http://hub", ""))

    return read


def written(name: str, act: typing.Callable[[pathlib.Path], object]) -> Reader:
    """Return a reader of a file ``name`` below the folder that it is given."""

    def read(data: bytes, folder: pathlib.Path) -> object:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return act(folder)

    return read


def body(act: typing.Callable[[dict[str, Json]], object]) -> Reader:
    def read(data: bytes, _folder: pathlib.Path) -> object:
        told = json.loads(data)
        return act(told if isinstance(told, dict) else {})

    return read


def generation(folder: pathlib.Path) -> object:
    found = server_store.Store(folder).get(1)
    if found is None:
        return None
    told = (
        found.fingerprint,
        found.good,
        found.runtime,
        found.model,
        found.command,
        found.variables,
        found.options,
        found.port,
        found.host,
        found.speed,
    )
    return told, found.memory, found.files, found.damage(), server_info.build_of(found.manifest), dict(found.manifest)


def release(folder: pathlib.Path) -> object:
    found = release_store.newest_manifest(folder)
    told = [release_list.described(each, []) for each in release_list.releases(folder, "llama_cpp_root")]
    fits = release_store.find_release(folder, {"build": "b1"})
    flags = server_help.from_manifest(found or {})
    with contextlib.suppress(ValueError):
        release_archive.contents(found or {})
    with contextlib.suppress(ProblemError):
        release_pack.plan_pack(folder / "releases" / "b1-x", folder, None)
    return found, told, fits, flags


def recorded(folder: pathlib.Path) -> object:
    model_store.forget_commit(folder, "owner/repo", "0" * 40)
    return model_store.recall_commit(folder, "owner/repo", "http://hub", "main")


def recorded_model(folder: pathlib.Path) -> object:
    return model_store.recorded_model(folder, folder, "owner/repo", "", mmproj=True)


def remembered(folder: pathlib.Path) -> object:
    model_store.remember_commit(folder, "owner/repo", "http://hub", "main", SHA)
    return model_store.recall_commit(folder, "owner/repo", "http://hub", "main")


def journal(folder: pathlib.Path) -> object:
    (folder / "part.part").write_bytes(b"\0" * 900)
    waiting = segment_journal.waiting_bytes(folder / "part")
    disk = segment_journal.PartFile(folder / "part", 900, 300, SUM, ["http://a"])
    disk.open()
    try:
        assert 0 <= waiting <= 900
        return disk.letters()
    finally:
        disk.close()


def tools(folder: pathlib.Path) -> object:
    return tools_venv.tools_ready(folder, ["a==1"])


def benched(data: bytes, _folder: pathlib.Path) -> object:
    return smoke_test.parse_speeds(data.decode("utf-8", "replace"))


def preflight_hub(data: bytes, _folder: pathlib.Path) -> object:
    place = preflight_network.Place("hub", "gguf_model_endpoint", "http://hub")
    return preflight_network.hub(
        lambda *_words, **_more: Reply(200, data), place, preflight_network.Repo("a/b", "main", "")
    )


def preflight_package(data: bytes, _folder: pathlib.Path) -> object:
    place = preflight_network.Place("package", "llama_cpp_index_url", "http://index/simple")
    return preflight_network.package(lambda *_words, **_more: Reply(200, data), place, Package("x", "1"), SUM)


def telling(data: bytes, _folder: pathlib.Path) -> object:
    return server_metrics.ask(lambda _path: server_metrics.Reply(200, data.decode("utf-8", "replace")))


def sampled(told: dict[str, Json]) -> object:
    found = server_speed.sample(told)
    assert math.isfinite(found.speed)
    return (
        server_speed.nonsense(found),
        server_speed.judged("wrong", server_speed.likelihoods(told)),
        server_speed.bad_vector(told),
    )


# Name, a valid document, its reader, and the exceptions that the reader may raise.
READERS: list[tuple[str, Json, Reader, tuple[type[Exception], ...]]] = [
    ("hub.commit", {"sha": SHA}, asked(lambda each: each.commit("a/b", "main")), (ProblemError,)),
    ("hub.tree", [FILE], asked(lambda each: each.tree("a/b", SHA)), (ProblemError,)),
    ("hub.stated", {"size": 9, "etag": SUM}, asked(lambda each: each.stated("a/b", SHA, "m.gguf")), (ProblemError,)),
    ("listing", [FILE], lambda data, _folder: parse_listing(data), (ShapeError,)),
    (
        "package_index.parse_page",
        PAGE,
        lambda data, _folder: package_index.parse_page(data, "http://index/"),
        (ShapeError,),
    ),
    ("preflight_network.hub", [FILE], preflight_hub, ()),
    ("preflight_network.package", PAGE, preflight_package, ()),
    (
        "release_index.parse",
        INDEX,
        lambda data, _folder: release_index.parse(data.decode("utf-8", "replace")),
        (ValueError,),
    ),
    (
        "release_store.parse_manifest",
        RELEASE,
        lambda data, _folder: release_archive.contents(release_store.parse_manifest(data)),
        (ValueError,),
    ),
    ("release_store.read_manifest", RELEASE, written("releases/b1-x/manifest.json", release), ()),
    (
        "cuda_wheels.manifest_of",
        {"version": "13", "nvcc": "x", "architectures": ["90"]},
        written("manifest.json", cuda_wheels.manifest_of),
        (),
    ),
    ("store.Store.get", GENERATION, written("generations/1/manifest.json", generation), ()),
    (
        "generations.unfinished_rollback",
        {"to": 1},
        written("rolling-back", lambda folder: server_store.Store(folder).unfinished_rollback()),
        (),
    ),
    (
        "instance_usage.uses",
        GENERATION,
        written(
            "instances/a/generations/1/manifest.json", lambda folder: instance_usage.uses(folder, "llama_server_root")
        ),
        (ProblemError,),
    ),
    (
        "model_store.read_manifest",
        MODEL,
        written(
            "manifest.json", lambda folder: model_store.recorded_model(folder, folder, "owner/repo", "", mmproj=True)
        ),
        (),
    ),
    ("model_store.recall_commit", REVISIONS, written("models/owner/repo/revisions.json", recorded), ()),
    ("model_store.remember_commit", REVISIONS, written("models/owner/repo/revisions.json", remembered), ()),
    ("segment_journal.PartFile", JOURNAL, written("part.journal", journal), ()),
    (
        "runtime_process.RECORD",
        {"pid": 1, "started": 1},
        written("x.json", lambda folder: files.read_json(folder / "x.json", runtime_process.RECORD)),
        (),
    ),
    (
        "tools_venv._installed",
        {"python": "/x", "requirements": ["a==1"]},
        written(f"venv/{tools_venv.STAMP}", tools),
        (),
    ),
    ("progress.parse", SNAPSHOT, lambda data, _folder: progress.parse(data.decode("utf-8", "replace")), ()),
    ("server_metrics.ask", [{"is_processing": True}], telling, ()),
    ("server_speed", COMPLETION, body(sampled), ()),
    ("server_router.listed", LISTED, body(lambda told: server_router.listed(Answer(200, told))), ()),
    ("smoke_test.parse_speeds", [{"n_prompt": 32, "avg_ts": 1.5}, {"n_prompt": 0, "avg_ts": 1.5}], benched, ()),
]
