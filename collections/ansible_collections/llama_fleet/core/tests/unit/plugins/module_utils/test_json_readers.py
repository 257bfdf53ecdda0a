# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Give every reader of foreign documents any JSON and any text.

Each must return a value or raise the error that it documents, and never another one.
"""

from __future__ import annotations

import contextlib
import json
import math
import pathlib
import re
import tempfile
import typing

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ansible_collections.llama_fleet.core.plugins.module_utils import progress, untrusted
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import wheels as cuda_wheels
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import index as package_index
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import Package
from ansible_collections.llama_fleet.core.plugins.module_utils.host import control_groups, cpus, files, ports, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.host import memory as build_jobs
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.model import hub
from ansible_collections.llama_fleet.core.plugins.module_utils.model import store as model_store
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import processes as nvidia_processes
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import smi as nvidia_smi
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight import network as preflight_network
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
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import free as server_memory_free
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import process as runtime_process
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state import store as server_store
from ansible_collections.llama_fleet.core.plugins.module_utils.server.status import info as server_info
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv as tools_venv
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer import journal as segment_journal
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Plain, ShapeError

SHA, SUM = "0123456789abcdef0123456789abcdef01234567", "ab" * 32
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
        return "http://hub/x"


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


FILE = {
    "type": "file",
    "path": "m-Q4_K_M.gguf",
    "size": 9,
    "blob_id": SHA,
    "oid": SHA,
    "lfs": {"oid": SUM, "sha256": SUM, "size": 9, "pointerSize": 1},
}
PAGE = {
    "files": [{"filename": "x-1.tar.gz", "url": "x", "hashes": {"sha256": SUM}, "size": 9}],
    "meta": {"api-version": "1.0"},
}
RELEASE = {
    "build": "b1",
    "commit": SHA,
    "fingerprint": SUM,
    "fingerprint_parts": {"build": "b1", "cmake_options": {"A": "ON"}, "machine": "x86_64"},
    "backend": "cpu",
    "source": "pypi:x==1",
    "origin": "built",
    "taken_from": "/x",
    "cured": [],
    "smoke_test": {"cpu": {"prompt": 1.5}},
    "options": {
        "flags": ["--port"],
        "environments": ["X"],
        "details": [{"names": ["--port"], "value": "N", "choices": ["a"], "removed": False}],
    },
    "files": {"bin/a": SUM},
    "sizes": {"bin/a": 1},
    "links": {"bin/l": "a"},
}
GENERATION = {
    "runtime": "systemd",
    "release": "/r",
    "release_fingerprint": SUM,
    "model": "/m.gguf",
    "model_size": 1,
    "options": {"port": 8080, "host": "::1"},
    "variables": {"A": "1"},
    "command": ["llama-server", "--port", "8080"],
    "files": {"unit": SUM, "environment": SUM},
    "inputs": {},
    "unit_sha256": SUM,
    "api_key_sha256": "",
    "number": 1,
    "fingerprint": SUM,
    "environment": {"A": "1"},
    "good": True,
    "speed": 1.5,
    "memory": {"CUDA0": 1},
    "memory_plan": [{"device": "CUDA0", "model_mib": 1}],
    "model_file": ["/m.gguf", 1, 1],
    "context_length": 1,
    "previous": 1,
    "build": "b1",
    "created": "2026-01-01",
}
STORED = {"size": 1, "sha256": SUM, "mtime_ns": 1, "inode": 1}
MODEL = {
    "format": 1,
    "source": "owner/repo",
    "revision": SHA,
    "choices": {"": {"quant": "Q4_K_M", "files": ["m.gguf"], "mmproj": "p.gguf", "memory": {"a": 1}}},
    "files": {"m.gguf": STORED, "p.gguf": STORED},
}
INDEX = {
    "format": 1,
    "releases": {
        "b1": {"sha256": SUM, "size": 1, "fingerprint": SUM, "parts": {"build": "b1"}, "signed": True, "packed": 1}
    },
}
COMPLETION = {
    "content": "One, two",
    "tokens": [1, 2],
    "tokens_predicted": 16,
    "timings": {"predicted_per_second": 1.5},
    "completion_probabilities": [{"top_logprobs": [{"logprob": -1.5}]}],
    "data": [{"embedding": [[0.5]], "relevance_score": 1.5}],
    "results": [{"relevance_score": 1.5}],
}
LISTED = {"data": [{"id": "m", "status": {"value": "loaded"}}]}
JOURNAL = {"size": 900, "segment": 300, "sha256": SUM, "origins": ["http://a"], "done": "0.?"}
REVISIONS = {"http://hub": {"main": SHA, "other": SHA}}
SNAPSHOT = {"stage": "x", "done": 1, "total": 2, "unit": "bytes", "elapsed": 1.5, "pid": 1, "before": 1}
ROOT = pathlib.Path("/r")

# Name, a valid document, its reader, and the exceptions that the reader may raise.
READERS: list[tuple[str, Json, Reader, tuple[type[Exception], ...]]] = [
    ("hub.commit", {"sha": SHA}, asked(lambda each: each.commit("a/b", "main")), (ProblemError,)),
    ("hub.tree", [FILE], asked(lambda each: each.tree("a/b", SHA)), (ProblemError,)),
    ("hub.stated", {"size": 9, "etag": SUM}, asked(lambda each: each.stated("a/b", SHA, "m.gguf")), (ProblemError,)),
    ("hub.listing", [FILE], lambda data, _folder: hub.listing(data, 1 << 20), (ShapeError,)),
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

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
HARD = [
    "../../../etc/passwd",
    "/etc/passwd",
    "a\0b",
    "\ud800",
    "\x1b[2J",
    SUM,
    SHA,
    "9" * 5000,
    10**400,
    -1,
    float("nan"),
    "//[bad",
    "x" * 5000,
    "²",
]
LEAVES |= st.sampled_from(HARD)


def any_json(keys: typing.Sequence[str]) -> st.SearchStrategy[Json]:
    names = st.sampled_from([*keys, "../x", "a\0b", "\ud800", ""]) | st.text(max_size=10)
    return st.recursive(
        LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=10
    )


def keys_of(value: Json) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(key for each in value.values() for key in keys_of(each))]
    return [key for each in value for key in keys_of(each)] if isinstance(value, list) else []


def places_of(value: Json, path: tuple[Json, ...] = ()) -> list[tuple[Json, ...]]:
    """List every place in a document, including the whole document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places_of(each, (*path, key)))]


