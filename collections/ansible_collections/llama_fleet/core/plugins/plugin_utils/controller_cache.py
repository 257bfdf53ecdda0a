# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep packed releases on the controller, so that the hosts of a play can share what one of them has built.

Each has its own folder, named by release and builder: one rename adds it, and nothing ever replaces it. The controller
signs what it has accepted with a key that is kept here.
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
from ansible_collections.llama_fleet.core.plugins.plugin_utils.builders import Builder
from ansible_collections.llama_fleet.core.plugins.plugin_utils.shown import Shown

UNUSED = 30 * 86400  # seconds until an unused release is removed
RECORD = "accepted.json"
BUILDERS_SIGNATURE = "builder.sig"
VARIABLE = "llama_cpp_controller_cache"
_KEY = ".key"
_KEPT = (".locks", _KEY)
_SHAPE = Record({"builder": Record({"host": Text(), "address": Text()}), "signed": Flag(), "index": Shown()})


@dataclasses.dataclass(frozen=True)
class Accepted:
    """A release on the controller; ``signed`` says whether its builder signed it too."""

    entry: release_index.Entry
    builder: Builder
    signed: bool
    folder: pathlib.Path

    @property
    def archive(self) -> pathlib.Path:
        return self.folder / self.entry.file

    @property
    def signature(self) -> pathlib.Path:
        """Return the path of the controller's signature."""
        return self.folder / f"{self.entry.file}{release_signature.SUFFIX}"

    def files(self, own: bool) -> list[tuple[pathlib.Path, str]]:
        """Return the paths of the archive and a signature, each with its file name on a host.

        ``own`` selects the builder's own signature instead of the controller's.
        """
        return [
            (self.archive, self.archive.name),
            (self.folder / BUILDERS_SIGNATURE if own else self.signature, self.signature.name),
        ]


@dataclasses.dataclass(frozen=True)
class ControllerCache:
    """The cache in the folder ``place``, which may not exist yet."""

    place: pathlib.Path

    def accepted(self) -> list[Accepted]:
        """Return the accepted releases, oldest first, without damaged ones."""
        releases = []
        if self.place.exists():
            self._private()
        for record in sorted(self.place.glob(f"[!.]*/{RECORD}")):
            with contextlib.suppress(OSError, ValueError):
                releases.append(_read(record))
        return sorted(releases, key=lambda each: (each.entry.packed, each.entry.name))

    @contextlib.contextmanager
    def turn(
        self,
        of: str,
        waiting: typing.Callable[[], None],
        keep: bool,
        meanwhile: typing.Callable[[], None] | None = None,
    ) -> typing.Iterator[None]:
        """Wait while another host has the turn ``of`` a text, as ``locked`` does.

        With ``keep``, hold it so that others wait for this host.
        """
        place = self._private() / ".locks" / hashlib.sha256(of.encode()).hexdigest()[:16]
        with contextlib.ExitStack() as held:
            held.enter_context(locked(place, waiting, meanwhile))
            if not keep:
                held.close()
            yield

    @contextlib.contextmanager
    def arriving(self) -> typing.Iterator[pathlib.Path]:
        """Lend an empty temporary folder for the files that a host sends."""
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self._private()) as folder:
            yield pathlib.Path(folder)

    def add(
        self, entry: release_index.Entry, archive: pathlib.Path, builder: Builder, signature: pathlib.Path | None = None
    ) -> bool:
        """Sign ``archive`` and keep it as the build of ``builder``.

        Returns False if there already is one of that name and builder, which stays.
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
                # The kernel does not replace a folder that is not empty.
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
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
        """Return the path of the controller's private signing key, which is made on first use. Raises ProblemError."""
        path = self._private() / _KEY / "ed25519"
        with locked(self.place / ".locks" / "key"):
            if not path.exists():
                folder = pathlib.Path(tempfile.mkdtemp(prefix=".new-", dir=self.place))
                target = str(folder / path.name)
                words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "llama-fleet controller", "-f", target]
                done = commands.run(words, timeout=60)
                if not done.ok:
                    shutil.rmtree(folder, ignore_errors=True)
                    reason = done.stderr.strip() or f"exit code {done.code}"
                    no_key = f"no signing key, and ssh-keygen cannot make one ({reason})"
                    wanted = "OpenSSH's ssh-keygen on the controller"
                    raise ProblemError(Problem(VARIABLE, no_key, wanted, "install openssh-client there"))
                shutil.rmtree(path.parent, ignore_errors=True)
                os.rename(folder, path.parent)
        return path

    def take(self, accepted: Accepted) -> None:
        """Verify a release against the controller's signature and mark it as used.

        Raises ProblemError if it differs.
        """
        release_signature.verify(accepted.archive, accepted.signature, [self.signer()], commands.run, VARIABLE)
        os.utime(accepted.folder)

    def _private(self) -> pathlib.Path:
        """Return the folder, made if missing. Raises ProblemError if it belongs to another user."""
        self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self.place.stat()
        if status.st_uid != os.geteuid():
            wanted = "a folder of the user that runs Ansible"
            raise ProblemError(
                Problem(VARIABLE, f"{self.place}, which belongs to another user", wanted, "name another one")
            )
        if stat.S_IMODE(status.st_mode) & 0o077:
            self.place.chmod(0o700)
        return self.place

    def _prune(self) -> None:
        for folder in self.place.iterdir():
            # Hidden folders are left by killed runs.
            if folder.name not in _KEPT and time.time() - folder.stat().st_mtime > UNUSED:
                shutil.rmtree(folder, ignore_errors=True)


def _folder(name: str, builder: Builder) -> str:
    digest = hashlib.sha256(f"{builder.host}\0{builder.address}".encode()).hexdigest()
    return f"{name}@{digest[:12]}"


def _read(record: pathlib.Path) -> Accepted:
    """Return the accepted release of a record. Raises OSError or ValueError if it does not describe its folder."""
    try:
        content = parse(record.read_bytes(), _SHAPE, str(record))
    except ShapeError as error:
        raise ValueError(str(error)) from error
    (entry,) = release_index.parse(json.dumps(content["index"]))
    builder = Builder(**content["builder"])
    if record.parent.name != _folder(entry.name, builder):
        raise ValueError("a record of another release")
    return Accepted(entry, builder, content["signed"], record.parent)
