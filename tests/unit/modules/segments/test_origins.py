# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Several origins, none of them trusted: who fails, lacks the file or sends a wrong byte is followed by the next."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.status import impostor
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.request import Manner, Origin, Wanted
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.segments import Received, waiting_bytes
from tests.hub import Fault, Hub, handler
from tests.unit.modules.segments.case import (
    DATA,
    IMPATIENT,
    NAME,
    QUICK,
    SEGMENT,
    SIZE,
    VARIABLE,
    assert_nothing_left,
    assert_right,
    fetch,
    plain,
    problem_of,
)

ALWAYS = 1000
USELESS = [
    (Fault(html=True), "an HTML page instead of the file"),
    (Fault(pointer=True), "a Git LFS pointer instead of the file"),
    (Fault(pointer=True, ranges=False), "a Git LFS pointer instead of the file"),
    (Fault(size=SIZE - 1), f"a file of {SIZE - 1} bytes"),
    (Fault(size=SIZE + 1), f"a file of {SIZE + 1} bytes"),
    (Fault(size=SIZE + 1, ranges=False), f"a file of {SIZE + 1} bytes"),
    (Fault(status=404, times=ALWAYS), "HTTP status 404"),
    (Fault(status=500, times=ALWAYS), "HTTP status 500"),
    (Fault(status=429, times=ALWAYS, retry_after="0"), "HTTP status 429"),
    (Fault(reset_at=0, resets=ALWAYS), "broke"),
    (Fault(stall_at=0, stalls=ALWAYS), "no byte for 2 s"),
    (Fault(cut_at=0, cuts=ALWAYS), f"an answer truncated at byte 0 of {SIZE}"),
]
IDS = [reason.replace(" ", "-") for _fault, reason in USELESS]


@pytest.fixture
def mirrored(mirror: Hub, wanted: Wanted) -> Wanted:
    """Return a request for the file from the mirror and, after that, from the Hub."""
    return dataclasses.replace(wanted, origins=(plain(mirror), *wanted.origins))


class TestFallThrough:
    def test_the_first_one_that_delivers_is_enough(self, hub: Hub, mirrored: Wanted) -> None:
        assert fetch(mirrored) == Received(SIZE, 0)
        assert_right(mirrored)
        assert hub.settle() == []

    @pytest.mark.parametrize("fault", [fault for fault, _reason in USELESS], ids=IDS)
    def test_the_next_one_is_asked(self, hub: Hub, mirror: Hub, mirrored: Wanted, fault: Fault) -> None:
        mirror.faults[NAME] = dataclasses.replace(fault)
        assert fetch(mirrored, manner=IMPATIENT if fault.stall_at == 0 else QUICK) == Received(SIZE, 0)
        assert_right(mirrored)
        assert hub.sent == SIZE
        assert len(mirror.settle()) <= 3

    @pytest.mark.parametrize(("fault", "reason"), USELESS, ids=IDS)
    def test_each_is_named_with_its_reason(
        self, hub: Hub, mirror: Hub, mirrored: Wanted, fault: Fault, reason: str
    ) -> None:
        mirror.faults[NAME] = dataclasses.replace(fault)
        hub.faults[NAME] = Fault(status=404, times=ALWAYS, code="EntryNotFound")
        told = problem_of(mirrored, manner=IMPATIENT if fault.stall_at == 0 else QUICK)
        assert told.startswith(
            f"{VARIABLE}: expected the {SIZE} bytes of {NAME} with sha256 {mirrored.sha256}, "
            f"found no origin that delivers it ({mirrored.origins[0].url}: "
        )
        assert reason in told or (reason == "broke" and "onnection reset by peer" in told)
        assert (f"; {mirrored.origins[1].url}: HTTP status 404 (EntryNotFound)). Fix: Check") in told
        assert_nothing_left(mirrored)

    def test_a_mirror_that_dies_on_the_way(self, hub: Hub, mirror: Hub, mirrored: Wanted) -> None:
        mirror.faults[NAME] = Fault(cut_at=5 * SEGMENT, cuts=ALWAYS)
        fetch(mirrored)
        assert_right(mirrored)
        assert hub.sent + mirror.sent == SIZE

    def test_nobody_listens_at_the_mirror(self, hub: Hub, wanted: Wanted) -> None:
        fetch(dataclasses.replace(wanted, origins=(Origin("http://127.0.0.1:9/x"), *wanted.origins)))
        assert_right(wanted)
        assert hub.sent == SIZE

    @pytest.mark.parametrize("url", ["ftp://x/y", "http://[::1/x", "http://x:y/z", "nonsense", ""])
    def test_an_address_that_is_none(self, wanted: Wanted, url: str) -> None:
        told = problem_of(dataclasses.replace(wanted, origins=(Origin(url),)))
        assert "address" in told.partition("wanted")[0]


