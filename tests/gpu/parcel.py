# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""``tests/gpu/collect`` puts the source, wheels and tools for a host without a network into one folder."""

from __future__ import annotations

import argparse
import json
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda.releases import RELEASES
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import download, pinned
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import index as package_index
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import sha256_of
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import import_or_install as borrowed
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv as tools_venv
from ansible_collections.llama_fleet.core.plugins.module_utils.tools.build_pins import PINS
from tests.gpu import packed, slim

MIB = 1 << 20
ROOT = pathlib.Path(__file__).resolve().parents[2]
DEFAULTS = ROOT / "collections/ansible_collections/llama_fleet/core/roles/llama_cpp/defaults/main.yml"
NAME = "parcel.json"  # written last; without it the folder is incomplete
# What the command imports; the Hub is not used.
PACKAGES = ("ansible-core", "ansible-runner", "click", "jmespath", "rich")
PYTHONS = ("3.11", "3.12", "3.13")
# The C libraries for which the tools' wheels are made, and which hosts with such a driver have.
PLATFORMS = ("manylinux1", "manylinux2014", "manylinux_2_17", "manylinux_2_28")


LIMIT = 50  # MiB of a slim parcel and the working tree together
_SOURCE = "llama_cpp_source"


def main() -> int:
    """``python -m tests.gpu.parcel FOLDER`` fills the folder; what is present is not fetched again."""
    given = _arguments().parse_args()
    try:
        _collect(given)
    except ProblemError as error:
        sys.stderr.write(f"tests/gpu/collect: {error}\n")
        return 1
    except subprocess.CalledProcessError:
        return 1  # pip has printed the reason
    size, tree = parcel_size(given.folder), tree_size()
    sys.stdout.write(
        f"{given.folder} holds what tests/gpu/run needs: {size / MIB:.1f} MiB; the working tree has "
        f"{tree / MIB:.1f} MiB\n"
    )
    if given.slim and size + tree > given.limit * MIB:
        sys.stderr.write(
            f"tests/gpu/collect: together more than {given.limit} MiB; leave --release out, or raise --limit where "
            f"more can be carried\n"
        )
        return 1
    return 0


