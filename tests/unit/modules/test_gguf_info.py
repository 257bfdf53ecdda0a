# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The module gguf_info on files and against the test hub over real HTTP."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import types
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import ask as http_ask
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.tiny_model import write_tiny_model
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.types import TEXT
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.modules import gguf_info
from ansible_collections.llama_fleet.core.tests.unit.at_the_door import admitted
from ansible_collections.llama_fleet.core.tests.unit.fakes.gguf import LLAMA, array, gguf, number, pair, tensor, text
from tests.hub import Fault, Hub

Result = dict[str, typing.Any]
RELEASE = os.environ.get("LLAMA_FLEET_TEST_RELEASE", "")
MODEL = os.environ.get("LLAMA_FLEET_TEST_MODEL", "")
COLLECTIONS = pathlib.Path(__file__).resolve().parents[3] / "collections"
TOKEN = "hf_alice"  # of the test hub
WHOLE = "tiny-Q8_0.gguf"
SHARDS = [f"tiny-Q4_K_M-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
PROGRAM = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.llama_fleet.core.plugins.modules import gguf_info
with patch_module_args(json.loads(sys.stdin.read())):
    gguf_info.main()
"""


@dataclasses.dataclass
class Module:
    """The part of AnsibleModule that the module uses."""

    params: dict[str, typing.Any]
    tmpdir: str


def shard(place: int, count: int, vocabulary: int = 0) -> bytes:
    """One file of a split model with a tensor of 64 values; the first one also says what the model is, after its
    vocabulary.
    """
    pairs = [number("split.no", place - 1), number("split.count", count)]
    if place == 1:
        words = b"".join(text(f"{index:09}") for index in range(vocabulary))
        pairs += [array("tokenizer.ggml.tokens", TEXT, vocabulary, words), LLAMA, number("llama.context_length", 2048)]
        pairs += [number("general.file_type", 15), pair("tokenizer.chat_template", TEXT, text("{{ messages }}"))]
    return gguf(*pairs, tensors=[tensor(f"blk.{place}.weight", (64,))], data=256)


def write_models(folder: pathlib.Path) -> None:
    """Write a whole and a split model."""
    folder.mkdir(parents=True)
    write_tiny_model(folder / WHOLE)
    for place, name in enumerate(SHARDS, 1):
        (folder / name).write_bytes(shard(place, 3))


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the seconds between tries instead of waiting."""
    told: list[float] = []
    monkeypatch.setattr(http_ask, "time", types.SimpleNamespace(sleep=told.append))
    return told


@pytest.fixture
def models(tmp_path: pathlib.Path) -> pathlib.Path:
    write_models(tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def hub(tmp_path: pathlib.Path) -> typing.Iterator[Hub]:
    root = tmp_path / "hub"
    write_models(root / "repos" / "owner" / "open")
    write_models(root / "repos" / "owner" / "gated")
    (root / "repos" / "owner" / "gated" / ".hub.json").write_text(
        '{"gated": true, "granted": ["alice"]}', encoding="utf-8"
    )
    (root / "accounts.json").write_text(json.dumps({TOKEN: "alice", "hf_bob": "bob"}), encoding="utf-8")
    (root / "files").mkdir()
    (root / "simple").mkdir()
    with Hub(root) as hub:
        yield hub


@pytest.fixture
def release(tmp_path: pathlib.Path) -> pathlib.Path:
    """Write a llama-fit-params that prints its arguments and the model's size as memory, and return its release."""
    program = tmp_path / "release" / "bin" / "llama-fit-params"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "CUDA0 $4 $6 $(stat -c %s "$2") "\necho "Host 1 2 3 "\n', encoding="ascii")
    program.chmod(0o755)
    return tmp_path / "release"


def call(folder: pathlib.Path, **given: typing.Any) -> Result:
    parameters = {"path": None, "url": None, "token": "", "release": None, "ctx_size": 0, "parallel": 1, **given}
    return admitted("gguf_info", gguf_info.stage(typing.cast("typing.Any", Module(parameters, str(folder)))))


def problem(folder: pathlib.Path, **given: typing.Any) -> str:
    with pytest.raises(ProblemError) as caught:
        call(folder, **given)
    return str(caught.value)


def test_a_whole_model_on_the_host(models: pathlib.Path) -> None:
    path = models / WHOLE
    result = call(models, path=str(path))
    assert result == {
        "changed": False,
        "architecture": "llama",
        "name": "tiny",
        "size_label": "",
        "quant": "",
        "size": path.stat().st_size,
        "files": [{"name": str(path), "size": path.stat().st_size}],
        "split_count": 1,
        "context_trained": 512,
        "layers": 2,
        "embedding_length": 256,
        "parameters": 935168,
        "tensors": 21,
        "chat_template": False,
    }


def test_a_split_model_is_all_of_its_shards(models: pathlib.Path) -> None:
    result = call(models, path=str(models / SHARDS[0]))
    assert [file["name"] for file in result["files"]] == [str(models / name) for name in SHARDS]
    assert result["size"] == sum((models / name).stat().st_size for name in SHARDS)
    assert (result["split_count"], result["parameters"], result["tensors"]) == (3, 192, 3)
    assert (result["quant"], result["context_trained"], result["chat_template"]) == ("Q4_K_M", 2048, True)


@pytest.mark.parametrize("name", [WHOLE, SHARDS[0]])
def test_by_url_it_says_the_same_and_fetches_a_megabyte_a_file(hub: Hub, models: pathlib.Path, name: str) -> None:
    with (hub.root / "repos" / "owner" / "open" / name).open("ab") as file:
        file.truncate(50 << 20)  # bytes behind the last tensor, as large as a model's
    (models / name).write_bytes((hub.root / "repos" / "owner" / "open" / name).read_bytes())
    local, remote = call(models, path=str(models / name)), call(models, url=f"{hub.url}/owner/open/resolve/main/{name}")
    assert {**remote, "files": []} == {**local, "files": []}
    assert [file["name"] for file in remote["files"]] == [
        f"{hub.url}/owner/open/resolve/main/{pathlib.Path(file['name']).name}" for file in local["files"]
    ]
    assert [entry.origin for entry in hub.settle()].count("storage") == len(local["files"])
    assert hub.sent < 3 << 20


def test_a_server_without_ranges_is_read_from_the_beginning(hub: Hub, models: pathlib.Path) -> None:
    hub.faults["large.gguf"] = Fault(ranges=False)
    content = shard(1, 1, vocabulary=150_000)  # two and a half megabytes
    (hub.root / "repos" / "owner" / "open" / "large.gguf").write_bytes(content)
    result = call(models, url=f"{hub.url}/owner/open/resolve/main/large.gguf")
    assert (result["size"], result["context_trained"], result["parameters"]) == (len(content), 2048, 64)
    assert [entry.status for entry in hub.settle() if entry.origin == "storage"] == [200, 200, 200]


@pytest.mark.parametrize(
    ("fault", "waits"),
    [
        (Fault(status=502, times=2), [0.25, 0.5]),
        (Fault(status=429, retry_after="7"), [7.0]),
        (Fault(cut_at=100, cuts=2), [0.25, 0.5]),
        (Fault(reset_at=0), [0.25]),
        (Fault(status=403, where="storage"), [0.25]),
    ],
)
def test_what_passes_is_waited_for(
    hub: Hub, models: pathlib.Path, pauses: list[float], fault: Fault, waits: list[float]
) -> None:
    hub.faults[WHOLE] = dataclasses.replace(fault)
    assert call(models, url=f"{hub.url}/owner/open/resolve/main/{WHOLE}")["architecture"] == "llama"
    assert pauses == waits


def test_what_does_not_pass_is_given_up(hub: Hub, models: pathlib.Path, pauses: list[float]) -> None:
    hub.faults[WHOLE] = Fault(status=502, times=99)
    url = f"{hub.url}/owner/open/resolve/main/{WHOLE}"
    assert problem(models, url=url).startswith(
        f"url: expected a file or index that can be read, found HTTP status 502 from {url}"
    )
    assert len(pauses) == 4
    pauses.clear()
    assert "HTTP status 404" in problem(models, url=f"{url}.gguf")
    assert pauses == []


def test_the_token_opens_a_gated_model_and_stays_with_its_origin(hub: Hub, models: pathlib.Path) -> None:
    url = f"{hub.url}/owner/gated/resolve/main/{WHOLE}"
    assert call(models, url=url, token=TOKEN)["architecture"] == "llama"
    assert {(entry.origin, entry.authorized) for entry in hub.settle()} == {("front", True), ("storage", False)}
    fix = "Fix: Give the token of an account that was granted access."
    assert problem(models, url=url) == (
        f"url: expected a readable file, found HTTP status 401 from {url} with no token. {fix}"
    )
    assert problem(models, url=url, token="hf_bob") == (
        f"url: expected a readable file, found HTTP status 403 from {url} with the token that was given. {fix}"
    )
    bad = problem(models, url=url, token="two words")
    assert bad.startswith("token: expected an access token as the Hub shows it, found characters that no token has")
    assert "two words" not in bad


def test_what_is_no_model_at_the_url_is_told(hub: Hub, models: pathlib.Path) -> None:
    folder = hub.root / "repos" / "owner" / "open"
    base = f"{hub.url}/owner/open/resolve/main"
    hub.faults[WHOLE] = Fault(html=True)
    assert (
        f"url: expected a GGUF file, found an HTML or XML page (a login or error page, perhaps) at {base}/{WHOLE}."
        in problem(models, url=f"{base}/{WHOLE}")
    )
    (folder / "pointer.gguf").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", encoding="ascii")
    assert "url: expected a GGUF file, found a Git LFS pointer instead of the file" in problem(
        models, url=f"{base}/pointer.gguf"
    )
    (folder / "empty.gguf").write_bytes(b"")
    assert f"url: expected a GGUF file, found an empty file at {base}/empty.gguf" in problem(
        models, url=f"{base}/empty.gguf"
    )
    (folder / "cut.gguf").write_bytes((models / WHOLE).read_bytes()[:-100])
    assert "url: expected a whole GGUF file, found " in problem(models, url=f"{base}/cut.gguf")
    assert problem(models, url=f"{base}/absent.gguf").startswith(
        "url: expected a file or index that can be read, found HTTP status 404 (EntryNotFound) from "
        f"{base}/absent.gguf."
    )
    (folder / SHARDS[2]).unlink()
    assert f"HTTP status 404 (EntryNotFound) from {base}/{SHARDS[2]}" in problem(models, url=f"{base}/{SHARDS[0]}")
    hub.faults[SHARDS[0]] = Fault(cut_at=100, cuts=99)
    message = problem(models, url=f"{base}/{SHARDS[0]}")
    assert re.match("url: expected .+, found ", message)
    assert f"{base}/{SHARDS[0]}" in message


def test_a_query_is_asked_with_and_never_shown(hub: Hub, models: pathlib.Path) -> None:
    url = f"{hub.url}/owner/open/resolve/main/{WHOLE}"
    result = call(models, url=f"{url}?download=true&signature=s3cret")
    assert result["files"][0]["name"] == url
    assert [entry.path for entry in hub.settle() if entry.origin == "front"] == [
        f"{url.removeprefix(hub.url)}?download=true&signature=s3cret"
    ]
    assert "s3cret" not in problem(models, url=f"{hub.url}/owner/open/resolve/main/absent.gguf?signature=s3cret")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"url": "ftp://host/a.gguf"},
            "url: expected the HTTP or HTTPS address of a GGUF file, found 'ftp://host/a.gguf'.",
        ),
        (
            {"url": "https:///a.gguf"},
            (
                "url: expected 'owner/repo[:QUANT]' on the Hub, 'https://<host>/<name>.gguf[#sha256=<sum>]', "
                "the absolute path of a GGUF file or of a folder with them, or "
                "'pypi:<project>==<version>#sha256=<sum>', found 'https:///a.gguf', a URL without a host"
            ),
        ),
        (
            {"url": "https://host/a.bin"},
            (
                "url: expected the URL of a GGUF file, such as 'https://<host>/<name>.gguf#sha256=<sum>', "
                "found 'https://host/a.bin', whose path does not end in '.gguf'"
            ),
        ),
        (
            {"url": "https://user:s3cret@host/a.gguf"},
            "url: expected a URL without, found a URL with a user name or password in it",
        ),
        (
            {"url": f"https://host/{SHARDS[1]}"},
            f"url: expected its first shard, '{SHARDS[0]}', found '{SHARDS[1]}', shard 2 of a split model.",
        ),
        (
            {"url": "http://127.0.0.1:1/a.gguf"},
            (
                "url: expected a file or index that can be read, found no answer from "
                "http://127.0.0.1:1/a.gguf (Connection refused)"
            ),
        ),
        ({"path": "a.gguf"}, "path: expected the absolute path of a GGUF file, found 'a.gguf'."),
        ({"path": "/proc"}, "path: expected the absolute path of a GGUF file, found '/proc'."),
        (
            {"path": "/nowhere/a.gguf"},
            (
                "path: expected the path of a GGUF file or of a folder with them, found '/nowhere/a.gguf', "
                "which is not on the host"
            ),
        ),
        (
            {"path": "/proc/version"},
            "path: expected a GGUF file, found a file that begins with b'Linu' at /proc/version",
        ),
    ],
)
def test_bad_input_is_told_in_words_of_this_module(tmp_path: pathlib.Path, given: Result, sentence: str) -> None:
    message = problem(tmp_path, **given)
    assert message.startswith(sentence)
    assert "s3cret" not in message


