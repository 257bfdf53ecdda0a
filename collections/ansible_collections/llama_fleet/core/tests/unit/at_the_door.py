# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Hold every result that a test gets of a real module against the door of the controller."""

from __future__ import annotations

import json
import typing

from ansible_collections.llama_fleet.core.plugins.plugin_utils import host_results

# What Ansible gives another form, or what only says how the module was called.
_OTHERWISE = ("warnings", "deprecations", "exception", "invocation")
Facts = dict[str, typing.Any]


def admitted(module: str, result: Facts) -> Facts:
    """Return ``result``, which has to pass the door for results of ``module`` whole and as it is."""
    told = json.loads(json.dumps(result))  # as it comes over the line
    passed = host_results.admit(module, told, "host")
    assert passed.get("msg") == told.get("msg"), passed.get("msg")
    assert {name: value for name, value in passed.items() if name not in _OTHERWISE} == {
        name: value for name, value in told.items() if name not in _OTHERWISE
    }
    return result
