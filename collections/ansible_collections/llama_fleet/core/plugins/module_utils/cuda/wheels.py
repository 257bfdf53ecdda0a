# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Install a CUDA toolkit from NVIDIA's wheels on PyPI: pinned files, unpacked without running any code in them."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import download, verified
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import index as package_index
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.archives import ArchiveError, Zip
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import Package
from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import BYTES, Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Many, Plain, Record, Text

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.cuda.releases import Release

INDEX_VARIABLE = "cuda_toolkit_index_url"
MANIFEST = "manifest.json"
PROVEN = "proven.json"
_MANIFEST = Record(optional={"version": Text(), "nvcc": Text(), "architectures": Many(Text())}, others=Plain())
_LARGEST = 8 << 30  # bytes; the limit for a wheel whose size the index does not give
# Endings of the leftovers of killed runs: an unpacked toolkit, wheels, and a toolkit that was being removed.
_REMAINS = ("new", "wheels", "gone")


def folder_of(root: pathlib.Path, release: Release) -> pathlib.Path:
    """Return the folder of ``release`` below ``root``."""
    return root / "toolkits" / f"cuda-{release.version}"


def installed(release: Release, root: pathlib.Path) -> bool:
    """Return whether ``release`` is completely installed below ``root``; the manifest is written last."""
    target = folder_of(root, release)
    return manifest_of(target).get("version") == release.version and (target / "bin/nvcc").is_file()


def manifest_of(target: pathlib.Path) -> dict[str, typing.Any]:
    """Return the manifest of an installation, or an empty dict if there is none."""
    return files.read_json(target / MANIFEST, _MANIFEST) or {}


def install(
    release: Release,
    root: pathlib.Path,
    index: str,
    machine: str,
    progress: Progress,
    prove: typing.Callable[[pathlib.Path], str],
) -> bool:
    """Install ``release`` below ``root``. Return False if it was installed already.

    A killed run resumes, because the wheels stay next to the target until the end. The toolkit is built in a hidden
    sibling folder, must pass ``prove`` there (which returns nvcc's version line), and is renamed into place.
    """
    target = folder_of(root, release)
    new, wheels = _sibling(target, "new"), _sibling(target, "wheels")
    with _locked(root, progress):
        if installed(release, root):
            return False
        fetched = _fetch(release, wheels, index, machine, progress)
        shutil.rmtree(new, ignore_errors=True)
        pinned = [(path, wheel.sha256[machine]) for path, wheel in zip(fetched, release.wheels)]
        _unpack(pinned, new, f"unpacking CUDA toolkit {release.version}", progress)
        _link(new)
        progress.stage(f"trying CUDA toolkit {release.version}")
        files.write_json(new / MANIFEST, _manifest(release, machine, prove(new)))
        os.sync()  # one call for thousands of files, which must be on disk before the rename
        if target.exists():  # without a manifest: the remains of something else
            shutil.rmtree(target)
        new.rename(target)
        files.sync_directory(target.parent)
        shutil.rmtree(wheels, ignore_errors=True)
    return True


def _manifest(release: Release, machine: str, nvcc: str) -> dict[str, typing.Any]:
    return {
        "version": release.version,
        "nvcc": nvcc,
        "architectures": list(release.architectures),
        "wheels": {
            wheel.project: {"version": wheel.version, "sha256": wheel.sha256[machine]} for wheel in release.wheels
        },
    }


def removable(root: pathlib.Path, version: str = "") -> list[pathlib.Path]:
    """List what installations created below ``root``: toolkits, leftovers of killed runs, and the record of proofs.

    A ``version`` (major.minor) restricts the list to that version. Links and folders without our manifest are left out.
    """
    pattern = f"cuda-{version}.*" if version else "cuda-*"
    folder = root / "toolkits"
    toolkits = [
        path
        for path in folder.glob(pattern)
        if not path.is_symlink() and f"cuda-{manifest_of(path).get('version')}" == path.name
    ]
    remains = [path for end in _REMAINS for path in folder.glob(f".{pattern}.{end}")]
    proven = [] if version else list(folder.glob(PROVEN))
    return sorted(toolkits) + sorted(remains) + proven


def remove(root: pathlib.Path, version: str, progress: Progress) -> list[pathlib.Path]:
    """Remove everything that ``removable`` lists, and return it.

    A toolkit is renamed before its files are deleted, so that an interrupted removal leaves no partial toolkit.
    """
    with _locked(root, progress):
        paths = removable(root, version)
        for path in paths:
            progress.stage(f"removing {path.name}")
            if path.name == PROVEN:
                path.unlink()
                continue
            gone = path if path.name.startswith(".") else _sibling(path, "gone")
            if gone != path:
                shutil.rmtree(gone, ignore_errors=True)
                path.rename(gone)
                files.sync_directory(path.parent)
            shutil.rmtree(gone, ignore_errors=True)
        with contextlib.suppress(OSError):  # the folder is missing or not empty
            (root / "toolkits").rmdir()
    return paths


