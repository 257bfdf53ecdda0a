# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Files over Xet: the real hf_xet and the real Hub client against a store that hf_xet made."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import random
import subprocess
import sys
import threading
import typing

import huggingface_hub
import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import rules as origins
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer import request, segments, xet_line
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.journal import UNKNOWN, PartFile
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.xet import XetError, fetch_xet, waiting_bytes
from tests.hub.xet import XetHub

CONTENT = b"GGUF" + random.Random(0).randbytes(3_000_000)
SUM = hashlib.sha256(CONTENT).hexdigest()
SEGMENT = 1 << 18
TOKEN = "hf_secret"


@dataclasses.dataclass
class Fetch:
    """One call of the function under test, with what it was told of the way."""

    hub: XetHub
    part: pathlib.Path
    seen: list[int] = dataclasses.field(default_factory=list)
    heads: list[bytes] = dataclasses.field(default_factory=list)

    def __call__(
        self, token: str = "", sha256: str = SUM, stall_seconds: float = 20, client: typing.Any = huggingface_hub
    ) -> int:
        size = len(CONTENT)
        return fetch_xet(
            client,
            self.hub.url,
            self.hub.endpoint,
            token,
            self.part,
            size,
            sha256,
            self.heads.append,
            self.seen.append,
            stall_seconds,
            SEGMENT,
        )

    def problem(self, **changes: typing.Any) -> str:
        with pytest.raises(XetError) as caught:
            self(**changes)
        return str(caught.value)

    def left(self) -> set[str]:
        return {path.name for path in self.part.parent.iterdir()}


@pytest.fixture
def hub(tmp_path: pathlib.Path) -> typing.Iterator[XetHub]:
    with XetHub(tmp_path / "store", CONTENT) as hub:
        yield hub


@pytest.fixture
def fetch(hub: XetHub, tmp_path: pathlib.Path) -> Fetch:
    (tmp_path / "parts").mkdir()
    return Fetch(hub, tmp_path / "parts" / SUM)


def test_no_store_on_this_host_is_read(tmp_path: pathlib.Path) -> None:
    """Xet's own client would: whoever answers for the Hub could name any folder."""
    with XetHub(tmp_path / "store", CONTENT, over_http=False) as hub:
        said = Fetch(hub, tmp_path / "part").problem()
    assert said.startswith(
        f"{hub.endpoint} gave no store of Xet that can be asked (the answer with its tokens.casUrl is"
    )
    assert not list(tmp_path.glob("part*"))


