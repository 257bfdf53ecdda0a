# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Makes what others say fit for a terminal: a host, a Hub, a model or a file's name can hold escape sequences."""

import importlib
import typing
from collections.abc import Mapping


def text(said: str) -> str:
    """Return ``said`` with every control character but line ends and tabs written as an escape."""
    return said if said.isprintable() else str(_untrusted().printable(said, len(said)))


def one_line(said: str) -> str:
    """Return ``said`` as ``text`` does, with line ends and tabs written as escapes, too."""
    return said if said.isprintable() else str(_untrusted().line(said, len(said)))


def every_text(value: typing.Any) -> typing.Any:
    """Return ``value``, a result out of JSON, with each text and each name in it as ``text`` has it."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Mapping):
        return {every_text(name): every_text(each) for name, each in value.items()}
    return [every_text(each) for each in value] if isinstance(value, (list, tuple)) else value


def _untrusted() -> typing.Any:
    """Return the collection's own rules for such texts; a container that starts again has none of them and needs no
    import.
    """
    return importlib.import_module("ansible_collections.llama_fleet.core.plugins.module_utils.untrusted")
