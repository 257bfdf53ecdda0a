# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""How the command may change this machine: as root, through sudo, or only below a folder."""

import os
import shutil
import subprocess

from llama_fleet.errors import UsageError


def needs_become(command: str) -> bool:
    """Whether Ansible has to become root here; UsageError where it cannot."""
    if os.geteuid() == 0:
        return False
    if may_become():
        return True
    raise UsageError(
        f"Changing this machine needs root, and there is no sudo without a password: run 'sudo ./llama-fleet "
        f"{command}', "
        "or keep everything below a folder of yours with '--prefix DIR'."
    )


def may_become() -> bool:
    """Whether Ansible can become root here, and is not."""
    sudo = shutil.which("sudo") if os.geteuid() else None
    return sudo is not None and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0
