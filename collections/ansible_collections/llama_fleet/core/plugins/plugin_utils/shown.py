# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Shapes of untrusted values that are only shown to people: truncated, and escaped for a terminal."""

from __future__ import annotations

import dataclasses
import math
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import line, printable
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import ShapeError


@dataclasses.dataclass(frozen=True)
class Shown:
    """Any JSON of at most ``most`` values and ``deep`` levels with truncated, printable texts.

    NaN and infinities are refused.
    """

    most: int = 100_000
    deep: int = 20
    longest: int = 1 << 16

    def __call__(self, value: object, where: str) -> typing.Any:
        room = [self.most]
        return self._copied(value, where, self.deep, room)

    def _copied(self, value: object, where: str, deep: int, room: list[int]) -> typing.Any:
        room[0] -= 1
        if room[0] < 0:
            raise ShapeError(f"{where} comes after {self.most} values, expected that many at most")
        if deep < 0:
            raise ShapeError(f"{where} is {self.deep + 1} levels deep, expected {self.deep} at most")
        if isinstance(value, dict):
            return {
                printable(str(name), 200): self._copied(each, f"{where}.{line(str(name), 60)}", deep - 1, room)
                for name, each in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self._copied(each, f"{where}[{number}]", deep - 1, room) for number, each in enumerate(value)]
        if isinstance(value, str):
            return printable(value, self.longest)
        if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
            return value
        raise ShapeError(f"{where} is neither text, a finite number, true, false, null, a list nor an object")
