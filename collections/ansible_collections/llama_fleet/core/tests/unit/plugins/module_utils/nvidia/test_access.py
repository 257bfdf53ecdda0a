# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import access


@pytest.mark.parametrize(
    ("runtime", "way"),
    [
        ("systemd", access.UNIT),
        ("quadlet", access.CDI),
        ("docker", access.TOOLKIT),
        *((name, access.PROCESS) for name in ("", "auto", "process", "exec", "of a later version")),
    ],
)
def test_a_server_comes_by_gpus_as_its_runtime_does(runtime: str, way: str) -> None:
    assert access.of(runtime) == way
