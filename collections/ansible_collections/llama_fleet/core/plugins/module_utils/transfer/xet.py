# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Fetch one file of the Hub over Xet: resumable, verified, and abandoned on a stall so that HTTP can continue."""

from __future__ import annotations

import dataclasses
import hashlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import ask as http_ask
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import tried
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import (
    OriginError,
    Road,
    origin_of,
    require_public_name,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.status import refusal
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer import journal
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.journal import MISSING, UNKNOWN, PartFile
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.request import SEGMENT
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.xet_line import (
    Asset,
    Line,
    XetError,
    native_module,
    short,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import (
    SHA256,
    Address,
    Number,
    Record,
    ShapeError,
    Text,
    check,
    parse,
)

if typing.TYPE_CHECKING:
    import pathlib

__all__ = ["XetError", "fetch_xet", "waiting_bytes"]

_TIMEOUT = 30.0  # seconds to ask for the file's location
_BLOCK = 1 << 20
_HEAD = 4096
_LARGEST = 1 << 20  # bytes of an answer that contains tokens


def fetch_xet(
    client: typing.Any,
    url: str,
    endpoint: str,
    token: str,
    part: pathlib.Path,
    size: int,
    sha256: str,
    check: typing.Callable[[bytes], None] = lambda _first: None,
    seen: typing.Callable[[int], None] = lambda _count: None,
    stall_seconds: float = 60.0,
    segment: int = SEGMENT,
) -> int:
    """Fetch the file at ``url`` (hub.url(repo, commit, name)) into ``part``; return the bytes received.

    ``client`` is the module huggingface_hub, which must stay importable, because hf_xet is installed beside it.
    Unfinished bytes are kept as ``segments.fetch_all`` keeps its own, and each resumes the other's. ``seen`` gets the
    bytes present; ``check`` gets the first 4 KiB and raises if they cannot be right. The caller holds the store's lock.
    Raises XetError or ProblemError.
    """
    native = native_module()
    asset = _asset(client, url, endpoint, token, stall_seconds)
    disk = PartFile(part, size, segment, sha256, [])
    disk.open()
    try:
        disk.reserve()
        file = _File(disk, size, segment, check, seen)
        line = Line(native, asset, token, stall_seconds)
        with line.opened():
            digest = file.complete(line)
            if digest != sha256 and file.kept:  # the wrong bytes may come from an earlier run
                disk.forget(range(-(-size // segment)))
                digest = file.complete(line)
        if digest != sha256:
            disk.forget(range(-(-size // segment)))
            raise XetError(f"Xet brought {size} bytes with sha256 {digest} instead of {sha256}")
        disk.finish()
    finally:
        disk.close()
    return file.received


def waiting_bytes(part: pathlib.Path) -> int:
    """Return the bytes of an unfinished download at ``part`` that the next call keeps, over Xet or HTTP."""
    return journal.waiting_bytes(part)


def _asset(client: typing.Any, url: str, endpoint: str, token: str, stall_seconds: float) -> Asset:
    try:
        metadata = client.get_hf_file_metadata(url, token=token or False, timeout=_TIMEOUT, endpoint=endpoint)
    except Exception as error:  # noqa: BLE001 - the client raises what its HTTP library raises
        raise XetError(f"{endpoint} did not tell where the file is in Xet ({short(error, token)})") from None
    xet_file = getattr(metadata, "xet_file_data", None)
    if xet_file is None:
        raise XetError(f"{endpoint} does not keep the file in Xet")
    try:
        key, route = (
            check(xet_file.file_hash, Text(SHA256), "the file's hash"),
            check(xet_file.refresh_route, Address(url), "the address of its tokens"),
        )
        return _with_store(key, route, Road(url, {"Authorization": f"Bearer {token}"} if token else {}), stall_seconds)
    except (OriginError, ShapeError) as error:
        raise XetError(
            f"{endpoint} gave no store of Xet that can be asked ({error}{getattr(error, 'limit', '')})"
        ) from None


def _with_store(key: str, route: str, road: Road, stall_seconds: float) -> Asset:
    """Request the first token and return the file's asset.

    Done here because hf_xet's own requests follow none of our rules, and the answer names the server that it will use.
    """
    place = road.begin(route)
    patience = dataclasses.replace(http_ask.USUAL, seconds=min(stall_seconds, http_ask.USUAL.seconds), tries=2)

    def ask() -> bytes:
        with http_ask.opened(road, place, {}, patience.small) as reached:
            if reached.answer.status != 200:
                raise refusal(reached.answer, reached.place)
            return reached.answer.body(_LARGEST)

    answer = parse(tried(ask, patience), _tokens(route), "the answer with its tokens")
    store = road.begin(answer["casUrl"])
    if store.public:
        require_public_name(origin_of(store.url)[1])
    return Asset(key, place.url, place.secrets, store.url, answer["accessToken"], answer["exp"])


def _tokens(route: str) -> Record:
    return Record({"accessToken": Text(most=1 << 16), "exp": Number(), "casUrl": Address(route)})


class _File:
    """The file on disk, which is written and hashed in order."""

    def __init__(
        self,
        disk: PartFile,
        size: int,
        segment: int,
        check: typing.Callable[[bytes], None],
        seen: typing.Callable[[int], None],
    ) -> None:
        self._disk = disk
        self._size = size
        self._segment = segment
        self._check = check
        self._seen = seen
        self._present = 0
        self.received = 0
        self.kept = False

    def complete(self, line: Line) -> str:
        """Fetch the missing bytes; return the SHA-256 of the whole file."""
        digest = hashlib.sha256()
        letters = self._disk.letters()
        self.kept = set(letters) != {MISSING}
        bounds = [(begin, min(begin + self._segment, self._size)) for begin in range(0, self._size, self._segment)]
        self._present = sum(end - begin for (begin, end), letter in zip(bounds, letters) if letter != MISSING)
        self._seen(self._present)
        missing = [bound for bound, letter in zip(bounds, letters) if letter == MISSING]
        hashed = 0
        first = b""
        for begin, data in line.in_order(missing):
            self._hash_kept(digest, hashed, begin)
            if begin < _HEAD:
                first += data[: _HEAD - begin]
                if len(first) >= min(_HEAD, self._size):
                    self._check(first)
            self._disk.write(memoryview(data), begin)
            digest.update(data)
            hashed = begin + len(data)
            self._count(len(data))
            if hashed == self._size or hashed % self._segment == 0:
                self._disk.commit(begin // self._segment, UNKNOWN)
        self._hash_kept(digest, hashed, self._size)
        return digest.hexdigest()

    def _count(self, count: int) -> None:
        self.received += count
        self._present += count
        self._seen(self._present)

    def _hash_kept(self, digest: typing.Any, begin: int, end: int) -> None:
        view = memoryview(bytearray(min(_BLOCK, end - begin)))
        while begin < end:
            count = self._disk.readinto(view[: end - begin], begin)
            if not count:  # truncated meanwhile: the checksum will not match
                return
            digest.update(view[:count])
            begin += count
