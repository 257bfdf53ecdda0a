# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test hostile headers: each ends in one sentence, within bounded memory and time."""

from __future__ import annotations

import itertools
import random
import re
import struct
import time
import tracemalloc
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf import tiny_model
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.header import file_header, read_header
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.reader import LONGEST
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.types import ARRAY, TEXT, U32
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.tests.unit.fakes.gguf import (
    LLAMA,
    Remote,
    array,
    gguf,
    number,
    pair,
    tensor,
    text,
)

if typing.TYPE_CHECKING:
    import pathlib

BOUND = 64_000_000  # bytes of memory, whatever a file claims
ENDLESS = 400 << 30
I32, U64 = 5, 10
Q4_K = 12


def problem(content: bytes, size: int = 0, zeros: bool = True) -> str:
    with pytest.raises(ProblemError) as caught:
        Remote(content, size, zeros).header()
    return str(caught.value)


KIND = "expected a GGUF file"
WHOLE = "expected a whole GGUF file"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", f"{KIND}, found an empty file at there"),
        (b"<!DOCTYPE html>\n<html>", f"{KIND}, found an HTML or XML page (a login or error page, perhaps) at there"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:",
            f"{KIND}, found a Git LFS pointer instead of the file at there",
        ),
        (b"FUGG\0\0\0\3", f"{KIND}, found a big-endian GGUF file, which this host cannot use at there"),
        (
            b"GGUF\0\0\0\3" + bytes(64),
            "expected a little-endian one, found a big-endian GGUF file, which this host cannot use, in there.",
        ),
        (b"PK\3\4" + bytes(64), f"{KIND}, found a file that begins with b'PK\\x03\\x04' at there"),
        (
            gguf(LLAMA, version=1),
            "expected version 2 or 3, found GGUF version 1 in there. Fix: Take a newer conversion",
        ),
        (gguf(LLAMA, version=4), "expected version 2 or 3, found GGUF version 4 in there."),
        (gguf(LLAMA, version=0), "GGUF version 0"),
        (b"GGUF\3\0", f"{WHOLE}, found a header that goes on at byte 8 of 6 in there"),
        (gguf(LLAMA)[:-3], "a header that goes on at byte 69 of 66"),
        (gguf(LLAMA, counts=(0, 1 << 60)), f"0 tensors and {1 << 60} keys claimed"),
        (gguf(LLAMA, counts=((1 << 64) - 1, 1)), f"{(1 << 64) - 1} tensors and 1 keys claimed"),
        (gguf(LLAMA, counts=(0, 2)), "a header that goes on at byte 77 of 69"),
        (gguf(LLAMA, LLAMA), "the key 'general.architecture' twice"),
        (gguf(LLAMA, pair("", U32, bytes(4))), "a key without a name"),
        (gguf(LLAMA, pair(b"\xff\xfe", U32, bytes(4))), "a key that is not UTF-8"),
        (gguf(text(b"k" * 5000)), "a key of 5000 bytes"),
        (gguf(LLAMA, struct.pack("<Q", 1 << 62)), f"a key of {1 << 62} bytes"),
        (
            gguf(pair("general.architecture", TEXT, struct.pack("<Q", 1 << 62))),
            f"the key 'general.architecture' of {1 << 62} bytes",
        ),
        (gguf(pair("general.architecture", TEXT, text(b"\xc3("))), "the key 'general.architecture' that is not UTF-8"),
        (
            gguf(LLAMA, pair("some.text", TEXT, struct.pack("<Q", 1 << 62))),
            f"a header that goes on at byte {(1 << 62) + 98} of 98",
        ),
        (gguf(LLAMA, pair("k", 13, bytes(8))), "the unknown type 13 at the key 'k'"),
        (gguf(LLAMA, pair("k", 0xFFFFFFFF, bytes(8))), "the unknown type 4294967295"),
        (gguf(LLAMA, array("k", 99, 0, b"")), "the unknown type 99 at the key 'k'"),
        (gguf(LLAMA, array("k", ARRAY, 1, struct.pack("<IQ", U32, 1) + bytes(4))), "an array of arrays at the key 'k'"),
        (gguf(LLAMA, array("k", U64, 1 << 60, b"")), f"goes on at byte {(8 << 60) + 94} of 94"),
        (gguf(LLAMA, array("k", TEXT, 1 << 60, b"")), f"goes on at byte {(8 << 60) + 94} of 94"),
        (
            gguf(LLAMA, array("k", TEXT, 2, text("a") + struct.pack("<Q", 1 << 63))),
            f"goes on at byte {(1 << 63) + 111} of 111",
        ),
        (gguf(number("k", 1)), "expected a model, found no 'general.architecture' in there."),
        (gguf(pair("general.architecture", TEXT, text(""))), "no 'general.architecture'"),
        (gguf(number("general.architecture", 1)), "the key 'general.architecture' that is no text"),
        (
            gguf(LLAMA, pair("llama.context_length", TEXT, text("much"))),
            "the key 'llama.context_length' that is no count",
        ),
        (
            gguf(LLAMA, pair("llama.block_count", I32, struct.pack("<i", -1))),
            "the key 'llama.block_count' that is no count",
        ),
        (
            gguf(LLAMA, array("llama.embedding_length", U32, 1, bytes(4))),
            "the key 'llama.embedding_length' that is no count",
        ),
        (gguf(LLAMA, number("split.no", 3), number("split.count", 3)), "shard 4 of 3 in there"),
        (gguf(LLAMA, number("general.alignment", 0)), "expected a power of two, found the alignment 0 in there."),
        (gguf(LLAMA, number("general.alignment", 48)), "the alignment 48"),
        (gguf(LLAMA, pair("general.alignment", U64, bytes(8))), "the alignment None"),
        (gguf(LLAMA, tensors=[tensor("a"), tensor("a", offset=1024)], data=2048), "the tensor 'a' twice"),
        (gguf(LLAMA, tensors=[tensor("n" * 64)], data=1024), "a tensor's name of 64 bytes"),
        (gguf(LLAMA, tensors=[tensor(b"\xff")], data=1024), "a tensor's name that is not UTF-8"),
        (gguf(LLAMA, tensors=[tensor("a", (1,) * 5)], data=1024), "the tensor 'a' with 5 dimensions"),
        (
            gguf(LLAMA, tensors=[text("a") + struct.pack("<I", 0xFFFFFFFF)], data=1024),
            "the tensor 'a' with 4294967295 dimensions",
        ),
        (
            gguf(LLAMA, tensors=[tensor("a", (1 << 40, 1 << 40))], data=1024),
            "the tensor 'a' of the shape (1099511627776, 1099511627776) and type 0",
        ),
        (gguf(LLAMA, tensors=[tensor("a", (255,), Q4_K)], data=1024), "the tensor 'a' of the shape (255,) and type 12"),
        (gguf(LLAMA, tensors=[tensor("a", (1,), 0xFFFFFFFF)], data=1024), "and type 4294967295"),
        (gguf(LLAMA, tensors=[tensor("a", offset=32)], data=4096), "the tensor 'a' at 32"),
        (gguf(LLAMA, tensors=[tensor("a", offset=1)], data=4096), "the tensor 'a' at 1 "),
        (gguf(LLAMA, tensors=[tensor("a", (10,), 999), tensor("b", offset=33)], data=4096), "the tensor 'b' at 33"),
        (
            gguf(LLAMA, tensors=[tensor("a", (10,), 999), tensor("b", offset=1 << 63)], data=9),
            f"of {(1 << 63) + 160 + 1024} bytes",
        ),
        (
            gguf(LLAMA, tensors=[tensor("a", (1 << 40,))], data=4096),
            f"{WHOLE}, found 4224 of {(1 << 42) + 128} bytes in there",
        ),
        (gguf(LLAMA, tensors=[tensor("a")]).rstrip(b"\0"), "goes on at byte"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_sane_is_told(content: bytes, sentence: str) -> None:
    message = problem(content)
    assert re.match("gguf_model_source: expected .+, found .+", message, re.DOTALL)
    assert sentence in message


def test_an_answer_of_another_length_is_told() -> None:
    content = gguf(LLAMA)
    assert problem(content[:-1], len(content), zeros=False).startswith(
        "gguf_model_source: expected a whole GGUF file, found 68 bytes instead of 69 from byte 0 on in there"
    )
    assert "expected a GGUF file, found an HTML or XML page (a login or error page, perhaps) at there" in problem(
        b"<html>", 1 << 30, zeros=False
    )
    with pytest.raises(ProblemError, match="73 bytes instead of 69"):
        read_header(lambda _begin, _end: content + b"more", len(content), "there")


MIB40 = LONGEST


def test_the_most_strings_that_a_header_can_hold_take_seconds() -> None:
    started = time.process_time()
    assert "a key without a name in there" in problem(
        gguf(LLAMA, array("k", TEXT, MIB40 // 8 - 20, b""), counts=(0, 9)), ENDLESS
    )
    assert time.process_time() - started < 30


@pytest.mark.parametrize(
    ("content", "filler"),
    [
        (gguf(LLAMA, pair("some.text", TEXT, struct.pack("<Q", ENDLESS - 100))), b"\0"),
        (gguf(LLAMA, array("k", 0, ENDLESS - 100, b"")), b"\0"),
        (gguf(LLAMA, array("k", TEXT, 1 << 35, b"")), b"\0"),
        (gguf(LLAMA, array("k", TEXT, MIB40 // 8 - 20, b""), counts=(0, 9)), text(bytes(1 << 20))),
        (gguf(LLAMA, counts=(0, 10_000)), b"".join(pair(f"{index:01000}", U32, bytes(4)) for index in range(10_000))),
        (
            gguf(LLAMA, counts=(0, 10_000)),
            b"".join(pair(f"{index:04}.context_length", TEXT, text(bytes(4000))) for index in range(10_000)),
        ),
        (gguf(LLAMA, counts=(30_000, 1)), b"".join(tensor(f"{index:063}", (), 999) for index in range(30_000))),
        (gguf(LLAMA, counts=(30_000, 10_000)), b"\xff"),
        (gguf(LLAMA, counts=(30_000, 10_000)), b"\0"),
    ],
    ids=itertools.count(),
)
def test_no_claim_takes_more_than_its_bound(content: bytes, filler: bytes) -> None:
    remote = Remote((content + filler * (MIB40 // len(filler) + 1))[:MIB40], ENDLESS, zeros=False)
    started = time.process_time()
    tracemalloc.start()
    try:
        remote.header()
    except ProblemError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < BOUND
    assert time.process_time() - started < 30
    assert sum(end - begin for begin, end in remote.asked) <= LONGEST


EXTREMES = [0, 1, 1 << 31, (1 << 32) - 1, 1 << 60, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]


def mutated(content: bytes, source: random.Random) -> tuple[bytes, int]:
    """Return a mutated header, and the file size to claim for it."""
    data = bytearray(content)
    for _step in range(source.choice([1, 1, 1, 2, 5])):
        place = source.randrange(len(data) + 1)
        extreme = struct.pack("<Q", source.choice([*EXTREMES, source.getrandbits(64), source.randrange(300)]))
        change = source.randrange(7)
        if change == 0 and data:
            data[place % len(data)] ^= 1 << source.randrange(8)
        elif change == 1:
            del data[place:]
        elif change == 2:
            data[place:place] = extreme
        elif change == 3:
            data[place : place + 8] = extreme
        elif change == 4:
            data[place : place + 4] = extreme[:4]
        elif change == 5:
            del data[place : place + source.choice([1, 4, 8, 100])]
        else:
            data[place:place] = (
                source.randbytes(source.randrange(1, 40)) if source.random() < 0.5 else data[place : place + 200]
            )
    return bytes(data), source.choice([len(content), len(data), len(data), source.randrange(1, 1 << 16), ENDLESS])


def seeds(tmp_path: pathlib.Path) -> list[bytes]:
    """Return headers to mutate: the tiny model's with its vocabulary, and a small one in which every byte matters."""
    tiny_model.write_tiny_model(tmp_path / "tiny.gguf")
    tensors = [tensor("a", (256, 2), Q4_K), tensor("b", (8,), offset=288), tensor("c", (8, 2), 30, 320)]
    place = [
        number("split.no", 0),
        number("split.count", 1),
        number("general.alignment", 32),
        number("general.file_type", 15),
    ]
    words = array("tokenizer.ggml.tokens", TEXT, 3, text("a") + text("bc") + text(""))
    texts = [pair("general.name", TEXT, text("n")), pair("tokenizer.chat_template", TEXT, text("{{ x }}"))]
    small = gguf(LLAMA, *texts, *place, words, number("llama.context_length", 4096), tensors=tensors, data=352)
    return [bytes(file_header(tmp_path / "tiny.gguf").content), small, small, small]


def test_ten_thousand_mutated_and_random_headers(tmp_path: pathlib.Path) -> None:
    source = random.Random(20261122)
    contents = itertools.cycle(seeds(tmp_path))
    outcomes = {"header": 0, "problem": 0}
    started = time.process_time()
    tracemalloc.start()
    for index in range(10_000):
        content, size = mutated(next(contents), source)
        if index % 10 == 0:
            content = (
                b"GGUF"
                + struct.pack("<IQQ", 3, source.randrange(4), source.randrange(4))
                + source.randbytes(source.randrange(400))
            )
        try:
            Remote(content + bytes(max(0, min(size, 1 << 16) - len(content))), size, zeros=False).header()
            outcomes["header"] += 1
        except ProblemError as error:
            assert re.match("gguf_model_source: expected .+, found .+", str(error), re.DOTALL)
            outcomes["problem"] += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < BOUND
    assert time.process_time() - started < 60
    assert outcomes["header"] > 200 and outcomes["problem"] > 5000, outcomes
