# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Count the offences against the house rules; ``python -m tests.contract.house`` prints the numbers.

The sources are the collection's plugins and ``src``. Each rule takes files as a mapping of paths, relative to the
repository's root, to texts, and returns the places that break it. ``test_house.py`` says how many there may be.
"""

from __future__ import annotations

import ast
import collections
import json
import pathlib
import re
import subprocess
import sys
import typing

Files = typing.Mapping[str, str]
Rule = typing.Callable[[Files], list[str]]

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORE = "collections/ansible_collections/llama_fleet/core"
PLUGINS = f"{CORE}/plugins"
UTILS = f"{PLUGINS}/module_utils"
SRC = "src/llama_fleet"
# What all rooms share lies in no room.
HALL = frozenset(
    {"arguments", "payload", "plain_text", "problems", "progress", "runtimes", "stage", "untrusted", "unwatched"}
)
MOST_FILES, MOST_COLUMNS, MOST_LINES, MOST_FUNCTION_LINES = 20, 120, 300, 40
# A clause in the place of a name: "What is wrong with a file." is no name of a class, and says nothing to a reader.
# The names that say only how a value came to be. A parameter ``found`` fills the field of a problem, beside its others.
_VAGUE = frozenset({"found", "told"})
_OF_A_PROBLEM = frozenset({"subject", "wanted"})
_CLAUSE = re.compile(
    r"(what|whatever|whether|which|who|whom|whose|whoever|how|why|where|when|that|those|nobody"
    r"|(all|everything) that)\b",
    re.IGNORECASE,
)


def read(*folders: str) -> dict[str, str]:
    """Return the Python files below ``folders``, by their paths."""
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def sources() -> dict[str, str]:
    """Return all Python files of the plugins and of ``src``."""
    return read(PLUGINS, SRC)


def programs() -> dict[str, str]:
    """Return all Python files that are no tests: also the callback, and the scripts of image, docs and benchmarks."""
    return read(PLUGINS, SRC, "plugins", "image", "docs", "benchmarks")


def everything() -> dict[str, str]:
    """Return all Python files of the repository."""
    return read("src", "collections", "tests", "benchmarks", "docs", "image", "examples", "inventories", "molecule")


def rooms(files: Files) -> dict[str, int]:
    """Return the number of files in each folder of ``module_utils``, ``plugin_utils`` and ``src``."""
    folders = (str(pathlib.PurePath(path).parent) for path in files if not path.endswith("__init__.py"))
    return dict(
        collections.Counter(folder for folder in folders if folder.startswith((UTILS, f"{PLUGINS}/plugin", SRC)))
    )


def full_rooms(files: Files) -> list[str]:
    """Return the folders with more than 20 files."""
    return [f"{room} ({count})" for room, count in rooms(files).items() if count > MOST_FILES]


def flat_files(files: Files) -> list[str]:
    """Return the files of ``module_utils`` that lie in no room and do not belong to the hall."""
    flat = [pathlib.PurePath(path) for path in files if str(pathlib.PurePath(path).parent) == UTILS]
    return [str(path) for path in flat if path.stem not in HALL]


def long_lines(files: Files) -> list[str]:
    """Return the lines of more than 120 characters."""
    return [
        f"{path}:{number}"
        for path, text in files.items()
        for number, line in enumerate(text.splitlines(), 1)
        if len(line) > MOST_COLUMNS
    ]


def long_modules(files: Files) -> list[str]:
    """Return the files of more than 300 lines."""
    return [path for path, text in files.items() if len(text.splitlines()) > MOST_LINES]


def long_functions(files: Files) -> list[str]:
    """Return the functions of more than 40 lines, counted from ``def`` to the last statement."""
    return [
        f"{path}:{node.name}"
        for path, text in files.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.end_lineno or 0) - node.lineno >= MOST_FUNCTION_LINES
    ]


def clauses(files: Files) -> list[str]:
    """Return the modules, classes and functions whose docstrings open with a noun clause."""
    return [
        f"{path}:{getattr(node, 'name', '')}"
        for path, text in files.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and _CLAUSE.match(ast.get_docstring(node) or "")
    ]


def not_imperative(files: Files, root: pathlib.Path = ROOT) -> list[str]:
    """Return the functions whose docstrings do not begin with an imperative verb, by ruff's rule D401.

    The rule passes over properties and tests, whose docstrings state what is true.
    """
    run = subprocess.run(
        [
            *(sys.executable, "-m", "ruff", "check", "--isolated", "--select", "D401", "--exit-zero"),
            *("--output-format", "json", *files),
        ],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return [
        f"{pathlib.Path(offence['filename']).relative_to(root)}:{offence['location']['row']}"
        for offence in json.loads(run.stdout)
    ]


def vague_names(files: Files) -> list[str]:
    """Return the variables and parameters that are called ``found`` or ``told``, and the functions called ``problems``.

    Skip the fields of classes, and a parameter ``found`` beside ``subject`` or ``wanted``.
    """
    places = []
    for path, text in files.items():
        names = _Names()
        names.visit(ast.parse(text))
        places += [f"{path}:{line}" for line in names.lines]
    return places


class _Names(ast.NodeVisitor):
    """The lines of one module's vague names."""

    def __init__(self) -> None:
        self.lines: list[int] = []

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            if not isinstance(statement, ast.AnnAssign):
                self.visit(statement)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name == "problems":
            self.lines.append(node.lineno)
        self.generic_visit(node)

    def visit_arguments(self, node: ast.arguments) -> None:
        arguments = [*node.posonlyargs, *node.args, *node.kwonlyargs]
        of_a_problem = any(argument.arg in _OF_A_PROBLEM for argument in arguments)
        allowed = {"found"} if of_a_problem else set()
        self.lines += [argument.lineno for argument in arguments if argument.arg in _VAGUE - allowed]
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store) and node.id in _VAGUE:
            self.lines.append(node.lineno)