class TestWrongBytes:
    def test_all_of_that_origin_is_discarded(self, hub: Hub, mirror: Hub, mirrored: Wanted) -> None:
        mirror.faults[NAME] = Fault(flip_at=SIZE - 1)
        assert fetch(mirrored) == Received(2 * SIZE, 0)
        assert_right(mirrored)
        assert (hub.sent, mirror.sent) == (SIZE, SIZE)

    def test_only_of_that_origin(self, hub: Hub, mirror: Hub, mirrored: Wanted) -> None:
        """The mirror sends a wrong byte and dies; what the Hub sent after that is kept."""
        mirror.faults[NAME] = Fault(flip_at=5, cut_at=3 * SEGMENT, cuts=ALWAYS)
        fetch(mirrored, connections=1)
        assert_right(mirrored)
        assert hub.sent == SIZE

    def test_nobody_has_the_right_ones(self, hub: Hub, mirror: Hub, mirrored: Wanted) -> None:
        hub.faults[NAME] = mirror.faults[NAME] = Fault(flip_at=7)
        told = problem_of(mirrored)
        assert told.count("wrong bytes (sha256 ") == 2
        assert all(f"{origin.url}: wrong bytes" in told for origin in mirrored.origins)
        assert (hub.sent, mirror.sent) == (SIZE, SIZE)
        assert_nothing_left(mirrored)

    def test_the_caller_sees_the_first_bytes(self, mirror: Hub, mirrored: Wanted) -> None:
        mirror.faults[NAME] = Fault(flip_at=0)
        seen: list[bytes] = []

        def check(first: bytes) -> None:
            seen.append(first)
            _check(first)

        assert fetch(dataclasses.replace(mirrored, check=check)).network_bytes < 2 * SIZE
        assert_right(mirrored)
        assert [first[1:] for first in seen] == [DATA[1:4096]] * 2
        assert len(mirror.settle()) == 1

    def test_what_the_caller_says_of_the_only_origin(self, hub: Hub, wanted: Wanted) -> None:
        hub.faults[NAME] = Fault(flip_at=0)
        assert problem_of(dataclasses.replace(wanted, check=_check)) == "x: expected a GGUF file, found no GGUF file."
        assert_nothing_left(wanted)

    def test_what_an_earlier_run_left_gets_a_second_chance(self, hub: Hub, wanted: Wanted) -> None:
        """The disk may have spoilt it, and there is nobody else to ask."""
        hub.faults[NAME] = Fault(flip_at=5, cut_at=4 * SEGMENT, cuts=ALWAYS)
        problem_of(wanted, connections=1)
        assert waiting_bytes(wanted.part) == 4 * SEGMENT
        hub.faults.clear()
        assert fetch(wanted) == Received(2 * SIZE - 4 * SEGMENT, 4 * SEGMENT)
        assert_right(wanted)


def _check(first: bytes) -> None:
    if not first.startswith(b"GGUF"):
        raise ProblemError(Problem("x", "no GGUF file", "a GGUF file"))


class TestDefiniteAnswers:
    @pytest.mark.parametrize(
        ("first", "what"),
        [
            (b"GGUF", ""),
            (b"", ""),
            (b" \n<!doctype HTML>", "an HTML page instead of the file"),
            (b"<html lang=en>", "an HTML page instead of the file"),
            (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer instead of the file"),
        ],
    )
    def test_what_stands_in_for_a_file(self, first: bytes, what: str) -> None:
        assert impostor(first) == what

    def test_a_page_is_known_by_its_type(self, hub: Hub, wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(handler, "_HTML", b"<p>Please log in.</p>")
        hub.faults[NAME] = Fault(html=True)
        assert ", found an HTML page instead of the file from" in problem_of(wanted)

    @pytest.mark.parametrize(
        ("repository", "name", "headers", "found", "fix"),
        [
            ("owner/model", "none.gguf", {}, "HTTP status 404 (EntryNotFound)", "check the name and the revision"),
            (
                "owner/none",
                NAME,
                {},
                "HTTP status 401 (RepoNotFound)",
                "check the token and that its account may read this",
            ),
            (
                "owner/gated",
                NAME,
                {},
                "HTTP status 401 (GatedRepo)",
                "check the token and that its account may read this",
            ),
            (
                "owner/gated",
                NAME,
                {"Authorization": "Bearer hf_alice"},
                "HTTP status 403 (GatedRepo)",
                "check the token and that its account may read this",
            ),
        ],
    )
    def test_one_clear_sentence(
        self, hub: Hub, wanted: Wanted, repository: str, name: str, headers: dict[str, str], found: str, fix: str
    ) -> None:
        url = f"{hub.url}/{repository}/resolve/main/{name}"
        told = problem_of(dataclasses.replace(wanted, origins=(Origin(url, headers),)))
        assert told == (
            f"{VARIABLE}: expected the {SIZE} bytes of {NAME} with sha256 {wanted.sha256}, found {found} "
            f"from {url}. Fix: {fix.capitalize()}."
        )
        assert len(hub.settle()) == 1

    def test_secrets_are_in_no_message_and_in_no_file(self, hub: Hub, wanted: Wanted) -> None:
        url = f"http://me:s3cret@{hub.host}:{hub.port}/files/{NAME}?token=s3cret"
        hub.faults[NAME] = Fault(cut_at=4 * SEGMENT, cuts=ALWAYS)
        hidden = dataclasses.replace(
            wanted, origins=(Origin(url, {"X-Key": "s3cret"}), Origin(url, {"X-Key": "s3cret\n"}))
        )
        assert "s3cret" not in problem_of(hidden)
        assert "s3cret" not in wanted.part.with_name("x.journal").read_text(encoding="utf-8")
        assert "s3cret" not in repr(Origin("http://x", {"X-Key": "s3cret"}))

    def test_an_answer_for_other_bytes(self, wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(handler.Handler, "_range", lambda _self: (5, None))
        assert f", found bytes 5 to {SIZE - 1} instead of 0 to {SEGMENT - 1} from" in problem_of(wanted)


class TestInterrupted:
    def test_an_error_of_the_caller_ends_all_threads(self, hub: Hub, wanted: Wanted) -> None:
        """While a connection stalls."""
        hub.faults[NAME] = Fault(stall_at=5 * SEGMENT, stalls=ALWAYS)

        def interrupted(count: int) -> None:
            if count >= SIZE - SEGMENT:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fetch(wanted, seen=interrupted, manner=Manner(segment=SEGMENT, stall=600))
        assert [thread for thread in threading.enumerate() if thread.name.startswith("segments-")] == []
        assert waiting_bytes(wanted.part) == SIZE - SEGMENT
