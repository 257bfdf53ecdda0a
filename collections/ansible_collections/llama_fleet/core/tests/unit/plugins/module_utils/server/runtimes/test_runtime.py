# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.registry import RUNTIMES
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtime import Runtime

MEMBERS = {name for name in {**vars(Runtime), **Runtime.__annotations__} if not name.startswith("_")}


@pytest.mark.parametrize("name", RUNTIMES)
def test_each_runtime_has_the_whole_protocol(name: str) -> None:
    """A method that only one runtime has would need a check of its name or type; its own fields are private."""
    kind = RUNTIMES[name]
    assert len(MEMBERS) > 25
    assert sorted(MEMBERS - set(dir(kind))) == []