def test_shards_whose_names_are_wrong_are_told(models: pathlib.Path) -> None:
    (models / SHARDS[1]).write_bytes(shard(3, 3))
    assert f"path: expected shard 2 of 3, found {models / SHARDS[1]}, whose header calls it shard 3 of 3." in problem(
        models, path=str(models / SHARDS[0])
    )
    (models / "renamed.gguf").write_bytes(shard(1, 3))
    assert (f"expected shard 1 of 1, found {models}/renamed.gguf, whose header calls it shard 1 of 3.") in problem(
        models, path=str(models / "renamed.gguf")
    )
    (models / SHARDS[1]).unlink()
    assert f"2 of 3 shards in {models}, without {SHARDS[1]}" in problem(models, path=str(models / SHARDS[0]))


def test_memory_is_planned_for_all_slots(hub: Hub, models: pathlib.Path, release: pathlib.Path) -> None:
    size = (models / WHOLE).stat().st_size
    place: Result
    for place in ({"path": str(models / WHOLE)}, {"url": f"{hub.url}/owner/open/resolve/main/{WHOLE}"}):
        plan = call(models, **place, release=str(release), ctx_size=256, parallel=3)["memory"]
        assert plan == {
            "devices": [
                {"name": "CUDA0", "model_mib": 768, "context_mib": 3, "compute_mib": size},
                {"name": "Host", "model_mib": 1, "context_mib": 2, "compute_mib": 3},
            ],
            "total_mib": 768 + 3 + size + 6,
            "ctx_size": 256,
            "parallel": 3,
        }
    trained = call(models, path=str(models / SHARDS[0]), release=str(release), parallel=2)["memory"]
    assert (trained["ctx_size"], trained["devices"][0]["model_mib"]) == (2048, 4096)
    assert sorted(path.name for path in models.iterdir()) == sorted([WHOLE, *SHARDS])


