# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The facts of an instance as the module llama_server_info returns them, for tests that change a few."""

from __future__ import annotations

import typing

FACTS: typing.Mapping[str, typing.Any] = {
    **dict.fromkeys(("build", "source", "origin", "model", "quant", "device", "background"), ""),
    **dict.fromkeys(("generation", "memory_mib", "gpu_memory_mib", "uptime_seconds"), 0),
    **dict.fromkeys(("slots", "slots_busy", "tokens_predicted", "tokens_per_second"), -1),
    "instance": "default",
    "state": "running",
    "unknown": [],
}
