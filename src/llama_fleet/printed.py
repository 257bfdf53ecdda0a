# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Escape control characters before a text reaches a terminal: hosts, Hubs, models and file names are untrusted."""

import importlib
import typing
from collections.abc import Mapping


def text(said: str) -> str:
    """Return ``said`` with its control characters escaped, except line ends and tabs."""
    return said if said.isprintable() else str(_untrusted().printable(said, len(said)))


def one_line(said: str) -> str:
    """Return ``said`` with its control characters escaped, including line ends and tabs."""
    return said if said.isprintable() else str(_untrusted().line(said, len(said)))


def every_text(value: typing.Any) -> typing.Any:
    """Return ``value``, parsed JSON, with ``text`` applied to each string and key in it."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Mapping):
        return {every_text(name): every_text(each) for name, each in value.items()}
    return [every_text(each) for each in value] if isinstance(value, (list, tuple)) else value


def _untrusted() -> typing.Any:
    """Import the collection's rules on demand, because a restart of the container escapes nothing."""
    return importlib.import_module("ansible_collections.llama_fleet.core.plugins.module_utils.untrusted")