@pytest.mark.parametrize("changed", ["route", "cas"])
def test_a_public_hub_leads_to_no_private_address(
    hub: XetHub, fetch: Fetch, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    monkeypatch.setattr(origins.Road, "is_private", False)
    setattr(hub, changed, hub.endpoint.replace("127.0.0.1", "localhost") + "/token")
    assert "a link or redirect of a public server to the private address localhost" in fetch.problem(token=TOKEN)
    assert [path for path, _header in hub.authorization] == (["/token"] if changed == "cas" else [])


def test_a_file_over_http(fetch: Fetch) -> None:
    assert fetch() == len(CONTENT)
    assert fetch.part.read_bytes() == CONTENT
    assert fetch.left() == {SUM}
    assert fetch.seen == sorted(fetch.seen)
    assert (fetch.seen[0], fetch.seen[-1]) == (0, len(CONTENT))
    assert fetch.heads == [CONTENT[:4096]]


def test_a_stall_ends_it_and_the_next_call_goes_on(hub: XetHub, fetch: Fetch) -> None:
    hub.faults.stall_after = 1_500_000
    assert fetch.problem(stall_seconds=5) == "Xet brought nothing for 5 seconds"
    for thread in [thread for thread in threading.enumerate() if thread.name == "xet"]:
        thread.join(5)
        assert not thread.is_alive()
    waiting = waiting_bytes(fetch.part)
    # Of what was sent at most the ranges in flight are lost.
    assert 1_500_000 - 5 * SEGMENT < waiting < 1_500_000
    hub.faults.stall_after = None
    assert fetch() == len(CONTENT) - waiting
    assert fetch.part.read_bytes() == CONTENT


def test_http_goes_on_after_a_stall(hub: XetHub, fetch: Fetch) -> None:
    hub.faults.stall_after = 1_500_000
    fetch.problem(stall_seconds=5)
    waiting = waiting_bytes(fetch.part)
    hub.faults.stall_after = None
    wanted = request.Wanted("a", SUM, len(CONTENT), fetch.part, (request.Origin(hub.url),))
    received = segments.fetch_all([wanted], "gguf_model_source", manner=request.Manner(segment=SEGMENT))
    assert received == segments.Received(len(CONTENT) - waiting, waiting)
    assert waiting > 0
    assert fetch.part.read_bytes() == CONTENT


def test_a_slow_line_is_no_stall(hub: XetHub, fetch: Fetch) -> None:
    hub.faults.rate = 200_000  # a range takes 1.3 s, and the next one begins when it has ended
    assert len(CONTENT) / hub.faults.rate > 3, "all of it takes longer than a stall may"
    assert fetch(stall_seconds=3) == len(CONTENT)


def test_silence_before_the_first_byte(hub: XetHub, fetch: Fetch) -> None:
    hub.faults.silent_tokens = True
    assert (
        fetch.problem(stall_seconds=2)
        == f"{hub.endpoint} gave no store of Xet that can be asked (no answer (no byte for 2 s) (2 times in a row))"
    )
    assert fetch.left() == set()


def leave(part: pathlib.Path, number: int, content: bytes) -> None:
    """Leave the files of a run that had only the segment ``number``."""
    disk = PartFile(part, len(CONTENT), SEGMENT, SUM, [])
    disk.open()
    disk.reserve()
    disk.write(memoryview(content), number * SEGMENT)
    disk.commit(number, UNKNOWN)
    disk.close()


@pytest.mark.parametrize("number", [0, 5, len(CONTENT) // SEGMENT])
def test_bytes_of_an_earlier_run_are_kept(fetch: Fetch, number: int) -> None:
    segment = CONTENT[number * SEGMENT :][:SEGMENT]
    leave(fetch.part, number, segment)
    assert fetch() == len(CONTENT) - len(segment)
    assert fetch.part.read_bytes() == CONTENT


def test_wrong_bytes_of_an_earlier_run_are_replaced(fetch: Fetch) -> None:
    leave(fetch.part, 1, bytes(SEGMENT))
    assert fetch() == len(CONTENT) + len(CONTENT) - SEGMENT
    assert fetch.part.read_bytes() == CONTENT


def test_bytes_of_another_file(fetch: Fetch) -> None:
    assert fetch.problem(sha256="0" * 64) == f"Xet brought {len(CONTENT)} bytes with sha256 {SUM} instead of {'0' * 64}"
    assert fetch.left() == set()


def test_bytes_that_changed_on_the_way(hub: XetHub, fetch: Fetch) -> None:
    hub.faults.flip = True  # which hf_xet does not notice
    assert f"instead of {SUM}" in fetch.problem()
    assert fetch.left() == set()


def test_bytes_that_cannot_be_a_model(hub: XetHub, tmp_path: pathlib.Path) -> None:
    def refuse(first: bytes) -> None:
        raise ProblemError(Problem("gguf_model_source", f"{first[:4]!r}", "something else"))

    with pytest.raises(ProblemError, match="b'GGUF'"):
        fetch_xet(huggingface_hub, hub.url, hub.endpoint, "", tmp_path / "part", len(CONTENT), SUM, refuse)
    assert not list(tmp_path.glob("part*"))


def test_the_token_goes_to_the_hub_alone(hub: XetHub, fetch: Fetch) -> None:
    fetch(token=TOKEN)
    told = dict(hub.authorization)
    assert told["/token"] == f"Bearer {TOKEN}"
    assert [path for path, header in hub.authorization if TOKEN in header] == ["/token"]


def test_the_token_does_not_go_to_another_origin(hub: XetHub, fetch: Fetch) -> None:
    hub.route = f"{hub.endpoint.replace('127.0.0.1', 'localhost')}/token"
    fetch(token=TOKEN)
    assert [header for path, header in hub.authorization if path == "/token"] == [""]


def test_a_refused_token_is_not_told(hub: XetHub, fetch: Fetch) -> None:
    hub.faults.token_status = 403
    said = fetch.problem(token=TOKEN)
    assert said == f"{hub.endpoint} gave no store of Xet that can be asked (HTTP status 403)"
    assert TOKEN not in said


def test_a_file_that_is_not_in_xet(hub: XetHub, fetch: Fetch) -> None:
    hub.kept_in_xet = False
    assert fetch.problem() == f"{hub.endpoint} does not keep the file in Xet"


def test_a_hub_that_does_not_answer(hub: XetHub, fetch: Fetch) -> None:
    class Client:
        @staticmethod
        def get_hf_file_metadata(_url: str, token: str | bool, **_options: typing.Any) -> None:
            raise OSError(f"no answer from https://host/x?signature=abc with {token}")

    said = fetch.problem(client=Client, token=TOKEN)
    assert (
        said == f"{hub.endpoint} did not tell where the file is in Xet (OSError: no answer from https://host/x with …)"
    )


@pytest.mark.parametrize(
    ("stand_in", "said"), [(None, "which cannot be imported"), (object(), "the host has an older one")]
)
def test_without_the_package(fetch: Fetch, monkeypatch: pytest.MonkeyPatch, stand_in: object, said: str) -> None:
    monkeypatch.setitem(sys.modules, "hf_xet", typing.cast("typing.Any", stand_in))
    xet_line.native_module.cache_clear()
    try:
        problem = fetch.problem()
    finally:
        xet_line.native_module.cache_clear()
    assert said in problem
    assert "-m pip install" in problem
    assert fetch.left() == set()


SCRIPT = """
import pathlib, sys, huggingface_hub
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.xet import fetch_xet
url, endpoint, part, size, sha256 = sys.argv[1:]
fetch_xet(huggingface_hub, url, endpoint, "", pathlib.Path(part), int(size), sha256)
"""


def test_nothing_is_left_on_the_host(hub: XetHub, fetch: Fetch, tmp_path: pathlib.Path) -> None:
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    for folder in (home, temporary):
        folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_"))}
    environment |= {"HOME": str(home), "TMPDIR": str(temporary), "PYTHONPATH": "collections"}
    command = [sys.executable, "-c", SCRIPT, hub.url, hub.endpoint, str(fetch.part), str(len(CONTENT)), SUM]
    root = pathlib.Path(__file__).resolve().parents[3]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert fetch.part.read_bytes() == CONTENT
    assert (list(home.rglob("*")), list(temporary.rglob("*"))) == ([], [])
    assert {path for path, _header in hub.authorization} == {
        "/token",
        "/v1/reconstructions",
        "/v2/reconstructions",
        "/block",
    }
