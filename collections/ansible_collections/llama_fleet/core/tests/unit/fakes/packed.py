# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A release worth packing, keys to sign it with, and archives that nobody should unpack."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import importlib
import io
import json
import os
import tarfile
import typing

import zstandard

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import run
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.release import pack as release_pack
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store as release_store
from ansible_collections.llama_fleet.core.plugins.module_utils.release.index import SUFFIX, ZSTD_SUFFIX

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.release.packed_folder import Packed

PARTS = {
    "build": "b77",
    "backend": "cpu",
    "libc": "glibc 2.36",
    "compiler": "g++ 12",
    "cmake_options": {"GGML_NATIVE": "ON"},
}
FILES = {
    "bin/llama-server": b"\x7fELF" + b"server" * 5000,
    "bin/libggml.so.0.1": b"library" * 90_000,
    "licenses/LICENSE": b"free\n",
    "bin/empty": b"",
}
LINKS = {"bin/libggml.so": "libggml.so.0", "bin/libggml.so.0": "libggml.so.0.1"}


@contextlib.contextmanager
def borrow(name: str, _requirements: typing.Sequence[str]) -> typing.Iterator[typing.Any]:
    """Yield the installed module, as a Borrow."""
    yield importlib.import_module(name)


def publish(
    root: pathlib.Path, content: bytes = b"", fingerprint: str = "fe" * 32, **parts: typing.Any
) -> pathlib.Path:
    """Publish a release below ``root``; another ``content`` gives a different release of the same fingerprint."""
    path = release_store.release_path(root, "b77", fingerprint)
    staged = release_store.staging(path)
    for name, data in {**FILES, "bin/more": content}.items():
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).write_bytes(data)
    (staged / "bin" / "llama-server").chmod(0o755)
    for name, target in LINKS.items():
        (staged / name).symlink_to(target)
    manifest = {
        "build": "b77",
        "fingerprint": fingerprint,
        "fingerprint_parts": {**PARTS, **parts},
        **release_store.describe(staged),
    }
    release_store.publish(staged, path, manifest)
    return path


def make_key(path: pathlib.Path, kind: str = "ed25519", passphrase: str = "", form: str = "RFC4716") -> str:
    """Make a key at ``path`` and return the line of its public half."""
    bits = ["-b", "1024"] if kind == "rsa" else []  # found fast
    done = run(
        ["ssh-keygen", "-q", "-t", kind, *bits, "-m", form, "-N", passphrase, "-C", f"the {path.name}", "-f", str(path)]
    )
    assert done.ok, done.stderr
    return path.with_name(f"{path.name}.pub").read_text(encoding="utf-8").strip()


def manifest_of(files: typing.Mapping[str, bytes], links: typing.Mapping[str, str]) -> dict[str, typing.Any]:
    """Return the manifest of these files and links."""
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    return {
        "build": "b77",
        "fingerprint": "fe" * 32,
        "files": sums,
        "sizes": {name: len(data) for name, data in files.items()},
        "links": dict(links),
    }


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    """One member of an archive."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(data), link
    return info, data


def unpack(archive: pathlib.Path, staged: pathlib.Path) -> dict[str, typing.Any]:
    """Unpack an archive at a path."""
    with archive.open("rb") as file:
        return release_pack.unpack(file, str(archive), staged, borrow, Progress())


def write_archive(path: pathlib.Path, manifest: object, *members: tuple[tarfile.TarInfo, bytes]) -> pathlib.Path:
    """Write an archive of a manifest and the members that follow it, compressed with zstd if its name says so."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for info, data in [member("manifest.json", json.dumps(manifest).encode()), *members]:
            tar.addfile(info, io.BytesIO(data))
    path.write_bytes((zstandard.compress if path.name.endswith(ZSTD_SUFFIX) else gzip.compress)(stream.getvalue()))
    return path


def make_old(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Turn a packed release into one that an earlier version packed, compressed with zstd; return its archive."""
    new, old = folder / f"{name}{SUFFIX}", folder / f"{name}{ZSTD_SUFFIX}"
    old.write_bytes(zstandard.compress(gzip.decompress(new.read_bytes())))
    new.unlink()
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    entry = index["releases"][name]
    del entry["suffix"]
    entry.update(size=old.stat().st_size, sha256=hashlib.sha256(old.read_bytes()).hexdigest())
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return old


class Host(typing.NamedTuple):
    """A host with one release, a folder to pack into and a key."""

    root: pathlib.Path
    release: pathlib.Path
    folder: pathlib.Path
    key: pathlib.Path

    def pack(self, key: pathlib.Path | None = None, release: pathlib.Path | None = None) -> tuple[Packed, bool]:
        return release_pack.pack(release or self.release, self.folder, key, Progress(), run)

    def plan(self, key: pathlib.Path | None = None) -> bool:
        return release_pack.plan_pack(self.release, self.folder, key)

    def listed(self) -> dict[str, typing.Any]:
        return typing.cast(
            "dict[str, typing.Any]", json.loads((self.folder / "index.json").read_text(encoding="utf-8"))["releases"]
        )

    def names(self) -> list[str]:
        return sorted(os.listdir(self.folder))
