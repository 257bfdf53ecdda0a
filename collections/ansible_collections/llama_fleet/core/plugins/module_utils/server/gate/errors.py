# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The errors with which an instance fails its gate."""

from __future__ import annotations


class GateError(Exception):
    """The instance is not ready; the text is the reason."""


class AnswerError(GateError):
    """The server is the right one and healthy, but did not answer a request."""


class HeldError(GateError):
    """Another process holds the instance's port, so nothing was asked and no key was sent."""
