# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The choice of a transport, and its message to the user."""

from __future__ import annotations

import contextlib
import functools
import pathlib
import typing

import huggingface_hub
import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.model import stage as model_stage
from ansible_collections.llama_fleet.core.plugins.module_utils.model import transfer as model_transfer
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer import request, segments
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.xet import XetError
from tests.hub import Fault, Hub
from tests.unit.modules.gguf_model.case import HEADER, SHARDS, SIZE, TOKEN, Result, call, start, weights


class Xet:
    """A stand-in for fetch_xet that fails from the file with the number ``fails`` on."""

    def __init__(self, fails: int) -> None:
        self.fails = fails
        self.urls: list[str] = []

    def __call__(
        self, _client: object, url: str, _endpoint: str, token: str, part: pathlib.Path, size: int, *_more: object
    ) -> int:
        if len(self.urls) == self.fails:
            raise XetError(f"Xet stalled at {url.rpartition('/')[2]}")
        assert token == TOKEN
        self.urls.append(url)
        part.write_bytes(weights(url.rpartition("/")[2]))
        return size


@pytest.mark.parametrize("fails", [0, 1, 3])
def test_xet_and_http_for_the_rest(hub: Hub, wanted: Result, monkeypatch: pytest.MonkeyPatch, fails: int) -> None:
    xet = Xet(fails)
    monkeypatch.setattr(model_transfer, "fetch_xet", xet)
    done = call(wanted, source="owner/gated", token=TOKEN, transport="xet")
    assert done["downloaded"] == 3 * SIZE
    assert [pathlib.Path(file["path"]).read_bytes() for file in done["files"]] == [weights(name) for name in SHARDS]
    assert hub.sent == (3 - fails) * SIZE + HEADER
    told = (
        [f"gguf_model_transport: Xet stalled at {SHARDS[fails]}, so plain HTTP was used instead of Xet."]
        if fails < 3
        else []
    )
    assert done.get("warnings", []) == told
    assert call(wanted, source="owner/gated", token=TOKEN, transport="xet")["changed"] is False


def test_a_hub_without_xet(hub: Hub, wanted: Result) -> None:
    done = call(wanted, transport="xet")
    (told,) = done["warnings"]
    assert told.endswith("does not keep the file in Xet, so plain HTTP was used instead of Xet.")
    assert (done["downloaded"], hub.sent) == (3 * SIZE, 3 * SIZE + HEADER)


@pytest.mark.parametrize("transport", ["auto", "http"])
def test_no_xet_unless_asked_for(wanted: Result, monkeypatch: pytest.MonkeyPatch, transport: str) -> None:
    monkeypatch.setattr(model_transfer, "fetch_xet", None)
    assert call(wanted, transport=transport)["changed"]


@pytest.mark.parametrize(("changes", "kept"), [({"check_mode": True}, False), ({"plan_only": True}, True), ({}, True)])
def test_only_check_mode_keeps_no_client(
    wanted: Result, monkeypatch: pytest.MonkeyPatch, changes: Result, kept: bool
) -> None:
    asked = []

    @contextlib.contextmanager
    def client(
        _root: pathlib.Path, _index: str, _progress: object, keep: bool, endpoint: str
    ) -> typing.Iterator[object]:
        asked.append(keep)
        assert endpoint == wanted["endpoint"]
        yield huggingface_hub

    monkeypatch.setattr(model_stage, "hub_client", client)
    call(wanted, **changes)
    assert asked == [kept]


def test_a_wait_that_the_hub_asks_for_is_shown(hub: Hub, wanted: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(
        Progress,
        "_write",
        lambda _self, snapshot, force: shown.append(f"{snapshot.text()}{'' if force else ' if it is time'}"),
    )
    patient = functools.partial(segments.fetch_all, manner=request.Manner(longest_wait=1.0))
    monkeypatch.setattr(segments, "fetch_all", patient)
    hub.faults["SmolLM-Q8_0.gguf"] = Fault(status=429, retry_after="120", where="storage", times=4)
    assert call(wanted, quant="Q8_0")["changed"]
    begun = shown.index("waiting 1 s, as 127.0.0.1 asks")
    assert shown[begun - 2].startswith("fetching SmolLM-Q8_0.gguf")
    assert shown[begun + 1] == "fetching SmolLM-Q8_0.gguf"
    assert shown[begun + 2].startswith("fetching SmolLM-Q8_0.gguf: 0 %")
    assert shown[-1].startswith("fetching SmolLM-Q8_0.gguf: 100 %")


def test_the_token_is_nowhere(hub: Hub, wanted: Result) -> None:
    """Not in the result, the diff, the progress, the store, on the process's command line or in its environment."""
    hub.faults[SHARDS[0]] = Fault(rate=900_000)
    with start({**wanted, "source": "owner/gated", "token": TOKEN, "_ansible_diff": True}) as process:
        seen = b""
        while hub.sent == 0 and process.poll() is None:
            seen += b"".join(
                pathlib.Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ")
            )
        output, _nothing = process.communicate()
    assert '"changed": true' in output
    files = [
        path
        for folder in (wanted["root"], wanted["progress_file"])
        for path in [pathlib.Path(folder), *pathlib.Path(folder).rglob("*")]
    ]
    assert [path for path in files if path.is_file() and TOKEN.encode() in path.read_bytes()] == []
    assert b"PYTHONPATH" in seen
    assert TOKEN.encode() not in seen
    # Ansible returns the arguments too, with what is secret taken out.
    assert TOKEN not in output


@pytest.mark.parametrize(
    ("name", "fault", "said"),
    [
        (SHARDS[0], Fault(status=403, times=99, where="storage"), "HTTP status 403"),
        (SHARDS[0], Fault(status=500, times=99), "500"),
        (SHARDS[1], Fault(size=1000), "1000"),
        (SHARDS[2], Fault(html=True), "HTML"),
    ],
)
def test_what_a_broken_hub_says_is_one_sentence_without_the_token(
    hub: Hub, wanted: Result, name: str, fault: Fault, said: str
) -> None:
    hub.faults[name] = fault
    with start({**wanted, "source": "owner/gated", "token": TOKEN}) as process:
        output, _nothing = process.communicate()
    assert '"failed": true' in output
    assert said in output
    assert TOKEN not in output
    assert "Traceback" not in output
