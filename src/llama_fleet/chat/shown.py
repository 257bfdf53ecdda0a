# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Show an answer while it is generated, with its speed."""

import dataclasses
import time
import typing
import unicodedata
from collections.abc import Callable, Iterable

from llama_fleet import printed
from llama_fleet.chat.server import Piece, Totals

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"
# Joiners of emoji and of several scripts: invisible, and harmless to a terminal.
_JOINERS = "\u200c\u200d"


@dataclasses.dataclass
class Shown:
    """An answer as far as it was shown. Times are in seconds; ``first`` is that to the first token."""

    text: str = ""
    reasoning: str = ""
    first: float = 0.0
    seconds: float = 0.0
    pieces: int = 0
    totals: Totals = dataclasses.field(default_factory=Totals)

    @property
    def speed(self) -> float:
        """Tokens per second as the server measured them, else by this clock; 0 if unknown."""
        generating = self.seconds - self.first
        return self.totals.speed or ((self.pieces - 1) / generating if self.pieces > 1 and generating > 0 else 0.0)

    def figures(self) -> str:
        """Format tokens, speed and time to the first token."""
        tokens = self.totals.tokens or self.pieces
        speed = f", {self.speed:.1f} tokens/s" if self.speed else ""
        cut = " (cut at the limit)" if self.totals.cut else ""
        return f"{tokens} tokens{cut}{speed}, first token after {self.first:.2f} s"


def spoken(text: str) -> str:
    """Return a model's text for a terminal: control characters are escaped, and every blank is a plain one."""
    return "".join(
        each if each in _JOINERS else " " if unicodedata.category(each) == "Zs" else printed.text(each) for each in text
    )


class Display:
    """A writer of answers to ``stream``; on a terminal it shows reasoning too, dimmed."""

    def __init__(self, stream: typing.TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self.is_terminal = stream.isatty()
        self._is_dim = False

    def show(self, answer: Iterable[Piece | Totals], shown: Shown) -> None:
        """Write the pieces of an answer as they arrive and note them in ``shown``, also if an error ends them."""
        began = self._clock()
        try:
            for piece in answer:
                if isinstance(piece, Totals):
                    shown.totals = piece
                    continue
                shown.first = shown.first if shown.pieces else self._clock() - began
                shown.pieces += 1
                self._piece(piece, shown)
        finally:
            shown.seconds = self._clock() - began
            self._dim(False)
            if shown.text or (self.is_terminal and shown.reasoning):
                self._write("\n")
        if not shown.text and shown.reasoning and not self.is_terminal:
            # A reasoning model may use up its tokens before it answers.
            self._write(f"{spoken(shown.reasoning).strip()}\n")

    def remark(self, text: str) -> None:
        """Write a line, dimmed on a terminal."""
        self._dim(True)
        self._write(text)
        self._dim(False)
        self._write("\n")

    def _piece(self, piece: Piece, shown: Shown) -> None:
        said = shown.reasoning if piece.reasoning else shown.text
        new = piece.text if said else piece.text.lstrip()
        if piece.reasoning:
            shown.reasoning += new
        else:
            if shown.reasoning and not said and new and self.is_terminal:
                self._write("\n\n")
            shown.text += new
        if not piece.reasoning or self.is_terminal:
            self._dim(piece.reasoning)
            self._write(spoken(new))

    def _dim(self, is_dim: bool) -> None:
        if self.is_terminal and is_dim != self._is_dim:
            self._write(_DIM if is_dim else _PLAIN)
            self._is_dim = is_dim

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
