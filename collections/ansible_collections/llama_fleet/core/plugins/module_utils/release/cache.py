# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Find packed releases in folders or over HTTP, and bring them to the host, verified."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import re
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import ask, verified
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.download import fetch
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import OriginError
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import sha256_of, write_atomic
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import BYTES
from ansible_collections.llama_fleet.core.plugins.module_utils.release import signature as release_signature
from ansible_collections.llama_fleet.core.plugins.module_utils.release.index import INDEX, SUFFIX, Entry, is_name, parse

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

CACHE = "llama_cpp_cache"
_LONGEST = 4 << 20  # bytes of an index
_LONGEST_SIGNATURE = 1 << 16  # bytes; one has about 500
# A location that hangs delays a build by at most a few times these seconds.
PATIENCE = ask.Patience(seconds=20, total=40, tries=3, longest_wait=10)
_LARGEST = 16 << 30  # bytes of an archive whose size is in no index
_NOT_THERE = (404, 410)


@dataclasses.dataclass(frozen=True)
class Cached:
    """A packed release at a location. ``sha256`` and ``size`` (bytes) are those of its archive."""

    location: str
    name: str
    sha256: str
    size: int
    fingerprint: str
    parts: typing.Mapping[str, typing.Any]
    signed: bool
    suffix: str = SUFFIX

    @property
    def reference(self) -> str:
        """Return the URL or path of the archive."""
        name = f"{self.name}{self.suffix}"
        return _below(self.location, urllib.parse.quote(name) if _is_url(self.location) else name)


def location_problems(locations: typing.Iterable[str]) -> list[Problem]:
    """Return a problem for each location that is neither an absolute path nor a plain folder URL.

    Possible secrets in a location are not shown.
    """
    wanted = "absolute paths and http or https URLs of folders, without user, password or query"
    return [Problem(CACHE, f"'{_shown(location)}'", wanted) for location in locations if not _is_location(location)]


def find(
    locations: typing.Iterable[str], parts: typing.Mapping[str, typing.Any], fingerprint: str, warnings: list[str]
) -> Cached | None:
    """Return the packed release with ``fingerprint`` from the first location that has one.

    A host without compiler or toolkit does not know its fingerprint: if it is empty, take the newest release that
    agrees in all ``parts``. Reads only index.json; an unreadable one adds to ``warnings``.
    """
    for location in locations:
        try:
            entries = _entries(location)
        except ProblemError as error:
            warnings += map(str, error.problems)
            continue
        cached = match(entries, location, parts, fingerprint)
        if cached:
            return cached
    return None


def match(
    entries: typing.Iterable[Entry], location: str, parts: typing.Mapping[str, typing.Any], fingerprint: str
) -> Cached | None:
    """Return the first of the ``entries`` of ``location`` that matches, by the rules of ``find``."""
    for entry in entries:
        if entry.fingerprint == fingerprint if fingerprint else _agrees(entry, parts):
            archive = (entry.name, entry.sha256, entry.size)
            return Cached(location, *archive, entry.fingerprint, entry.parts, entry.signed, entry.suffix)
    return None


@contextlib.contextmanager
def bring(
    cached: Cached, folder: pathlib.Path, trusted_signers: typing.Sequence[str], progress: Progress, run: Runner
) -> typing.Iterator[typing.IO[bytes]]:
    """Yield the verified archive as an open file; see ``obtain``."""
    if trusted_signers and not cached.signed:
        raise ProblemError(
            Problem(
                CACHE,
                f"{cached.reference}, which is not signed",
                "a release signed by one of llama_cpp_trusted_signers",
                "pack it with llama_cpp_signing_key",
            )
        )
    with obtain(cached.reference, cached.sha256, folder, trusted_signers, progress, run, CACHE, cached.size) as archive:
        yield archive


@contextlib.contextmanager
def obtain(
    reference: str,
    sha256: str,
    folder: pathlib.Path,
    trusted_signers: typing.Sequence[str],
    progress: Progress,
    run: Runner,
    subject: str,
    size: int = 0,
) -> typing.Iterator[typing.IO[bytes]]:
    """Yield the archive at a URL or path as an open file, after verifying it.

    Verifies its SHA-256, unless that is empty, and with ``trusted_signers`` its signature. The yielded bytes are the
    verified ones, even if the path is written to meanwhile. A download to ``folder`` is resumable and is removed after
    use. Raises ProblemError.
    """
    target = folder / _name(reference)
    if not trusted_signers:
        with _archive(reference, sha256, target, progress, subject, size) as archive:
            yield archive
        return
    raise_if_any(release_signature.signer_problems(trusted_signers))
    release_signature.require_ssh_keygen(run)
    signature = target.with_name(f"{target.name}{release_signature.SUFFIX}")
    try:
        write_atomic(signature, _signature(reference, subject))
        release_signature.matching(signature, trusted_signers, subject)  # before fetching hundreds of megabytes
        with _archive(reference, sha256, target, progress, subject, size) as archive:
            progress.stage(f"verifying the signature of {target.name}")
            # By its descriptor: the verified bytes must be the unpacked ones.
            verified_file = pathlib.Path(f"/proc/{os.getpid()}/fd/{archive.fileno()}")
            release_signature.verify(verified_file, signature, trusted_signers, run, subject, target.name)
            yield archive
    finally:
        signature.unlink(missing_ok=True)


