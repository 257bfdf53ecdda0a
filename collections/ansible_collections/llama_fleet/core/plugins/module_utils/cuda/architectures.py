# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The GPU architectures of the CUDA toolkits that can be installed, as nvcc writes them."""

from __future__ import annotations

_TURING_TO_BLACKWELL = ("75", "80", "86", "87", "88", "89", "90", "100", "103", "110", "120", "121")

# By the toolkit's major.minor, newest first.
ARCHITECTURES = {
    "13.5": (*_TURING_TO_BLACKWELL, "107"),
    "13.0": _TURING_TO_BLACKWELL,
}