def own_test(path: str) -> str:
    """Return the path of the tests of the source ``path``."""
    if path.startswith(f"{SRC}/"):
        place = pathlib.PurePath("tests/unit") / pathlib.PurePath(path).relative_to(SRC)
    else:
        place = pathlib.PurePath(CORE) / "tests/unit/plugins" / pathlib.PurePath(path).relative_to(PLUGINS)
    return str(place.with_name(f"test_{place.name}"))


def untested(files: Files, tests: typing.Container[str]) -> list[str]:
    """Return the sources whose tests are not in a file of their own; documentation fragments have no code."""
    return [
        path
        for path in files
        if not path.startswith(f"{PLUGINS}/doc_fragments/")
        and not path.endswith("__init__.py")
        and own_test(path) not in tests
    ]


def numbers() -> dict[str, int]:
    """Return how often each rule is broken, and how large the largest is where a rule bounds a size."""
    own, all_files = sources(), everything()
    return {
        "rooms": len(rooms(own)),
        "files in the fullest room": max(rooms(own).values()),
        f"rooms of more than {MOST_FILES} files": len(full_rooms(own)),
        "files of module_utils outside rooms and hall": len(flat_files(own)),
        f"lines over {MOST_COLUMNS} characters": len(long_lines(all_files)),
        f"functions over {MOST_FUNCTION_LINES} lines in sources": len(long_functions(own)),
        f"functions over {MOST_FUNCTION_LINES} lines in all": len(long_functions(all_files)),
        f"modules over {MOST_LINES} lines in sources": len(long_modules(own)),
        f"modules over {MOST_LINES} lines in all": len(long_modules(all_files)),
        "docstrings that open with a noun clause in sources": len(clauses(own)),
        "docstrings that open with a noun clause in all": len(clauses(all_files)),
        "functions with no imperative docstring in sources": len(not_imperative(own)),
        "functions with no imperative docstring in all": len(not_imperative(all_files)),
        "vague names in sources": len(vague_names(programs())),
        "sources": len(own),
        "sources without tests of their own path": len(untested(own, all_files)),
    }


if __name__ == "__main__":
    for name, number in numbers().items():
        print(f"{number:6} {name}")