def test_what_cannot_be_planned_is_told(models: pathlib.Path, release: pathlib.Path, tmp_path: pathlib.Path) -> None:
    path = str(models / WHOLE)
    assert problem(models, path=path, release=str(tmp_path)).startswith(
        f"release: expected a release of llama.cpp, found no bin/llama-fit-params in {tmp_path}."
    )
    assert (
        problem(models, path=path, release=str(release), parallel=0) == "parallel: expected at least one slot, found 0."
    )
    assert problem(models, path=path, release=str(release), ctx_size=513) == (
        "ctx_size: expected at most the 512 tokens that the model was trained for, for each slot, found 513."
    )
    assert problem(models, path=path, release=str(release), ctx_size=-1) == (
        "ctx_size: expected at most the 512 tokens that the model was trained for, for each slot, found -1."
    )


def run_module(**arguments: typing.Any) -> Result:
    """Run the module as Ansible does, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
    )
    assert "Traceback" not in done.stdout + done.stderr
    return typing.cast("Result", json.loads(done.stdout.splitlines()[-1]))


def test_as_ansible_runs_it(models: pathlib.Path, hub: Hub) -> None:
    plain, check = run_module(path=str(models / WHOLE)), run_module(path=str(models / WHOLE), _ansible_check_mode=True)
    assert (plain["changed"], plain["size"]) == (False, (models / WHOLE).stat().st_size)
    assert {**check, "invocation": 0} == {**plain, "invocation": 0}
    assert run_module()["msg"] == "one of the following is required: path, url"
    assert "mutually exclusive: path|url" in run_module(path="/a", url="http://b/c")["msg"]
    gated = run_module(url=f"{hub.url}/owner/gated/resolve/main/{WHOLE}", token="hf_bob")
    assert gated["failed"]
    assert gated["problems"][0]["subject"] == "url"
    assert "hf_bob" not in json.dumps(gated)


@pytest.mark.skipif(
    not (RELEASE and MODEL),
    reason="needs LLAMA_FLEET_TEST_RELEASE, a release of llama.cpp, and LLAMA_FLEET_TEST_MODEL, a GGUF file",
)
def test_with_a_real_release_and_a_real_model() -> None:
    result = run_module(path=MODEL, release=RELEASE, ctx_size=1024, parallel=4)
    assert (result["architecture"], result["quant"], result["layers"], result["parameters"]) == (
        "llama",
        "Q4_1",
        30,
        134515008,
    )
    assert result["memory"]["devices"][-1]["name"] == "Host"
    assert 250 < result["memory"]["total_mib"] < 1000
