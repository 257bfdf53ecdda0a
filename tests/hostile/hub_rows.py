# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A row of the tables of a hostile Hub, and what several rows expect."""

from __future__ import annotations

import dataclasses
import typing

from tests.unit.modules.gguf_model.case import weights

if typing.TYPE_CHECKING:
    from tests.hostile.hub_acts import (
        Act,
    )


NAME = "SmolLM-Q8_0.gguf"
CONTENT = weights(NAME, 300_000)
RIGHT = ""  # the outcome that the right bytes come
HTML = b"<!DOCTYPE html><html><body>Please log in.</body></html>"
# Where this machine is so busy that even a slow server falls behind, that is what is told.
SLOW = "fewer than|no byte for 1 s"
SLOW_HEADERS = "incomplete headers|no byte for 1 s"
NO_ADDRESS = "an address that does not begin with http:// or https://"


@dataclasses.dataclass(frozen=True)
class Row:
    """A behaviour: in which phase, what is done how often, and a word of the sentence that has to come of it, or
    one of several with | between.
    """

    phase: str
    act: Act
    word: str
    times: int = 1 << 30
    quant: str = "Q8_0"
    public: bool = False  # whether the Hub counts as one on a public network