def put(value: Json, place: tuple[Json, ...], other: Json) -> Json:
    """Return ``value`` with ``other`` in one place."""
    if not place:
        return other
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = put(value[place[0]], place[1:], other)
    return copy


def documents(good: Json) -> st.SearchStrategy[Json]:
    """Generate the valid document with anything in one or two of its places, and arbitrary documents."""
    anything = any_json(keys_of(good))
    places = st.sampled_from(places_of(good))
    once = st.builds(put, st.just(good), places, anything)
    return once | anything


@pytest.mark.parametrize(("_name", "good", "read", "allowed"), READERS, ids=[each[0] for each in READERS])
def test_no_json_raises_anything_else(
    _name: str, good: Json, read: Reader, allowed: tuple[type[Exception], ...]
) -> None:
    @settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(documents(good))
    @example(good)
    def check(document: Json) -> None:
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(*allowed):
            read(json.dumps(document).encode(), pathlib.Path(folder))

    check()


@pytest.mark.parametrize(("_name", "good", "read", "_allowed"), READERS, ids=[each[0] for each in READERS])
def test_what_is_good_is_read(_name: str, good: Json, read: Reader, _allowed: object) -> None:
    """Otherwise the previous test would only see refusals."""
    with tempfile.TemporaryDirectory() as folder:
        assert (
            read(json.dumps(good).encode(), pathlib.Path(folder)) not in ({}, [], "")
            or _name == "tools_venv._installed"
        )


DEEP = [
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"[" * 50_000 + b"]" * 50_000,
    b"",
    b"\xff\xfe",
    b"nul",
    b'"\\ud800"',
    b"9" * 5000,
]


# These readers get the result of json.loads.
PARSED = ("hub.commit", "hub.tree", "hub.stated", "server_speed", "server_router.listed")
OF_TEXT = [each for each in READERS if each[0] not in PARSED]


@pytest.mark.parametrize("data", DEEP)
@pytest.mark.parametrize(("_name", "_good", "read", "allowed"), OF_TEXT, ids=[each[0] for each in OF_TEXT])
def test_no_text_raises_anything_else(
    _name: str, _good: Json, read: Reader, allowed: tuple[type[Exception], ...], data: bytes
) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(*allowed):
        read(data, pathlib.Path(folder))


# -- texts of the kernel and of programs -------------------------------------------------------------

TEXTS = st.text(max_size=200) | st.lists(
    st.sampled_from(
        [
            "MemAvailable:",
            "MemTotal:",
            "9" * 20,
            "kB",
            "max",
            "100000",
            "0::/",
            "a\0b",
            ":",
            "\n",
            " ",
            "1",
            "(x)",
            "S",
            "0A",
            "00000000:1F90",
            "²",
            "-1",
            "<gpu>",
            "</gpu>",
            "12 MiB",
        ]
    ),
    max_size=30,
).map("".join)


