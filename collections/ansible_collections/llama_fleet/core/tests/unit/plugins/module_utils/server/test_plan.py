# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server import plan as server_plan
from ansible_collections.llama_fleet.core.tests.unit.fakes.options import CPU


@pytest.mark.parametrize(("quota", "threads"), [("100%", 1), ("140%", 1), ("50%", 1)])
def test_threads_stay_within_the_quota_of_the_unit(quota: str, threads: int) -> None:
    assert server_plan.threads(dataclasses.replace(CPU, cpu_quota=quota)) == threads
    assert server_plan.threads(CPU) >= threads
