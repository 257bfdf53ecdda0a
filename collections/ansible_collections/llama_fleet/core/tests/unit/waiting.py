# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Waiting in tests, with an end."""

from __future__ import annotations

import time
import typing


def until(condition: typing.Callable[[], object], seconds: float = 60.0) -> None:
    """Return once ``condition`` holds.

    Raises AssertionError where it does not within ``seconds``, so that no test waits for ever.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not come about within {seconds:g} s"
        time.sleep(0.01)
