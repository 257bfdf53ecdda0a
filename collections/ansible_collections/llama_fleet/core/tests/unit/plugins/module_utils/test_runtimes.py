# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils import runtimes


@pytest.mark.parametrize(
    ("runtime", "way"),
    [
        ("systemd", runtimes.UNIT),
        ("quadlet", runtimes.CDI),
        ("docker", runtimes.TOOLKIT),
        *((name, runtimes.PROCESS) for name in ("", "auto", "process", "exec", "of a later version")),
    ],
)
def test_a_server_comes_by_gpus_as_its_runtime_does(runtime: str, way: str) -> None:
    assert runtimes.gpu_access(runtime) == way
