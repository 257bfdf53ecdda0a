# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test that versions of both channels compare as their commits do."""

from __future__ import annotations

import itertools

import hypothesis
import hypothesis.strategies as st
import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.versions import (
    Version,
    compare,
    distance,
    newest_nightly,
    newest_stable,
    parse_version,
)


@pytest.mark.parametrize(
    ("text", "nightly", "version"),
    [
        ("b11434", "", Version(None, 11434)),
        ("v0.8.0", "", Version((0, 8, 0))),
        ("0.8.0", "", Version((0, 8, 0))),
        ("v0.8.0", "b11300", Version((0, 8, 0), 11300)),
        ("0.8.0-dev-b11434", "", Version(None, 11434)),
        ("0.6.0-dev (build 11434, commit archive)", "", Version(None, 11434)),
        ("0123456789", "b7", Version(None, 7)),
        ("0123456789", "", None),
        ("v0.8.0-rc1", "", None),
        ("v0.8", "", None),
        ("b", "", None),
        ("b12345678901", "", None),
        ("", "", None),
    ],
)
def test_what_names_a_version(text: str, nightly: str, version: Version | None) -> None:
    assert parse_version(text, nightly) == version


@pytest.mark.parametrize(
    ("one", "other", "order"),
    [
        (("b11434", ""), ("b9999", ""), 1),
        (("v0.10.0", ""), ("v0.9.9", ""), 1),
        (("v0.8.0", "b11434"), ("0.8.0-dev-b11434", ""), 0),
        # A nightly prints the number of a stable version that is older, or newer, than itself.
        (("0.8.0-dev-b11500", ""), ("v0.8.0", "b11434"), 1),
        (("0.8.0-dev-b11400", ""), ("v0.8.0", "b11434"), -1),
        # Its number is not known, so neither is the order.
        (("v0.8.0", ""), ("b11434", ""), None),
    ],
)
def test_the_nightly_orders_the_channels(one: tuple[str, str], other: tuple[str, str], order: int | None) -> None:
    first, second = parse_version(*one), parse_version(*other)
    assert first and second
    assert compare(first, second) == order
    assert compare(second, first) == (None if order is None else -order)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, Version]]:
    """Draw versions of one history, each with the place of its commit, as tags, prints and releases name them."""
    numbers = draw(st.lists(st.integers(1, 99_999), min_size=2, max_size=12, unique=True).map(sorted))
    versions, stable = [], (0, 1, 0)
    for place, number in enumerate(numbers):
        forms = [f"b{number}", f"{'.'.join(map(str, stable))}-dev-b{number}"]
        versions.append((place, parse_version(draw(st.sampled_from(forms)))))
        if draw(st.booleans()):
            part = draw(st.integers(0, 2))
            stable = tuple(  # type: ignore[assignment]  # because mypy does not count a comprehension's items
                each + draw(st.integers(1, 11)) if at == part else each if at < part else 0
                for at, each in enumerate(stable)
            )
            tag = f"v{'.'.join(map(str, stable))}"
            versions.append((place, parse_version(tag, draw(st.sampled_from(["", f"b{number}"])))))
    return [(place, version) for place, version in versions if version]


@hypothesis.given(histories())
def test_no_order_contradicts_the_history(history: list[tuple[int, Version]]) -> None:
    for (place, first), (later, second) in itertools.combinations(history, 2):
        order = compare(first, second)
        assert order in (None, (place > later) - (place < later))
        assert (order is None) == (not (first.nightly and second.nightly) and not (first.stable and second.stable))
        assert compare(second, first) == (None if order is None else -order)


@pytest.mark.parametrize(
    ("running", "newest", "text"),
    [
        (Version(None, 11434), Version(None, 12434), "1,000 builds behind"),
        (Version(None, 1), Version((0, 8, 0), 2), "1 build behind"),
        (Version(None, 11434), Version((0, 8, 0), 11300), "134 builds ahead"),
        (Version((0, 7, 0)), Version((0, 8, 0)), "behind"),
        (Version((0, 8, 0), 7), Version(None, 7), "the same"),
        (Version((0, 8, 0)), Version(None, 7), "not comparable"),
    ],
)
def test_how_far_behind(running: Version, newest: Version, text: str) -> None:
    assert distance(running, newest) == text


@pytest.mark.parametrize(
    ("tags", "nightly", "stable"),
    [
        (["b999", "b1000", "b2", "v0.9.0", "v0.10.0", "v1.0.0-rc1"], "b1000", "v0.10.0"),
        (["v1", "gguf-v0.1.0"], None, None),
        ([], None, None),
    ],
)
def test_the_newest_has_the_highest_numbers(tags: list[str], nightly: str | None, stable: str | None) -> None:
    assert (newest_nightly(tags), newest_stable(tags)) == (nightly, stable)


def test_a_version_shows_all_that_is_known() -> None:
    assert [str(each) for each in (Version((0, 8, 0), 7), Version((0, 8, 0)), Version(None, 7))] == [
        "v0.8.0 (b7)",
        "v0.8.0",
        "b7",
    ]
