# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Read what a Git LFS pointer states about the file that it stands for."""

from __future__ import annotations

import dataclasses
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import ask
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import OriginError, Road

_ONCE = dataclasses.replace(ask.USUAL, tries=1)
_LONGEST = 1024  # bytes; a pointer has 130
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize ([0-9]{1,15})\n(?:[ -~]+\n)*"
)


def pointer_sha256(url: str, secrets: typing.Mapping[str, str]) -> str:
    """Return the sha256 that the pointer at ``url`` states; empty if there is no pointer.

    ``secrets`` are headers for the origin of ``url`` only.
    """
    try:
        road = Road(url, secrets)

        def once() -> bytes:
            with ask.opened(road, road.begin(), {}, _ONCE.small) as reached:
                return reached.answer.body(_LONGEST) if reached.answer.status == 200 else b""

        match = _POINTER.fullmatch(ask.tried(once, _ONCE))
    except OriginError:
        return ""
    return match[1].decode() if match else ""
