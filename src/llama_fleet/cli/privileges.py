# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Decide whether the command changes this machine as root, through sudo, or not at all."""

import os
import shutil
import subprocess

from llama_fleet.errors import UsageError


def needs_become(command: str) -> bool:
    """Return whether Ansible must become root here. Raises UsageError if it cannot."""
    if os.geteuid() == 0:
        return False
    if may_become():
        return True
    raise UsageError(
        "Changing this machine needs root, and sudo asks for a password. "
        f"Fix: Run 'sudo ./llama-fleet {command}', or install below a folder of yours with '--prefix DIR'."
    )


def may_become() -> bool:
    """Return whether Ansible is not root here but can become it without a password."""
    sudo = shutil.which("sudo") if os.geteuid() else None
    return sudo is not None and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0
