# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""``tests/gpu/collect``: the source, wheels and tools that a host without a network needs, in one folder."""

from __future__ import annotations

import argparse
import json
import pathlib
import platform
import re
import subprocess
import sys
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import download, package_index, pinned, tools_venv
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda_releases import RELEASES
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEFAULTS = ROOT / "collections/ansible_collections/llama_fleet/core/roles/llama_cpp/defaults/main.yml"
NAME = "parcel.json"  # written last: without it the folder is not complete
PYTHONS = ("3.11", "3.12", "3.13")
# Those of the C libraries that wheels of the tools are made for, and hosts with such a driver have.
PLATFORMS = ("manylinux1", "manylinux2014", "manylinux_2_17", "manylinux_2_28")


def main() -> int:
    """``python -m tests.gpu.parcel FOLDER``: fill it; what is there already is not fetched again."""
    parser = argparse.ArgumentParser(prog="tests/gpu/collect", description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--without-toolkit", action="store_true", help="for a host that has a CUDA toolkit of its own")
    parser.add_argument("--python", action="append", metavar="X.Y", help=f"versions of the host's Python ({', '.join(PYTHONS)})")
    parser.add_argument("--machine", default=platform.machine(), help="what uname -m says there")
    given = parser.parse_args()
    try:
        _collect(given.folder, not given.without_toolkit, given.python or PYTHONS, given.machine)
    except ProblemError as error:
        sys.stderr.write(f"tests/gpu/collect: {error}\n")
        return 1
    except subprocess.CalledProcessError:
        return 1  # pip has said why
    size = sum(file.stat().st_size for file in (given.folder / "simple").iterdir())
    sys.stdout.write(f"{given.folder} holds what tests/gpu/run needs: {size / 1e6:.0f} MB\n")
    return 0


def pip(packages: pathlib.Path) -> list[str]:
    """pip out of its own wheel, for a Python that may have none."""
    return [sys.executable, f"{packages / f'pip-{tools_venv.PIP.version}-py3-none-any.whl'}/pip"]


def _collect(folder: pathlib.Path, toolkit: bool, pythons: typing.Sequence[str], machine: str) -> None:
    packages = folder / "simple"
    packages.mkdir(parents=True, exist_ok=True)
    (folder / NAME).unlink(missing_ok=True)
    index = package_index.index_url()
    (source,) = re.findall(r'^llama_cpp_source: "(.*)"$', DEFAULTS.read_text(encoding="utf-8"), re.MULTILINE)
    pin = pinned.parse_pinned(source, "llama_cpp_source")
    _bring(package_index.find_file(index, pinned.parse_package(pin.reference, "llama_cpp_source"), ".tar.gz", "llama_cpp_source"), packages)
    _bring(package_index.find_by_sha256(index, tools_venv.PIP, tools_venv.PIP_SHA256, "pip"), packages)
    newest, release = next(iter(RELEASES.items()))
    for wheel in release.wheels if toolkit else ():
        _bring(package_index.find_by_sha256(index, pinned.Package(wheel.project, wheel.version), wheel.sha256[machine], "toolkit"), packages)
    for python in pythons:
        _download(packages, python, machine)
    parcel = {"source": source, "toolkit": newest if toolkit else "", "pythons": list(pythons), "machine": machine}
    (folder / NAME).write_text(json.dumps(parcel, indent=2), encoding="utf-8")


def _bring(file: package_index.IndexFile, packages: pathlib.Path) -> None:
    if not (packages / file.name).exists():
        sys.stdout.write(f"fetching {file.name}, {file.size / 1e6:.0f} MB\n")
        download.fetch(file.url, packages / file.name, file.sha256, file.name)


def _download(packages: pathlib.Path, python: str, machine: str) -> None:
    """The tools of a build, and Ansible, for one Python."""
    platforms = [word for name in PLATFORMS for word in ("--platform", f"{name}_{machine}")]
    target = ["--only-binary", ":all:", "--python-version", python, "--implementation", "cp", "--abi", f"cp{python.replace('.', '')}", "--abi", "abi3"]
    command = [*pip(packages), "download", "--quiet", "--disable-pip-version-check", "--dest", str(packages), *target, "--abi", "none", *platforms]
    tools = [*tools_venv.BUILD_TOOLS, *tools_venv.COMPILER_CACHE]
    subprocess.run([*command, "--find-links", str(packages), *tools, *_ansible(python)], check=True)


def _ansible(python: str) -> list[str]:
    """ansible-core and what it needs, as requirements.txt has them for this Python."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    lines = re.findall(r"^([a-z0-9_.-]+)==(\S+)(?: ; python_full_version (<|>=) '([\d.]+)')?", text, re.MULTILINE)
    numbers = _numbers(python)
    pins = {name: version for name, version, sign, bound in lines if not sign or (numbers < _numbers(bound)) == (sign == "<")}
    needed = ("ansible-core", "cffi", "cryptography", "jinja2", "markupsafe", "packaging", "pycparser", "pyyaml", "resolvelib")
    return [f"{name}=={pins[name]}" for name in needed if name in pins]


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


if __name__ == "__main__":
    raise SystemExit(main())
