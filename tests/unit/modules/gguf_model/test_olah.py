# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The module gguf_model with olah, a caching mirror, as its endpoint: the Hub's protocol as somebody else speaks it."""

from __future__ import annotations

import hashlib
import os
import pathlib
import subprocess
import typing
import urllib.request

import pytest

from ansible_collections.llama_fleet.core.tests.unit.module_runs import free_port
from tests.hub import Fault
from tests.hub.paths_info import answer_paths_info
from tests.unit.modules.gguf_model.case import REPO, SHARDS, SIZE, TOKEN, Result, call, problem, wait_for, weights

if typing.TYPE_CHECKING:
    from tests.hub import Hub

OLAH = os.environ.get("LLAMA_FLEET_TEST_OLAH", "")
pytestmark = pytest.mark.skipif(not OLAH, reason="needs LLAMA_FLEET_TEST_OLAH, the program olah-cli")

SETTINGS = """
[basic]
host = "127.0.0.1"
port = {port}
repos-path = "{cache}"
log-path = "{cache}/logs"
hf-scheme = "http"
hf-netloc = "{front}"
hf-lfs-netloc = "{storage}"
mirror-scheme = "http"
mirror-netloc = "127.0.0.1:{port}"
mirror-lfs-netloc = "127.0.0.1:{port}"

[accessibility]
offline = false

[[accessibility.proxy]]
repo = "*/*"
allow = true

[[accessibility.cache]]
repo = "*/*"
allow = true
"""


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture
def olah(hub: Hub, wanted: Result, tmp_path: pathlib.Path) -> typing.Iterator[str]:
    """Run olah in front of the test hub, make it the endpoint of ``wanted``, and yield its URL."""
    answer_paths_info(hub)
    port, folder = free_port(), tmp_path / "olah"
    folder.mkdir()
    storage = f"{hub.host}:{hub.storage_port}"
    (folder / "settings.toml").write_text(
        SETTINGS.format(port=port, cache=folder, front=f"{hub.host}:{hub.port}", storage=storage), encoding="utf-8"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [OLAH, "-c", str(folder / "settings.toml")], cwd=folder, env=environment, stdout=output, stderr=output
        )
        try:
            wanted["endpoint"] = f"http://127.0.0.1:{port}"
            wait_for(
                lambda: answers(f"{wanted['endpoint']}/api/models/{REPO}/revision/main") or process.poll() is not None
            )
            assert process.poll() is None, (folder / "output").read_text(encoding="utf-8")
            yield wanted["endpoint"]
        finally:
            process.terminate()
            process.wait(timeout=20)


def test_a_split_model(hub: Hub, wanted: Result, olah: str) -> None:
    planned = call(wanted, check_mode=True)
    assert [(file["name"], file["size"], file["url"].startswith(olah)) for file in planned["plan"]["fetch"]] == [
        (name, SIZE, True) for name in SHARDS
    ]
    done = call(wanted)
    assert done["changed"]
    assert (done["quant"], done["revision"], done["downloaded"]) == ("Q4_K_M", hub.repos.commit(REPO), 3 * SIZE)
    assert [file["sha256"] for file in done["files"]] == [hashlib.sha256(weights(name)).hexdigest() for name in SHARDS]
    assert [pathlib.Path(file["path"]).read_bytes() for file in done["files"]] == [weights(name) for name in SHARDS]
    assert not call(wanted)["changed"]


def test_the_second_host_costs_the_hub_no_byte(hub: Hub, wanted: Result, olah: str, tmp_path: pathlib.Path) -> None:
    assert olah
    call(wanted)
    sent = hub.sent
    assert call(wanted, root=str(tmp_path / "second"))["downloaded"] == 3 * SIZE
    assert hub.sent == sent


def test_wrong_bytes_in_the_mirror_are_not_taken(hub: Hub, wanted: Result, olah: str, tmp_path: pathlib.Path) -> None:
    hub.faults["SmolLM-Q8_0.gguf"] = Fault(flip_at=5000)
    said = problem(wanted, quant="Q8_0")
    assert "sha256" in said
    assert olah in said
    assert not list((tmp_path / "root").rglob("*.gguf"))


def test_no_such_quant(wanted: Result, olah: str) -> None:
    assert olah
    assert "SmolLM-Q8_0.gguf, 0.9 MB" in problem(wanted, quant="Q6_K")


def test_gated_and_anonymous(wanted: Result, olah: str) -> None:
    said = problem(wanted, source="owner/gated")
    assert said.startswith(
        "gguf_model_token: expected the token of an account that was granted access, found none, and "
        "'owner/gated' is gated"
    )
    assert olah in said


def test_gated_with_a_token(hub: Hub, wanted: Result, olah: str) -> None:
    assert olah
    assert call(wanted, source="owner/gated", token=TOKEN)["changed"]
    assert {entry.authorized for entry in hub.settle() if entry.origin == "storage"} == {False}


def test_no_such_repository(wanted: Result, olah: str) -> None:
    assert olah in problem(wanted, source="owner/nothing")
