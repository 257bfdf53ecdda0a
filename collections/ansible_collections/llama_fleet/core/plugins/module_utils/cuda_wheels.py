# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A CUDA toolkit out of the wheels NVIDIA publishes on PyPI: exact files, unpacked without running anything of them."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import shutil
import typing
import zipfile

from ansible_collections.llama_fleet.core.plugins.module_utils import download, files, package_index
from ansible_collections.llama_fleet.core.plugins.module_utils.pinned import Package
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import BYTES, Progress

INDEX_VARIABLE = "cuda_toolkit_index_url"
MANIFEST = "manifest.json"


@dataclasses.dataclass(frozen=True)
class Wheel:
    """One wheel; ``sha256`` has one sum for each machine, by the kernel's name of it."""

    project: str
    version: str
    sha256: typing.Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Release:
    """One installable toolkit; ``version`` is what its nvcc calls itself."""

    version: str
    oldest_driver: int
    architectures: tuple[str, ...]
    wheels: tuple[Wheel, ...]


RELEASES: typing.Mapping[str, Release] = {
    "13.0": Release(
        "13.0.88",
        580,
        ("75", "80", "86", "87", "88", "89", "90", "100", "103", "110", "120", "121"),
        (
            Wheel(
                "nvidia-cuda-nvcc",
                "13.0.88",
                {
                    "x86_64": "56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03",
                    "aarch64": "c7ff28f86a24effdc6c034fa15230c549a273e4771b10a7fec14996f8cf3307f",
                },
            ),
            Wheel(
                "nvidia-nvvm",
                "13.0.88",
                {
                    "x86_64": "c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0",
                    "aarch64": "c4376a291d72d22a315d9d2f69bdae8f8cd83a627f75bad395cee49a0fe65dc1",
                },
            ),
            Wheel(
                "nvidia-cuda-crt",
                "13.0.88",
                {
                    "x86_64": "2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4",
                    "aarch64": "ee2ea2a97073e02ee62bb27841f437332be2c248e3eac013df07997ada39c003",
                },
            ),
            Wheel(
                "nvidia-cuda-cccl",
                "13.0.85",
                {
                    "x86_64": "e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649",
                    "aarch64": "6f0203e29fed809ee2b7fe9b1344df66ecab990c37d6a2e0e189b26d6c97ed7c",
                },
            ),
            Wheel(
                "nvidia-cuda-runtime",
                "13.0.96",
                {
                    "x86_64": "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
                    "aarch64": "ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55",
                },
            ),
            # cuBLAS loads NVRTC at run time.
            Wheel(
                "nvidia-cuda-nvrtc",
                "13.0.88",
                {
                    "x86_64": "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575",
                    "aarch64": "d27f20a0ca67a4bb34268a5e951033496c5b74870b868bacd046b1b8e0c3267b",
                },
            ),
            Wheel(
                "nvidia-cublas",
                "13.1.1.3",
                {
                    "x86_64": "37936a16db8fe4ac1f065c2139360608a543a09275cb1a1af612e08cfa065436",
                    "aarch64": "b7a210458267ac818974c53038fbec2e969d5c99f305ab15c72522fa9f001dd5",
                },
            ),
        ),
    ),
}


def installed(release: Release, target: pathlib.Path) -> bool:
    """Whether ``target`` holds this release, whole: the manifest is written last."""
    manifest = files.read_json(target / MANIFEST) or {}
    return manifest.get("version") == release.version and (target / "bin/nvcc").is_file()