def below(*names: str) -> typing.Callable[[str, pathlib.Path], None]:
    def write(text: str, folder: pathlib.Path) -> None:
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", errors="replace")

    return write


TEXT_READERS: list[
    tuple[str, typing.Callable[[str, pathlib.Path], object], typing.Callable[[pathlib.Path], object]]
] = [
    (
        "processes.find",
        below("7/stat", "1/stat"),
        lambda root: (processes.find(7, root), processes._parent(7, root), processes.name(7, root)),
    ),
    (
        "processes.environment",
        below("7/environ"),
        lambda root: (processes.environment(7, root), processes.started_with("a", "b", root)),
    ),
    ("processes.in_unit", below("7/cgroup", "1/cgroup"), lambda root: processes.in_unit(7, "x.service", root)),
    ("control_groups.memory", below("proc/self/cgroup"), lambda root: list(control_groups.memory(root))),
    (
        "cpus.observe",
        below("proc/self/cgroup", "sys/fs/cgroup/cpu.max", "sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
        lambda root: cpus.observe(root, [0]),
    ),
    (
        "build_jobs.memory_available",
        below("proc/meminfo", "proc/self/cgroup", "sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current"),
        build_jobs.memory_available,
    ),
    (
        "server_memory_free.ram",
        below("proc/meminfo", "proc/7/status", "proc/self/cgroup"),
        lambda root: server_memory_free.ram("process", "", [7], root),
    ),
]


@pytest.mark.parametrize(("_name", "write", "read"), TEXT_READERS, ids=[each[0] for each in TEXT_READERS])
def test_no_text_of_the_kernel_raises(
    _name: str, write: typing.Callable[[str, pathlib.Path], object], read: typing.Callable[[pathlib.Path], object]
) -> None:
    @settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(TEXTS)
    @example("")
    @example("0::/a\0b\n")
    @example("MemAvailable:\nMemTotal: x kB\n")
    @example("7 (x) S " + "² " * 30)
    @example("7 (x) S " + "9" * 5000 + " 1" * 30)
    @example("9" * 5000)
    def check(text: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            write(text, pathlib.Path(folder))
            read(pathlib.Path(folder))

    check()


SMI = (
    "<nvidia_smi_log><driver_version>580.95.05</driver_version><gpu><uuid>{0}</uuid>"
    "<fb_memory_usage><total>{0}</total></fb_memory_usage>"
    "<minor_number>{0}</minor_number></gpu></nvidia_smi_log>"
)


@settings(max_examples=200, deadline=None, database=None)
@given(TEXTS)
@example("<!DOCTYPE x [<!ENTITY a 'a'><!ENTITY b '&a;&a;'>]>")
@example("<a>" * 50_000)
@example("9" * 5000)
@example("\ud800")
def test_no_text_of_a_program_raises_anything_else(text: str) -> None:
    for document in (text, SMI.replace("{0}", text), f"<nvidia_smi_log>{text}</nvidia_smi_log>"):
        with contextlib.suppress(ValueError):
            nvidia_smi.parse_log(document)
    ports.parse_table(f"head\n  0: {text} 0:0 0A 0:0 0:0 0 {text} 0 1 1\n{text}")
    server_memory_free.gpus(text)
    nvidia_processes.compute_processes(lambda *_words, **_more: Result(0, text, ""))
    nvidia_processes.used_mib(lambda *_words, **_more: Result(0, f"{text}\n1, {text}", ""), [1])
    server_metrics.parse(f"llamacpp:x {text}\n{text}")
    smoke_test.parse_devices(text)
    server_help.parse_help(text)
    nvidia_smi.numbers(text)


def test_the_table_holds_every_reader() -> None:
    """Every reader of JSON or XML uses the untrusted module, or is listed here with a reason."""
    place = pathlib.Path(untrusted.__file__).parent
    found = {
        path.name
        for path in place.rglob("*.py")
        if re.search(r"json\.loads?\(|ElementTree|fromstring\(", path.read_text(encoding="utf-8"))
    }
    # The door itself; the server's answers, whose parts are read by shapes; nvidia-smi's XML, which is tried above.
    assert found == {"untrusted.py", "client.py", "smi.py"}
    assert len(READERS) == 25


def test_a_deep_value_overflows_no_stack_where_it_is_checked() -> None:
    with pytest.raises(ShapeError, match="has too many levels"):
        untrusted.parse("[" * 500 + "]" * 500, Plain())
