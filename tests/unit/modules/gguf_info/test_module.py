# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The module gguf_info on files of the host, its memory plans, and the module as Ansible runs it."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing

import pytest

from tests.unit.modules.gguf_info.case import SHARDS, WHOLE, Result, call, problem, shard

if typing.TYPE_CHECKING:
    from tests.hub import Hub

RELEASE = os.environ.get("LLAMA_FLEET_TEST_RELEASE", "")
MODEL = os.environ.get("LLAMA_FLEET_TEST_MODEL", "")
COLLECTIONS = pathlib.Path(__file__).resolve().parents[4] / "collections"
PROGRAM = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.llama_fleet.core.plugins.modules import gguf_info
with patch_module_args(json.loads(sys.stdin.read())):
    gguf_info.main()
"""


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
                "url: expected 'owner/repo[@REVISION][:QUANT]' on the Hub, 'https://<host>/<name>.gguf[#sha256=<sum>]',"
                " the absolute path of a GGUF file or of a folder with them, or "
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
