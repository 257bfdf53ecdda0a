# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The real release and the real model of the step server, for tests that need a real llama-server."""

from __future__ import annotations

import os
import typing

import pytest

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.tests.unit.module_runs import Instance

RELEASE = os.environ.get("LLAMA_FLEET_TEST_RELEASE", "")
MODEL = os.environ.get("LLAMA_FLEET_TEST_MODEL", "")
real = pytest.mark.skipif(
    not (RELEASE and MODEL),
    reason="needs LLAMA_FLEET_TEST_RELEASE, a folder with bin/llama-server, and LLAMA_FLEET_TEST_MODEL, a GGUF file",
)


def with_real_release(instance: Instance) -> Instance:
    """Give the instance the real release and the real model."""
    instance.arguments.update(release=RELEASE, model=MODEL, ready_timeout=120, extra_options={"warmup": False})
    return instance