@contextlib.contextmanager
def _archive(
    reference: str, sha256: str, target: pathlib.Path, progress: Progress, subject: str, size: int
) -> typing.Iterator[typing.IO[bytes]]:
    def seen(count: int) -> None:
        progress.update(count, size, BYTES)

    progress.stage(f"fetching {target.name}")
    path = pathlib.Path(reference)
    if _is_url(reference):
        path = target
        if not (sha256 and target.is_file() and sha256_of(target) == sha256):
            fetch(reference, target, sha256, subject, seen=seen, most=size or _LARGEST)
    try:
        try:
            archive, digest = verified.opened(path, target.parent, seen)
        except OSError as error:
            raise ProblemError(
                Problem(
                    subject, f"{reference}, which cannot be read or copied ({error})", "a packed release on the host"
                )
            ) from error
        with archive:
            if sha256 not in ("", digest):
                raise ProblemError(
                    Problem(
                        subject,
                        f"sha256 {digest} of {reference}",
                        f"sha256 {sha256}",
                        "pack it again, or do not trust it",
                    )
                )
            yield archive
    finally:
        if path is target:
            target.unlink(missing_ok=True)


def _signature(reference: str, subject: str) -> str:
    """Return the text of the signature beside an archive; empty if there is none."""
    try:
        return _read(f"{reference}{release_signature.SUFFIX}", subject, _LONGEST_SIGNATURE).decode("ascii", "replace")
    except FileNotFoundError:
        return ""


def _entries(location: str) -> list[Entry]:
    place = _below(location, INDEX)
    try:
        return parse(_read(place, CACHE, _LONGEST).decode("utf-8", "replace"))
    except FileNotFoundError:
        unreadable = f"no {place}"
    except ValueError as error:
        unreadable = f"{place}, which is {error}"
    raise ProblemError(Problem(CACHE, unreadable, "the index of a folder of packed releases", "check the location"))


def _read(reference: str, subject: str, most: int) -> bytes:
    """Return a small file at a URL or path, of at most ``most`` bytes. Raises FileNotFoundError or ProblemError."""
    try:
        if not _is_url(reference):
            with pathlib.Path(reference).open("rb") as file:
                return file.read(most)
        return ask.read(reference, most, patience=PATIENCE).body
    except FileNotFoundError:
        raise
    except OriginError as error:
        if error.status in _NOT_THERE:
            raise FileNotFoundError(reference) from error
        raise ask.unreachable(subject, reference, error) from error
    except OSError as error:
        raise ProblemError(
            Problem(subject, f"{reference}, which cannot be read ({error.strerror})", "a file that can be read")
        ) from error


def _agrees(entry: Entry, parts: typing.Mapping[str, typing.Any]) -> bool:
    return bool(parts) and all(entry.parts.get(name) == value for name, value in parts.items())


def _name(reference: str) -> str:
    """Return the file name for the archive on the host: its own name, unless it is not a valid one."""
    name = (urllib.parse.urlsplit(reference).path if _is_url(reference) else reference).rpartition("/")[2]
    return name if is_name(name) else f"{hashlib.sha256(reference.encode()).hexdigest()[:16]}{SUFFIX}"


def _below(location: str, name: str) -> str:
    return f"{location.rstrip('/')}/{name}"


def _is_url(reference: str) -> bool:
    return reference.startswith(("http://", "https://"))


def _is_location(location: str) -> bool:
    if not _is_url(location):
        return location.startswith("/") and "\0" not in location
    try:
        parts = urllib.parse.urlsplit(location)
        return (
            bool(parts.hostname)
            and parts.port != 0
            and "@" not in parts.netloc
            and not parts.query
            and not parts.fragment
            and not re.search(r"\s", location)
        )
    except ValueError:
        return False


def _shown(location: str) -> str:
    """Return a location without the parts that may be a password or a token."""
    return re.sub(r"(?<=//)[^/]*@", "…@", location).partition("?")[0]
