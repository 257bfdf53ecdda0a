# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Make archives that no honest program writes: members, headers and sizes of any kind."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import struct
import tarfile
import typing
import zipfile
import zlib

import zstandard

GIB = 1 << 30
SMALL = b"small" * 10
Member = tuple[tarfile.TarInfo, bytes]


def member(
    name: str,
    data: bytes = SMALL,
    kind: bytes = tarfile.REGTYPE,
    link: str = "",
    size: int | None = None,
    mode: int = 0o644,
) -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    info.size = len(data) if size is None else size
    return info, data


def tar(*members: Member, form: typing.Literal[0, 1, 2] = tarfile.GNU_FORMAT) -> bytes:
    stream = io.BytesIO()
    for info, data in members:
        stream.write(info.tobuf(form) + data + b"\0" * (-len(data) % 512))
    return stream.getvalue()


def pax(records: typing.Mapping[str, str], kind: bytes = tarfile.XHDTYPE) -> Member:
    """Write the records of the member that follows as they are, because tarfile writes no wrong ones."""
    text = b""
    for name, value in records.items():
        body = f" {name}={value}\n".encode("utf-8", "surrogateescape")
        length = len(body) + len(str(len(body)))
        length = len(body) + len(str(length))
        text += str(length).encode() + body
    return member("././@PaxHeader", text, kind)


END = b"\0" * 1024
ZEROS = gzip.compress(b"\0" * (64 << 20))


def source(*members: Member, more: bytes = END) -> bytes:
    return gzip.compress(tar(member("x/ok"), *members) + more)


def followed_by_zeros(header: bytes, gibibytes: int) -> bytes:
    """Return a header and gibibytes in some megabytes: a gzip file may consist of many, one after another."""
    return gzip.compress(header) + ZEROS * (16 * gibibytes)


def greedy_xz() -> bytes:
    """Return an xz file whose changed header needs a dictionary of 1.5 GiB."""
    data = bytearray(
        lzma.compress(tar(member("x/ok")) + END, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 16}])
    )
    data[16] = 37
    end = 12 + (data[12] + 1) * 4
    data[end - 4 : end] = struct.pack("<I", zlib.crc32(data[12 : end - 4]))
    return bytes(data)


def manifest(**changes: typing.Any) -> dict[str, typing.Any]:
    sums = {"bin/a": hashlib.sha256(SMALL).hexdigest()}
    return {
        "build": "b1",
        "fingerprint": "fe" * 32,
        "files": sums,
        "sizes": {"bin/a": len(SMALL)},
        "links": {},
        **changes,
    }


def release(told: object, *members: Member, more: bytes = END) -> bytes:
    text = told if isinstance(told, bytes) else json.dumps(told).encode()
    return gzip.compress(tar(member("manifest.json", text), *members) + more)


def release_in_zstd_with_zeros(*members: Member, gibibytes: int) -> bytes:
    stream = io.BytesIO()
    with zstandard.ZstdCompressor(level=1).stream_writer(stream, closefd=False) as writer:
        writer.write(tar(member("manifest.json", json.dumps(manifest()).encode()), *members))
        for _time in range(gibibytes * 16):
            writer.write(b"\0" * (64 << 20))
    return stream.getvalue()


def listed() -> bytes:
    return tar(member("manifest.json", json.dumps(manifest()).encode()))


def wide_window() -> bytes:
    parameters = zstandard.ZstdCompressionParameters(window_log=30, write_content_size=False)
    return zstandard.ZstdCompressor(compression_params=parameters).compressobj().compress(b"") + _flushed(parameters)


def _flushed(parameters: zstandard.ZstdCompressionParameters) -> bytes:
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = tar(member("manifest.json", json.dumps(manifest()).encode()), member("bin/a")) + END
    return compressor.compress(data) + compressor.flush()


MODEL = "x/m-Q4_K_M.gguf"
GGUF = b"GGUF" + b"\0" * 100


def wheel(*names: str, kind: int = zipfile.ZIP_DEFLATED, data: bytes = GGUF) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", kind) as archive:
        for name in names or (MODEL,):
            archive.writestr(name, data)
    return stream.getvalue()


def twice() -> bytes:
    return wheel("x/a-Q4_K_M.gguf", "x/b-Q4_K_M.gguf").replace(b"x/b-", b"x/a-")


def encrypted() -> bytes:
    data = bytearray(wheel())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    return bytes(data)


def large_by_its_word() -> bytes:
    """One that says of its member that it has an exabyte."""
    data = wheel()
    begin = data.index(b"PK\x01\x02")
    directory = bytearray(data[begin : data.index(b"PK\x05\x06")])
    directory[24:28] = b"\xff" * 4
    extra = struct.pack("<HHQ", 1, 8, 1 << 48)
    directory[30:32] = struct.pack("<H", len(extra))
    directory += extra
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(directory), begin, 0)
    return data[:begin] + bytes(directory) + end


def long_directory(entries: int) -> bytes:
    entry = (
        struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 3, 20, 0, 0, 0, 0, 33, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0) + b"xx"
    )
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(entry) * entries, 0, 0)
    return entry * entries + end
