# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Write and read the archive of a packed release as a stream: a reproducible tar, compressed with gzip.

Gzip needs only the standard library. Archives of earlier versions, compressed with zstd, are read too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import os
import pathlib
import tarfile
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import archives
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.tar import Tar
from ansible_collections.llama_fleet.core.plugins.module_utils.host.disk import disk_problems
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import CHUNK
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store
from ansible_collections.llama_fleet.core.plugins.module_utils.release.store import MANIFEST, Manifest
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import ShapeError

_LEVEL = 6
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_TIME = 315532800  # 1980, the earliest time that every tool accepts
_LONGEST_MANIFEST = store.LONGEST_MANIFEST
_OVERHEAD = 8 << 10
_WINDOW = 32 << 20  # bytes of memory for zstd; gzip needs 32 KiB
Lend = typing.Callable[[], typing.ContextManager[typing.Any]]  # lends zstandard
More = typing.Callable[[int], None]  # gets the number of bytes done since its last call


@dataclasses.dataclass(frozen=True)
class Contents:
    """The contents of a release by its manifest: SHA-256 and size of every file, and the target of every link."""

    files: dict[str, tuple[str, int]]
    links: dict[str, str]

    @property
    def size(self) -> int:
        return sum(size for _sha256, size in self.files.values())


Begin = typing.Callable[[Contents], None]


class HashingFile:
    """A file that is written once, from start to end, and computes its SHA-256 and size."""

    def __init__(self, file: typing.IO[bytes], path: pathlib.Path) -> None:
        self._file = file
        self._path = path
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        with disk_problems(self._path):
            self._file.write(data)
        self._digest.update(data)
        self.size += len(data)
        return len(data)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def contents(manifest: Manifest) -> Contents:
    """Return the contents that a manifest lists.

    Raises ValueError with a noun phrase if the manifest is incomplete or names a path outside the release.
    """
    files, sizes, links = (manifest.get(key) for key in ("files", "sizes", "links"))
    if files is None or sizes is None or links is None or files.keys() != sizes.keys():
        raise ValueError("a manifest that does not list its files")
    names = {*files, *links}
    folders = {str(parent) for name in names for parent in pathlib.PurePosixPath(name).parents}
    for name in names:
        # parse_manifest allows no '..' in a target, so no chain of links leads out of the release.
        if name == MANIFEST or name in folders or (name in files and name in links):
            raise ValueError(f"a manifest that names {name[:200]!r}")
    return Contents({name: (files[name], sizes[name]) for name in files}, dict(links))