def install(
    release: Release,
    target: pathlib.Path,
    index: str,
    machine: str,
    progress: Progress,
    prove: typing.Callable[[pathlib.Path], None],
) -> bool:
    """Bring ``release`` to ``target``; whether this run did it.

    Wheels wait beside the target until all is done, so a run that was killed goes on where it was.
    The toolkit is built in a hidden sibling, has to pass ``prove`` there, and is renamed at the end.
    """
    new, wheels = (target.with_name(f".{target.name}.{end}") for end in ("new", "wheels"))
    with files.locked(target.with_name(f".{target.name}.lock"), lambda: progress.stage("waiting for another run that installs CUDA")):
        if installed(release, target):
            return False
        fetched = _fetch(release, wheels, index, machine, progress)
        shutil.rmtree(new, ignore_errors=True)
        _unpack(fetched, new, f"unpacking CUDA toolkit {release.version}", progress)
        _link(new)
        progress.stage(f"trying CUDA toolkit {release.version}")
        prove(new)
        files.write_json(
            new / MANIFEST,
            {
                "version": release.version,
                "architectures": list(release.architectures),
                "wheels": {wheel.project: {"version": wheel.version, "sha256": wheel.sha256[machine]} for wheel in release.wheels},
            },
        )
        os.sync()  # one call for thousands of files, all of which have to be on the disk before the rename
        if target.exists():  # no manifest: remains of something else
            shutil.rmtree(target)
        new.rename(target)
        files.sync_directory(target.parent)
        shutil.rmtree(wheels, ignore_errors=True)
    return True


def _fetch(release: Release, folder: pathlib.Path, index: str, machine: str, progress: Progress) -> list[pathlib.Path]:
    """All wheels of ``release`` in ``folder``, those that are there already included."""
    progress.stage(f"fetching CUDA toolkit {release.version}")
    missing = []
    for wheel in release.wheels:
        target = folder / f"{wheel.project}-{wheel.version}.whl"
        if not target.exists():
            found = package_index.find_by_sha256(index, Package(wheel.project, wheel.version), wheel.sha256[machine], INDEX_VARIABLE)
            missing.append((target, found))
    total = sum(found.size for _target, found in missing)
    before = 0
    for target, found in missing:
        download.fetch(found.url, target, found.sha256, INDEX_VARIABLE, seen=_reporter(progress, before, total))
        before += found.size
    return [folder / f"{wheel.project}-{wheel.version}.whl" for wheel in release.wheels]


def _reporter(progress: Progress, before: int, total: int) -> typing.Callable[[int], None]:
    return lambda count: progress.update(before + count, total, BYTES)


def _unpack(wheels: typing.Iterable[pathlib.Path], folder: pathlib.Path, stage: str, progress: Progress) -> None:
    progress.stage(stage)
    folder.mkdir(parents=True)
    done = 0
    archives = [zipfile.ZipFile(wheel) for wheel in wheels]
    try:
        members = [(archive, info, place) for archive in archives for info in archive.infolist() if (place := place_of(info.filename))]
        total = sum(info.file_size for _archive, info, _place in members)
        for archive, info, place in members:
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file, files.CHUNK)
            target.chmod(0o755 if info.external_attr >> 16 & 0o111 else 0o644)
            done += info.file_size
            progress.update(done, total, BYTES)
    finally:
        for archive in archives:
            archive.close()


def place_of(member: str) -> str:
    """Where a wheel's member belongs in the toolkit; empty for what is left out."""
    if ".." in pathlib.PurePosixPath(member).parts or member.endswith("/"):
        return ""
    licence = re.fullmatch(r"([^/]+)-[^/-]+\.dist-info/licenses/(.+)", member)
    if licence:
        return f"licenses/{licence[1]}/{licence[2]}"
    inside = re.fullmatch(r"nvidia/cu\d+/([^.].*)", member)
    return inside[1] if inside else ""


def _link(folder: pathlib.Path) -> None:
    """The names that linkers and CMake look for, which wheels cannot carry: libx.so beside libx.so.13, lib64."""
    for library in sorted((folder / "lib").glob("lib*.so.*")):
        link = library.with_name(library.name.split(".so.")[0] + ".so")
        if not link.exists():
            link.symlink_to(library.name)
    if not (folder / "lib64").exists():
        (folder / "lib64").symlink_to("lib")
