# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The code keeps the house rules that ``house.py`` counts; what is left to do stands in tables that only shrink."""

from __future__ import annotations

import typing

import pytest

from tests.contract import house

if typing.TYPE_CHECKING:
    import pathlib

# Left to do. Take out what is mended; put nothing in.
LONG_FUNCTIONS: frozenset[str] = frozenset()
LONG_MODULES = frozenset(
    {
        "modules/llama_cpp_release.py",
        "modules/llama_server.py",
    }
)
LONG_TEST_FUNCTIONS = 13
# Sources whose tests are to be brought to their own path.
UNTESTED = frozenset[str]()
# Sources without tests of their own path: where they are tested, and why there.
UNIT = f"{house.CORE}/tests/unit/plugins"
ELSEWHERE: dict[str, tuple[str, frozenset[str]]] = {
    f"{UNIT}/module_utils/server/gate/test_gate.py": (
        "names three exceptions, which the tests of the gate provoke",
        frozenset({"module_utils/server/gate/errors.py"}),
    ),
    f"{UNIT}/plugin_utils/test_host_action.py": (
        "classes with hardly a line of their own: that each inherits the base is tested here",
        frozenset(
            {
                "action/cuda_toolkit.py",
                "action/gguf_info.py",
                "action/gguf_model.py",
                "action/llama_cpp_release_info.py",
                "action/llama_server.py",
                "action/llama_server_info.py",
                "action/nvidia_driver_info.py",
            }
        ),
    ),
    "tests/unit/plays": (
        "needs the plans of a play, so real plays run it",
        frozenset(
            {"action/plan_info.py", "action/preflight_info.py", "modules/plan_info.py", "modules/preflight_info.py"}
        ),
    ),
    "tests/contract/test_validate_variables.py": (
        "ansible-playbook runs the two together",
        frozenset({"action/validate_variables.py", "modules/validate_variables.py"}),
    ),
    f"{UNIT}/module_utils/gguf/test_header.py": (
        "data only, which the header's tests read files with",
        frozenset({"module_utils/gguf/types.py"}),
    ),
    "tests/contract/test_tool_pins.py": (
        "data only, compared with the lock files",
        frozenset({"module_utils/tools/pins.py"}),
    ),
    f"{UNIT}/module_utils/release/test_smoke_test.py": (
        "makes the model that proves a release",
        frozenset({"module_utils/gguf/tiny_model.py"}),
    ),
    "tests/hostile/test_archives.py": (
        "its tests are hostile archives of every kind",
        frozenset({"module_utils/fetch/archives.py"}),
    ),
    f"{UNIT}/module_utils/fetch/test_ask.py": (
        "a part of the HTTP client, tested over real connections",
        frozenset({"module_utils/fetch/pool.py"}),
    ),
    f"{UNIT}/module_utils/fetch/test_ask_time.py": (
        "the clock of the HTTP client, tested over real connections",
        frozenset({"module_utils/fetch/clock.py"}),
    ),
    "tests/unit/modules/segments": (
        "needs the test hub; a transfer is tested whole",
        frozenset(
            {
                "module_utils/transfer/file.py",
                "module_utils/transfer/origin.py",
                "module_utils/transfer/request.py",
                "module_utils/transfer/schedule.py",
                "module_utils/transfer/segments.py",
                "module_utils/transfer/workers.py",
            }
        ),
    ),
    "tests/unit/modules/test_xet.py": (
        "needs a store that hf_xet made",
        frozenset({"module_utils/transfer/xet.py", "module_utils/transfer/xet_line.py"}),
    ),
    "tests/unit/modules/gguf_info": (
        "needs the test hub",
        frozenset({"modules/gguf_info.py", "module_utils/gguf/remote.py", "module_utils/model/inspect.py"}),
    ),
    "tests/unit/modules/gguf_model": (
        "needs the test hub; the stage is tested whole",
        frozenset(
            {
                "modules/gguf_model.py",
                "module_utils/model/choice.py",
                "module_utils/model/fetch.py",
                "module_utils/model/hub.py",
                "module_utils/model/hub_client.py",
                "module_utils/model/hub_transport.py",
                "module_utils/model/local.py",
                "module_utils/model/plan.py",
                "module_utils/model/removal.py",
                "module_utils/model/request.py",
                "module_utils/model/result.py",
                "module_utils/model/stage.py",
                "module_utils/model/store.py",
                "module_utils/model/transfer.py",
                "module_utils/model/wheel.py",
            }
        ),
    ),
    f"{UNIT}/modules/test_llama_cpp_release.py": (
        "needs a builder: the stage is tested whole",
        frozenset({"module_utils/llama_cpp/make.py", "module_utils/llama_cpp/stage.py"}),
    ),
    f"{UNIT}/modules/test_llama_server.py": (
        "the module is nothing but the call",
        frozenset({"module_utils/server/call.py"}),
    ),
    f"{UNIT}/action/test_llama_cpp_release.py": (
        "decides what the action does",
        frozenset({"plugin_utils/sharing.py"}),
    ),
    f"{UNIT}/modules/test_cuda_toolkit.py": (
        "the module is nothing but the stage",
        frozenset({"module_utils/cuda/stage.py"}),
    ),
    f"{UNIT}/modules/test_nvidia_driver_info.py": (
        "the module is nothing but the stage",
        frozenset({"module_utils/nvidia/stage.py"}),
    ),
    f"{UNIT}/modules/test_llama_cpp_release_packed.py": (
        "needs a packed release, made",
        frozenset({"module_utils/llama_cpp/prebuilt.py"}),
    ),
    f"{UNIT}/module_utils/llama_cpp/test_plan.py": (
        "the input of a plan, which the plan's tests vary",
        frozenset({"module_utils/llama_cpp/request.py"}),
    ),
    f"{UNIT}/module_utils/nvidia/test_observe.py": (
        "the texts of findings, asserted where they are found",
        frozenset({"module_utils/nvidia/findings.py"}),
    ),
    f"{UNIT}/module_utils/nvidia/test_capability.py": (
        "runs in a child process, with a library made for it",
        frozenset({"module_utils/nvidia/nvml.py"}),
    ),
    f"{UNIT}/module_utils/preflight/test_checks.py": (
        "parts of one check of a host, tested whole",
        frozenset(
            {
                "module_utils/preflight/endpoints.py",
                "module_utils/preflight/pending.py",
                "module_utils/preflight/server.py",
                "module_utils/preflight/wanted.py",
            }
        ),
    ),
    f"{UNIT}/modules/test_llama_server_exec.py": (
        "needs a process that becomes another program",
        frozenset({"module_utils/server/exec.py"}),
    ),
    f"{UNIT}/modules/test_llama_server_rollback.py": (
        "needs generations that were served",
        frozenset({"module_utils/server/rollback.py"}),
    ),
    f"{UNIT}/modules/test_llama_server_generations.py": (
        "needs two generations",
        frozenset({"module_utils/server/state/changes.py"}),
    ),
    f"{UNIT}/module_utils/server/status/test_info.py": (
        "a record without code of its own",
        frozenset({"module_utils/server/status/seen.py"}),
    ),
    "tests/unit/container/test_start.py": (
        "needs generations of a start",
        frozenset({"src/container/generations.py"}),
    ),
    "tests/image/test_image.py": (
        "needs root and another user",
        frozenset({"src/container/unprivileged.py"}),
    ),
}

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
    sources, files = house.sources(), house.everything()
    assert house.long_lines(files) == []
    assert shortened(house.long_functions(sources)) <= LONG_FUNCTIONS
    assert len(house.long_functions(files)) - len(house.long_functions(sources)) <= LONG_TEST_FUNCTIONS
    assert shortened(house.long_modules(sources)) <= LONG_MODULES


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
