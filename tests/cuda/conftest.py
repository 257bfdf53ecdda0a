# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Share a real toolkit that stays in LLAMA_FLEET_TEST_CUDA, so that only the first run fetches it."""

from __future__ import annotations

import os
import pathlib

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import plan as cuda
from tests.cuda.case import Returned, run


@pytest.fixture(scope="session")
def root() -> pathlib.Path:
    """Return the folder below which the toolkit is kept."""
    return pathlib.Path(os.environ["LLAMA_FLEET_TEST_CUDA"])


@pytest.fixture(scope="session")
def toolkit(root: pathlib.Path) -> Returned:
    """Return the module's result when it installed the newest toolkit, or found its own one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "candidates", lambda _host: [])  # one of the system would do, too
        return run(root, driver_version="580.95.05", architectures=["90-real"])