def write(release: pathlib.Path, manifest: Manifest, file: HashingFile, more: More) -> None:
    """Write the release to ``file``: its manifest first, then its contents, sorted by name.

    Raises ValueError with a noun phrase if a file does not match the manifest.
    """
    inside = contents(manifest)
    # Without a name and a time in its header, so that the same release gives the same bytes.
    target = typing.cast("typing.IO[bytes]", file)
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=target, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT, bufsize=CHUNK) as tar,
    ):
        text = (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode()
        tar.addfile(_member(MANIFEST, size=len(text)), io.BytesIO(text))
        for name in sorted({*inside.files, *inside.links}):
            if name in inside.links:
                tar.addfile(_member(name, link=inside.links[name]))
            else:
                _add(tar, release / name, name, inside.files[name], more)


def _add(tar: tarfile.TarFile, path: pathlib.Path, name: str, wanted: tuple[str, int], more: More) -> None:
    sha256, size = wanted
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        reader = _HashingReader(file, more)
        if status.st_size == size:
            tar.addfile(
                _member(name, size, executable=bool(status.st_mode & 0o100)), typing.cast("typing.IO[bytes]", reader)
            )
    if status.st_size != size or reader.sha256 != sha256:
        raise ValueError(f"{path}, which is not what its {MANIFEST} says")


def _member(name: str, size: int = 0, executable: bool = False, link: str = "") -> tarfile.TarInfo:
    """Return a tar member without owner and with a fixed time."""
    member = tarfile.TarInfo(name)
    member.size, member.mtime = size, _TIME
    member.mode = 0o755 if executable else 0o644
    if link:
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, link, 0o777
    return member


class _HashingReader:
    """A reader that passes on, counts and hashes the bytes of ``file``."""

    def __init__(self, file: typing.IO[bytes], more: More) -> None:
        self._file = file
        self._more = more
        self._digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._digest.update(data)
        self._more(len(data))
        return data

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def extract(
    archive: typing.IO[bytes], target: pathlib.Path, begin: Begin, more: More, lend: Lend | None = None
) -> Manifest:
    """Extract the files that the archive's manifest lists, and no others, into ``target``; return the manifest.

    ``begin`` gets the contents before any of them is written. ``lend`` is called for an archive compressed with zstd;
    without it, such an archive is refused. Raises ValueError with a noun phrase if the archive is
    not as ``write`` writes it.
    """
    with _decompressed(archive, lend) as packed:
        tar = Tar(packed, archives.Limits(members=1, unpacked=2 * _LONGEST_MANIFEST))
        manifest = _manifest(tar)
        inside = contents(manifest)
        begin(inside)
        _extract_all(tar, target, inside, more)
    return manifest


@contextlib.contextmanager
def _decompressed(archive: typing.IO[bytes], lend: Lend | None) -> typing.Iterator[typing.IO[bytes]]:
    """Yield the archive's content, whose compression is found by its first bytes, because names can be wrong."""
    archive.seek(0)
    magic = archive.read(len(_ZSTD))
    archive.seek(0)
    if magic.startswith(_GZIP):
        with gzip.GzipFile(fileobj=archive) as packed:
            yield typing.cast("typing.IO[bytes]", packed)
    elif magic == _ZSTD and lend:
        with lend() as zstandard:
            try:
                reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(
                    archive, read_size=CHUNK, closefd=False
                )
                with contextlib.closing(reader):
                    yield reader
            except zstandard.ZstdError as error:
                raise ValueError(f"not a complete archive ({error})") from error
    else:
        raise ValueError(f"not a complete archive (it is not compressed with gzip{' or zstd' if lend else ''})")


def _manifest(tar: Tar) -> Manifest:
    member = tar.next()
    if member is None or member.name != MANIFEST or not _is_plain(member) or member.size > _LONGEST_MANIFEST:
        raise ValueError(f"an archive that does not begin with {MANIFEST}")
    try:
        return store.parse_manifest(b"".join(tar.read(member)))
    except ShapeError as error:
        raise ValueError(f"a manifest in which {error}") from error


def _extract_all(tar: Tar, target: pathlib.Path, inside: Contents, more: More) -> None:
    missing = {*inside.files, *inside.links}
    # Overhead per member: a header, the padding of its last block, and long names.
    tar.limit(
        archives.Limits(
            members=len(missing) + 2, unpacked=inside.size + (len(missing) + 2) * _OVERHEAD + 2 * _LONGEST_MANIFEST
        )
    )
    for member in tar:
        if member.name not in missing:
            raise ValueError(f"{member.name[:200]!r} in it, which is not in its manifest, or twice")
        missing.remove(member.name)
        _extract(tar, member, target, inside, more)
    if missing:
        raise ValueError(f"an archive truncated before {min(missing)}")


def _extract(tar: Tar, member: tarfile.TarInfo, target: pathlib.Path, inside: Contents, more: More) -> None:
    # The manifest's names are inside the target and none is below another, so no link is on this path.
    place = target / member.name
    place.parent.mkdir(parents=True, exist_ok=True)
    if member.issym() and member.linkname == inside.links.get(member.name):
        place.symlink_to(member.linkname)
        return
    sha256, size = inside.files.get(member.name, ("", -1))
    if not _is_plain(member) or member.size != size:
        raise ValueError(f"{member.name!r} in it, which differs in kind or size from its manifest")
    digest = hashlib.sha256()
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o755)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o755 if member.mode & 0o100 else 0o644)
        for data in tar.read(member):
            with disk_problems(place):
                file.write(data)
            digest.update(data)
            more(len(data))
    if digest.hexdigest() != sha256:
        raise ValueError(f"{member.name!r} in it, whose bytes differ from its manifest")


def _is_plain(member: tarfile.TarInfo) -> bool:
    return member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()
