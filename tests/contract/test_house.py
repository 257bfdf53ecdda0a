# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The code keeps the house rules that ``house.py`` counts; what is left to do stands in tables that only shrink."""

from __future__ import annotations

import typing

import pytest

from tests.contract import house
from tests.contract.tests_elsewhere import ELSEWHERE

if typing.TYPE_CHECKING:
    import pathlib

# Files over 300 lines, each with its reason. Take out what is shortened; put nothing in.
LONG_MODULES = {
    "tests/harness/steps.py": "all steps in one place, in the order they run",
    "benchmarks/build.py": "a script that is read and run by itself, beside the product",
    "benchmarks/download.py": "a script that is read and run by itself, beside the product",
}
# Sources whose tests are to be brought to their own path.
UNTESTED = frozenset[str]()
DOCSTRING = '"""{}"""\n'
FUNCTION = 'def f() -> int:\n    """{}"""\n    return 1\n'


def short(place: str) -> str:
    """Return ``place`` without the folders that all sources share."""
    return place.replace(f"{house.PLUGINS}/", "").replace(f"{house.SRC}/", "src/")


def shortened(places: list[str]) -> set[str]:
    return {short(place) for place in places}


def test_the_rooms() -> None:
    sources = house.sources()
    assert len(sources) > 200
    assert house.full_rooms(sources) == []
    assert house.flat_files(sources) == []


def test_lines_and_functions_fit_a_screen() -> None:
    files = house.everything()
    assert house.long_lines(files) == []
    assert house.long_functions(files) == []
    assert set(house.long_modules(files)) == LONG_MODULES.keys()


def test_docstrings_say_what_the_code_does() -> None:
    files = house.everything()
    assert house.clauses(files) == []
    assert house.not_imperative(files) == []


def test_names_say_what_they_hold() -> None:
    programs = house.programs()
    assert len(programs) > len(house.sources())
    assert house.vague_names(programs) == []


def test_each_source_has_its_tests_in_their_own_place() -> None:
    files = house.everything()
    elsewhere = [source for _reason, sources in ELSEWHERE.values() for source in sources]
    assert len(elsewhere) == len(set(elsewhere))
    assert shortened(house.untested(house.sources(), files)) == {*UNTESTED, *elsewhere}


@pytest.mark.parametrize("place", ELSEWHERE)
def test_the_tests_in_another_place_are_there_and_have_a_reason(place: str) -> None:
    reason, sources = ELSEWHERE[place]
    assert (house.ROOT / place).exists()
    assert reason
    assert sources


def test_a_full_room_is_seen() -> None:
    room = f"{house.UTILS}/host"
    full = {f"{room}/{number}.py": "" for number in range(house.MOST_FILES + 1)}
    assert house.full_rooms(full) == [f"{room} ({house.MOST_FILES + 1})"]
    del full[f"{room}/0.py"]
    assert house.full_rooms(full) == []


def test_a_file_outside_of_the_rooms_is_seen() -> None:
    files = [f"{house.UTILS}/{name}.py" for name in ("problems", "server_gate", "host/files")]
    assert house.flat_files(dict.fromkeys(files, "")) == [files[1]]


@pytest.mark.parametrize(
    ("rule", "good", "bad", "place"),
    [
        (house.long_lines, "x" * 120, "\n" + "x" * 121, "a.py:2"),
        (house.long_modules, "\n" * 300, "\n" * 301, "a.py"),
        (house.long_functions, "def f():\n" + "    x\n" * 39, "def f():\n" + "    x\n" * 40, "a.py:f"),
        (house.vague_names, "class A:\n    found: str", "def f(told): pass", "a.py:1"),
        (house.vague_names, "def f(found, wanted): print(found)", "def f(found): pass", "a.py:1"),
        (house.vague_names, "def f(): return g(found=1)", "def f():\n    found = 1", "a.py:2"),
        (house.vague_names, "told.text", "[x for found, x in y]", "a.py:1"),
        (house.vague_names, "class A:\n    problems: int", "class A:\n    def problems(self): pass", "a.py:2"),
        (house.long_functions, "", "class A:\n    async def f():\n" + "        x\n" * 40, "a.py:f"),
        *(
            (house.clauses, form.format("Return why."), form.format(f"{opening} is wrong."), place)
            for form, place in (
                (DOCSTRING, "a.py:"),
                (FUNCTION, "a.py:f"),
                ("class A:\n    " + DOCSTRING, "a.py:A"),
            )
            for opening in ("What", "Whether it", "Who", "How it", "Why it", "That which", "Those that", "All that")
        ),
    ],
)
def test_an_offence_is_seen(rule: house.Rule, good: str, bad: str, place: str) -> None:
    assert rule({"a.py": good}) == []
    assert rule({"a.py": bad}) == [place]


@pytest.mark.parametrize("docstring", ["The folder that it takes.", "Returns the folder.", "A folder."])
def test_a_docstring_that_is_no_instruction_is_seen(docstring: str, tmp_path: pathlib.Path) -> None:
    files = {"good.py": FUNCTION.format("Return the folder."), "bad.py": FUNCTION.format(docstring)}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert house.not_imperative(files, tmp_path) == ["bad.py:2"]


@pytest.mark.parametrize(
    ("source", "tests"),
    [
        (f"{house.UTILS}/host/files.py", f"{house.CORE}/tests/unit/plugins/module_utils/host/test_files.py"),
        (f"{house.PLUGINS}/action/x.py", f"{house.CORE}/tests/unit/plugins/action/test_x.py"),
        (f"{house.SRC}/cli/views.py", "tests/unit/cli/test_views.py"),
        (f"{house.SRC}/errors.py", "tests/unit/test_errors.py"),
    ],
)
def test_a_source_without_tests_is_seen(source: str, tests: str) -> None:
    others = {f"{house.PLUGINS}/doc_fragments/x.py": "", f"{house.SRC}/__init__.py": ""}
    assert house.own_test(source) == tests
    assert house.untested({source: "", **others}, {"tests/unit/x.py"}) == [source]
    assert house.untested({source: "", **others}, {tests}) == []


def test_the_numbers_are_those_of_the_rules() -> None:
    numbers = house.numbers()
    assert len(numbers) == 16
    assert numbers["sources"] == len(house.sources())
    listed = len(UNTESTED) + sum(len(sources) for _reason, sources in ELSEWHERE.values())
    assert numbers["sources without tests of their own path"] == listed
