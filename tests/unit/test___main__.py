# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The command as ``python -m llama_fleet``."""

import os
import subprocess
import sys

from llama_fleet import __version__
from tests.unit import imports


def test_the_module_is_the_command_and_its_exit_status() -> None:
    environment = {**os.environ, "PYTHONPATH": imports.PYTHONPATH}
    command = [sys.executable, "-m", "llama_fleet"]
    version = subprocess.run([*command, "--version"], env=environment, capture_output=True, text=True, check=False)
    assert (version.returncode, version.stdout.split()[:2]) == (0, ["llama-fleet", f"{__version__},"])
    wrong = subprocess.run([*command, "up", "--nonsense"], env=environment, capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
