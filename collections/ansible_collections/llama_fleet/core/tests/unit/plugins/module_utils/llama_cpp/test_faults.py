# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import re

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.faults import CURES, FAULTS, Fault


def test_names_are_unique_because_the_fingerprint_has_them() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) == 3
    assert len(CURES) == sum(len(fault.cures) for fault in FAULTS) == 4
    assert all(re.fullmatch(r"[a-z0-9-]{1,40}", name) for name in CURES)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_fault_has_its_reason_its_source_and_a_probe(fault: Fault) -> None:
    assert fault.reason.endswith(".")
    assert fault.source.startswith("https://github.com/")
    assert "int main()" in fault.probe
    for cure in fault.cures:
        assert cure.flags or cure.header
        assert re.compile(cure.targets).search("-march=native")
