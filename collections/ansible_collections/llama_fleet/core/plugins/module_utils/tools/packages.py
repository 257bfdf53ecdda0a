# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Install Debian packages."""

from __future__ import annotations

import os
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner


def can_install() -> bool:
    """Return whether this process may install Debian packages."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(packages: typing.Sequence[str], subject: str, run: Runner) -> None:
    """Install ``packages`` in one step. Raises ProblemError about ``subject``."""
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "-q"]
    # Ignore a failed update: the failing repository may not be needed, and the installation reports if it is.
    updated = run([*apt, "update"], env=environment, timeout=900)
    done = run([*apt, "install", "-y", "--no-install-recommends", *packages], env=environment, timeout=3600)
    if not done.ok:
        lines = [line for line in f"{done.stderr}\n{updated.stderr}".splitlines() if line.startswith("E:")] or [
            done.stderr.strip() or "no message"
        ]
        raise ProblemError(
            Problem(
                subject,
                f"'{lines[0]}' from apt-get",
                f"the packages {' '.join(packages)}",
                "install them by hand, then run again",
            )
        )