def _arguments() -> argparse.ArgumentParser:
    here = ".".join(map(str, sys.version_info[:2]))
    parser = argparse.ArgumentParser(prog="tests/gpu/collect", description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--without-toolkit", action="store_true", help="for a host that has a CUDA toolkit of its own")
    parser.add_argument(
        "--slim",
        action="store_true",
        help="for a host with toolkit, CMake and Ninja to which little can be carried; one Python, the source cut",
    )
    parser.add_argument(
        "--release",
        type=pathlib.Path,
        metavar="ARCHIVE",
        help="with --slim: a packed release (.tar.gz) for a run that has no time to compile",
    )
    parser.add_argument(
        "--limit", type=float, default=LIMIT, metavar="MIB", help=f"of --slim, the working tree included ({LIMIT})"
    )
    parser.add_argument(
        "--python",
        action="append",
        metavar="X.Y",
        help=f"versions of the host's Python ({', '.join(PYTHONS)}; with --slim {here})",
    )
    parser.add_argument("--machine", default=platform.machine(), help="what uname -m says there")
    return parser


def pip(packages: pathlib.Path) -> list[str]:
    """Return the command of pip from its own wheel, for a Python that may have none."""
    return [sys.executable, f"{packages / f'pip-{tools_venv.PIP.version}-py3-none-any.whl'}/pip"]


def parcel_size(folder: pathlib.Path) -> int:
    """Return the size of a parcel in bytes."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def tree_size() -> int:
    """Return the bytes of the working tree: files that git tracks or would track; all files without git."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return parcel_size(ROOT)
    return sum((ROOT / name).lstat().st_size for name in listed.split("\0") if name and (ROOT / name).exists())


def altered(folder: pathlib.Path, parcel: typing.Mapping[str, typing.Any]) -> list[str]:
    """Return the files of the parcel that differ from what was collected."""
    sums: dict[str, str] = parcel.get("sums", {})
    return [
        name for name, sha256 in sums.items() if not (folder / name).is_file() or sha256_of(folder / name) != sha256
    ]


def _collect(given: argparse.Namespace) -> None:
    folder, packages = given.folder, given.folder / "simple"
    if given.slim:
        shutil.rmtree(folder / "simple", ignore_errors=True)  # wheels for other Pythons would count
    packages.mkdir(parents=True, exist_ok=True)
    (folder / NAME).unlink(missing_ok=True)
    index = package_index.index_url()
    _bring(package_index.find_by_sha256(index, tools_venv.PIP, tools_venv.PIP_SHA256, "pip"), packages)
    parcel = _slim(given, packages, index) if given.slim else _whole(given, packages, index)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    sums = {str(file.relative_to(folder)): sha256_of(file) for file in files}
    (folder / NAME).write_text(
        json.dumps({**parcel, "machine": given.machine, "sums": sums}, indent=2), encoding="utf-8"
    )


def _whole(given: argparse.Namespace, packages: pathlib.Path, index: str) -> dict[str, typing.Any]:
    """Collect everything, for a host that has only a compiler and a driver."""
    source, file = _source(index)
    _bring(file, packages)
    newest, release = next(iter(RELEASES.items()))
    toolkit = not given.without_toolkit
    for wheel in release.wheels if toolkit else ():
        _bring(
            package_index.find_by_sha256(
                index, pinned.Package(wheel.project, wheel.version), wheel.sha256[given.machine], "toolkit"
            ),
            packages,
        )
    pythons = given.python or PYTHONS
    for python in pythons:
        _download(packages, python, given.machine, [*tools_venv.BUILD_TOOLS, *tools_venv.COMPILER_CACHE])
    return {"source": source, "toolkit": newest if toolkit else "", "pythons": list(pythons), "packages": [*PACKAGES]}


def _slim(given: argparse.Namespace, packages: pathlib.Path, index: str) -> dict[str, typing.Any]:
    """Collect as little as possible, for a host with a toolkit, CMake and Ninja."""
    (python,) = given.python or [".".join(map(str, sys.version_info[:2]))]
    for name in ("source", "release"):
        shutil.rmtree(given.folder / name, ignore_errors=True)
        (given.folder / name).mkdir()
    with tempfile.TemporaryDirectory() as folder:
        _source_name, file = _source(index)
        _bring(file, pathlib.Path(folder))
        archive, sha256 = slim.cut(pathlib.Path(folder, file.name), given.folder / "source")
    parcel: dict[str, typing.Any] = {
        "source": f"{{folder}}/source/{archive.name}#sha256={sha256}",
        "toolkit": "",
        "pythons": [python],
    }
    if given.release is None:
        # An interrupted build's objects are found by the next one.
        _download(packages, python, given.machine, [*tools_venv.COMPILER_CACHE])
        return {**parcel, "packages": [*PACKAGES]}
    _download(packages, python, given.machine, [*tools_venv.ARCHIVER])
    with tempfile.TemporaryDirectory() as folder:
        borrow = borrowed.borrower(pathlib.Path(folder), index, "package index", Progress(), PINS)
        # Only for a release that an earlier version packed.
        archive, sha256, left_out = packed.reduce(
            given.release, given.folder / "release", lambda: borrow("zstandard", tools_venv.ARCHIVER)
        )
    release = f"release+{{folder}}/release/{archive.name}#sha256={sha256}"
    return {**parcel, "release": release, "toolkit_libraries": left_out, "packages": [*PACKAGES, "zstandard"]}


def _source(index: str) -> tuple[str, package_index.IndexFile]:
    """Return the role's default source and its file in the index."""
    (source,) = re.findall(r'^llama_cpp_source: "?([^"\s]+)"?$', DEFAULTS.read_text(encoding="utf-8"), re.MULTILINE)
    pin = pinned.parse_pinned(source, _SOURCE)
    return source, package_index.find_file(index, pinned.parse_package(pin.reference, _SOURCE), ".tar.gz", _SOURCE)


def _bring(file: package_index.IndexFile, packages: pathlib.Path) -> None:
    if not (packages / file.name).exists():
        sys.stdout.write(f"fetching {file.name}, {file.size / 1e6:.0f} MB\n")
        download.fetch(file.url, packages / file.name, file.sha256, file.name, most=file.size or 8 << 30)


def _download(packages: pathlib.Path, python: str, machine: str, tools: typing.Sequence[str]) -> None:
    """Download Ansible and ``tools`` for one Python."""
    platforms = [word for name in PLATFORMS for word in ("--platform", f"{name}_{machine}")]
    target = [
        "--only-binary",
        ":all:",
        "--python-version",
        python,
        "--implementation",
        "cp",
        "--abi",
        f"cp{python.replace('.', '')}",
        "--abi",
        "abi3",
    ]
    command = [
        *pip(packages),
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--dest",
        str(packages),
        *target,
        "--abi",
        "none",
        *platforms,
    ]
    subprocess.run([*command, "--find-links", str(packages), *tools, *_ansible(python)], check=True)


def _ansible(python: str) -> list[str]:
    """Return Ansible, the command's packages and their dependencies as requirements.txt pins them for this Python."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    lines = re.findall(r"^([a-z0-9_.-]+)==(\S+)(?: ; python_full_version (<|>=) '([\d.]+)')?", text, re.MULTILINE)
    numbers = _numbers(python)
    pins = {
        name: version
        for name, version, sign, bound in lines
        if not sign or (numbers < _numbers(bound)) == (sign == "<")
    }
    needed = [
        *PACKAGES,
        "cffi",
        "cryptography",
        "jinja2",
        "lockfile",
        "markdown-it-py",
        "markupsafe",
        "mdurl",
        "packaging",
        "pexpect",
        "ptyprocess",
    ]
    needed += ["pycparser", "pygments", "python-daemon", "pyyaml", "resolvelib"]
    return [f"{name}=={pins[name]}" for name in needed if name in pins]


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


if __name__ == "__main__":
    raise SystemExit(main())
