# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the display of an answer on a terminal and in a file."""

import io

import pytest

from llama_fleet.chat.server import Piece, Totals
from llama_fleet.chat.shown import Display, Shown, spoken


class Terminal(io.StringIO):
    """A terminal that keeps what it was sent."""

    def isatty(self) -> bool:
        return True


def show(stream: io.StringIO, *pieces: Piece | Totals, times: tuple[float, ...] = (0.0,)) -> Shown:
    clock = iter([*times, *([times[-1]] * 9)])
    shown = Shown()
    Display(stream, lambda: next(clock)).show(iter(pieces), shown)
    return shown


def test_the_answer_is_a_line_without_blanks_around_it() -> None:
    stream = io.StringIO()
    shown = show(stream, Piece("\n\n"), Piece(" Blue"), Piece(" sky."), Totals(5, 12.5), times=(0.0, 0.25, 2.0))
    assert stream.getvalue() == "Blue sky.\n"
    assert shown.text == "Blue sky."
    assert shown.figures() == "5 tokens, 12.5 tokens/s, first token after 0.25 s"


def test_without_the_servers_figures_the_clock_counts() -> None:
    shown = show(io.StringIO(), Piece("a"), Piece("b"), Piece("c"), Totals(cut=True), times=(0.0, 1.0, 5.0))
    assert shown.figures() == "3 tokens (cut at the limit), 0.5 tokens/s, first token after 1.00 s"


def test_a_single_piece_has_no_speed() -> None:
    assert show(io.StringIO(), Piece("a"), Totals()).figures() == "1 tokens, first token after 0.00 s"


def test_a_terminal_shows_reasoning_dimmed_and_a_file_does_not() -> None:
    pieces = (Piece("Hm.", reasoning=True), Piece("Blue."), Totals())
    terminal, file = Terminal(), io.StringIO()
    assert show(terminal, *pieces).text == "Blue."
    assert terminal.getvalue() == "\x1b[2mHm.\n\n\x1b[0mBlue.\n"
    show(file, *pieces)
    assert file.getvalue() == "Blue.\n"


def test_a_file_shows_reasoning_that_was_all_there_is() -> None:
    file = io.StringIO()
    assert show(file, Piece(" Hm.", reasoning=True), Totals()).text == ""
    assert file.getvalue() == "Hm.\n"


def test_what_was_shown_of_an_answer_that_failed_is_kept() -> None:
    def answer() -> object:
        yield Piece("Bl")
        raise KeyboardInterrupt

    terminal, shown = Terminal(), Shown()
    with pytest.raises(KeyboardInterrupt):
        Display(terminal).show(answer(), shown)  # type: ignore[arg-type]  # a generator of pieces that ends early
    assert (terminal.getvalue(), shown.text) == ("Bl\n", "Bl")


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("a\rb\x08", "a\\rb\\x08"),
        ("\x9b2J", "\\x9b2J"),
        ("a\u202eb", "a\\u202eb"),
        ("5\u202fkg\u00a0x", "5 kg x"),
        ("line\n\ttab", "line\n\ttab"),
        ("👩\u200d💻 क\u200cष", "👩\u200d💻 क\u200cष"),
    ],
)
def test_a_models_text_controls_no_terminal(said: str, seen: str) -> None:
    assert spoken(said) == seen
    terminal = Terminal()
    show(terminal, Piece(f"x{said}"), Piece("y"), Totals())
    assert terminal.getvalue() == f"x{seen}y\n"


def test_remarks_are_dim_on_a_terminal_only() -> None:
    terminal, file = Terminal(), io.StringIO()
    Display(terminal).remark("5 tokens")
    Display(file).remark("5 tokens")
    assert (terminal.getvalue(), file.getvalue()) == ("\x1b[2m5 tokens\x1b[0m\n", "5 tokens\n")
