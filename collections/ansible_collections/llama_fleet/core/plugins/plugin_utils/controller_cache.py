# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packed releases on the controller, by which the hosts of a play share what one of them has built.

Each has a folder of its own, named by release and builder: one rename adds it, and no other ever takes its place. The
controller signs what it has accepted with a key that it keeps here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import pathlib
import shutil
import stat
import tempfile
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import locked, write_json
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import index as release_index
from ansible_collections.llama_fleet.core.plugins.module_utils.release import signature as release_signature
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Flag, Record, ShapeError, Text, parse
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted_told import Shown
from ansible_collections.llama_fleet.core.plugins.plugin_utils.builders import Builder

UNUSED = 30 * 86400  # seconds that a release stays without being taken
RECORD = "accepted.json"
BUILDERS_SIGNATURE = "builder.sig"
VARIABLE = "llama_cpp_controller_cache"
_KEY = ".key"
_KEPT = (".locks", _KEY, ".tools")
_SHAPE = Record({"builder": Record({"host": Text(), "address": Text()}), "signed": Flag(), "index": Shown()})


@dataclasses.dataclass(frozen=True)
class Accepted:
    """A release that the controller has: ``signed`` says whether its builder signed it, too."""

    entry: release_index.Entry
    builder: Builder
    signed: bool
    folder: pathlib.Path

    @property
    def archive(self) -> pathlib.Path:
        return self.folder / self.entry.file

    @property
    def signature(self) -> pathlib.Path:
        """The controller's."""
        return self.folder / f"{self.entry.file}{release_signature.SUFFIX}"

    def files(self, own: bool) -> list[tuple[pathlib.Path, str]]:
        """Return the archive and a signature, its builder's ``own`` or the controller's, each with the name that a
        host is to have it by.
        """
        return [
            (self.archive, self.archive.name),
            (self.folder / BUILDERS_SIGNATURE if own else self.signature, self.signature.name),
        ]


@dataclasses.dataclass(frozen=True)
class ControllerCache:
    """The folder ``place``, which need not be there yet."""

    place: pathlib.Path

    def accepted(self) -> list[Accepted]:
        """Return what there is, the oldest first; what is damaged is left out."""
        found = []
        if self.place.exists():
            self._private()
        for record in sorted(self.place.glob(f"[!.]*/{RECORD}")):
            with contextlib.suppress(OSError, ValueError):
                found.append(_read(record))
        return sorted(found, key=lambda each: (each.entry.packed, each.entry.name))

    @contextlib.contextmanager
    def turn(self, of: str, waiting: typing.Callable[[], None], keep: bool) -> typing.Iterator[None]:
        """Wait while another host has the turn ``of`` a text, and ``keep`` it where others wait for what this one
        does.
        """
        with contextlib.ExitStack() as held:
            held.enter_context(
                locked(self._private() / ".locks" / hashlib.sha256(of.encode()).hexdigest()[:16], waiting)
            )
            if not keep:
                held.close()
            yield

    @contextlib.contextmanager
    def arriving(self) -> typing.Iterator[pathlib.Path]:
        """Lend an empty folder for what a host sends; it goes afterwards."""
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self._private()) as folder:
            yield pathlib.Path(folder)

    def add(
        self, entry: release_index.Entry, archive: pathlib.Path, builder: Builder, signature: pathlib.Path | None = None
    ) -> bool:
        """Sign ``archive`` and keep it as what ``builder`` has built;

        False where there is one of that name and builder, which stays.
        """
        key = self.key()
        folder = pathlib.Path(tempfile.mkdtemp(prefix=".new-", dir=self._private()))
        try:
            os.rename(archive, folder / entry.file)
            release_signature.sign(folder / entry.file, key, commands.run)
            if signature:
                os.rename(signature, folder / BUILDERS_SIGNATURE)
            record = {
                "builder": dataclasses.asdict(builder),
                "signed": bool(signature),
                "index": release_index.render([entry]),
            }
            write_json(folder / RECORD, record)
            try:
                os.rename(folder, self.place / _folder(entry.name, builder))
            except OSError as error:
                if error.errno not in (
                    errno.EEXIST,
                    errno.ENOTEMPTY,
                ):  # the kernel replaces no folder that is not empty
                    raise
                return False
            return True
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            self._prune()

    def signer(self) -> str:
        """Return the public half of the controller's key (``ssh-ed25519 AAAA…``)."""
        return release_signature.public_key(self.key())

    def key(self) -> pathlib.Path:
        """Return the private key with which the controller signs what it has accepted, made on first use."""
        path = self._private() / _KEY / "ed25519"
        with locked(self.place / ".locks" / "key"):
            if not path.exists():
                folder = pathlib.Path(tempfile.mkdtemp(prefix=".new-", dir=self.place))
                words = [
                    "ssh-keygen",
                    "-q",
                    "-t",
                    "ed25519",
                    "-N",
                    "",
                    "-C",
                    "llama-fleet controller",
                    "-f",
                    str(folder / path.name),
                ]
                done = commands.run(words, timeout=60)
                if not done.ok:
                    shutil.rmtree(folder, ignore_errors=True)
                    found = (
                        f"no key for signing, and ssh-keygen makes none "
                        f"({done.stderr.strip() or f'exit code {done.code}'})"
                    )
                    raise ProblemError(
                        Problem(
                            VARIABLE, found, "OpenSSH's ssh-keygen on the controller", "install openssh-client there"
                        )
                    )
                shutil.rmtree(path.parent, ignore_errors=True)
                os.rename(folder, path.parent)
        return path

    def take(self, accepted: Accepted) -> None:
        """Note that a release is taken, after its bytes were held against the controller's signature;

        ProblemError where they are others.
        """
        release_signature.verify(accepted.archive, accepted.signature, [self.signer()], commands.run, VARIABLE)
        os.utime(accepted.folder)

    def tools(self) -> pathlib.Path:
        """Return the root for what the controller needs to open archives."""
        return self._private() / ".tools"

    def _private(self) -> pathlib.Path:
        """Return the folder, made where it is missing; raises where it is another user's."""
        self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self.place.stat()
        if status.st_uid != os.geteuid():
            wanted = "a folder of the user who runs Ansible"
            raise ProblemError(
                Problem(VARIABLE, f"{self.place}, which belongs to another user", wanted, "name another one")
            )
        if stat.S_IMODE(status.st_mode) & 0o077:
            self.place.chmod(0o700)
        return self.place

    def _prune(self) -> None:
        for folder in self.place.iterdir():
            # A hidden one is that of a run which was killed.
            if folder.name not in _KEPT and time.time() - folder.stat().st_mtime > UNUSED:
                shutil.rmtree(folder, ignore_errors=True)


def _folder(name: str, builder: Builder) -> str:
    digest = hashlib.sha256(f"{builder.host}\0{builder.address}".encode()).hexdigest()
    return f"{name}@{digest[:12]}"


def _read(record: pathlib.Path) -> Accepted:
    """Raises OSError and ValueError where it is no record of what lies beside it."""
    try:
        told = parse(record.read_bytes(), _SHAPE, str(record))
    except ShapeError as error:
        raise ValueError(str(error)) from error
    (entry,) = release_index.parse(json.dumps(told["index"]))
    builder = Builder(**told["builder"])
    if record.parent.name != _folder(entry.name, builder):
        raise ValueError("a record of another release")
    return Accepted(entry, builder, told["signed"], record.parent)
