# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A host on which the module llama_cpp_release builds the project of fake_llama_cpp, each time in a process of its
own.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import typing

import pytest

from ansible_collections.llama_fleet.core.tests.unit.at_the_door import admitted
from ansible_collections.llama_fleet.core.tests.unit.fakes import llama_cpp as fake_llama_cpp

COLLECTIONS = pathlib.Path(__file__).resolve().parents[6]
DRIVER = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.llama_fleet.core.plugins.modules import llama_cpp_release
with patch_module_args(json.loads(sys.argv[1])):
    llama_cpp_release.main()
"""
Facts = dict[str, typing.Any]

# Marks of tests that run a real build of the small CMake project.
NEEDS_BUILD = [
    pytest.mark.skipif(
        bool(fake_llama_cpp.missing_tools()), reason=f"needs {' '.join(fake_llama_cpp.missing_tools())} on PATH"
    ),
    pytest.mark.skipif(shutil.disk_usage("/tmp").free < 3 * 10**9, reason="needs 3 GB free, as a real build does"),
]


class Host:
    """A root folder and the module run against it, each time in a process of its own."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.source = fake_llama_cpp.pack_project(folder)
        fake_llama_cpp.provide_tools(self.root)

    def start(self, **parameters: typing.Any) -> subprocess.Popen[str]:
        arguments = {"source": self.source, "root": str(self.root), "install_packages": False, **parameters}
        environment = {**os.environ, "PYTHONPATH": str(COLLECTIONS), "no_proxy": "*"}
        command = [sys.executable, "-c", DRIVER, json.dumps(arguments)]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
        )

    def run(self, **parameters: typing.Any) -> Facts:
        return finish(self.start(**parameters))

    def log(self) -> str:
        """Return the log of the newest build."""
        newest = max((self.root / "builds").glob("*.log"), key=lambda path: path.stat().st_mtime_ns)
        return newest.read_text(encoding="utf-8")

    def files(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}


def finish(process: subprocess.Popen[str]) -> Facts:
    stdout, stderr = process.communicate(timeout=120)
    assert "Traceback" not in stderr, stderr
    return admitted("llama_cpp_release", json.loads(stdout))