def _sibling(target: pathlib.Path, end: str) -> pathlib.Path:
    return target.with_name(f".{target.name}.{end}")


def _locked(root: pathlib.Path, progress: Progress) -> contextlib.AbstractContextManager[None]:
    return files.locked(
        root / "locks" / "toolkits.lock", lambda: progress.stage("waiting for another run that works on CUDA toolkits")
    )


def _fetch(release: Release, folder: pathlib.Path, index: str, machine: str, progress: Progress) -> list[pathlib.Path]:
    """Download the missing wheels of ``release`` into ``folder``; return the paths of all."""
    progress.stage(f"fetching CUDA toolkit {release.version}")
    missing = []
    for wheel in release.wheels:
        target = folder / f"{wheel.project}-{wheel.version}.whl"
        if not target.exists():
            package = Package(wheel.project, wheel.version)
            missing.append(
                (target, package_index.find_by_sha256(index, package, wheel.sha256[machine], INDEX_VARIABLE))
            )
    total = sum(indexed.size for _target, indexed in missing)
    before = 0
    for target, indexed in missing:
        download.fetch(
            indexed.url,
            target,
            indexed.sha256,
            INDEX_VARIABLE,
            seen=_reporter(progress, before, total),
            most=indexed.size or _LARGEST,
            endpoint=indexed.index,
        )
        before += indexed.size
    return [folder / f"{wheel.project}-{wheel.version}.whl" for wheel in release.wheels]


def _reporter(progress: Progress, before: int, total: int) -> typing.Callable[[int], None]:
    return lambda count: progress.update(before + count, total, BYTES)


def _unpack(
    wheels: typing.Iterable[tuple[pathlib.Path, str]], folder: pathlib.Path, stage: str, progress: Progress
) -> None:
    """Unpack wheels, each given with its sha256, into the new ``folder``."""
    progress.stage(stage)
    folder.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        archives = [_verified(stack, path, sha256) for path, sha256 in wheels]
        members = [
            (archive, info, place)
            for archive in archives
            for info in archive.members
            if (place := place_of(info.filename))
        ]
        total = sum(info.file_size for _archive, info, _place in members)
        raise_if_any(filter(None, [files.space_problem(folder, total, "cuda_toolkit_root")]))
        done = 0
        for archive, info, place in members:
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                file.writelines(archive.read(info))
            target.chmod(0o755 if info.external_attr >> 16 & 0o111 else 0o644)
            done += info.file_size
            progress.update(done, total, BYTES)


def _verified(stack: contextlib.ExitStack, path: pathlib.Path, sha256: str) -> Zip:
    """Open a wheel until ``stack`` closes, so that the bytes that were hashed are the bytes that are unpacked.

    A file with a wrong checksum is deleted. Raises ProblemError.
    """
    file, actual = verified.opened(path, path.parent)
    stack.callback(file.close)
    if actual != sha256:
        path.unlink()
        fix = "run again to download it anew"
        raise ProblemError(Problem(INDEX_VARIABLE, f"sha256 {actual} of {path}", f"sha256 {sha256}", fix))
    try:
        return Zip(file)
    except ArchiveError as error:
        no_wheel = f"{path.name}, which is no wheel ({error})"
        raise ProblemError(Problem(INDEX_VARIABLE, no_wheel, "NVIDIA's own")) from error


def place_of(member: str) -> str:
    """Return the path of a wheel's member in the toolkit, or an empty string if it is left out."""
    if ".." in pathlib.PurePosixPath(member).parts or member.endswith("/"):
        return ""
    licence = re.fullmatch(r"([^/]+)-[^/-]+\.dist-info/licenses/(.+)", member)
    if licence:
        return f"licenses/{licence[1]}/{licence[2]}"
    inside = re.fullmatch(r"nvidia/cu\d+/([^.].*)", member)
    return inside[1] if inside else ""


def _link(folder: pathlib.Path) -> None:
    """Add the links that linkers and CMake need and wheels cannot carry: libx.so to libx.so.13, and lib64."""
    for library in sorted((folder / "lib").glob("lib*.so.*")):
        link = library.with_name(library.name.split(".so.")[0] + ".so")
        if not link.exists():
            link.symlink_to(library.name)
    if not (folder / "lib64").exists():
        (folder / "lib64").symlink_to("lib")
