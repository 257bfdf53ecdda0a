# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A deliberate fault in one file, which some test has to notice; the lists are the YAML files beside this."""

from __future__ import annotations

import ast
import dataclasses
import pathlib

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
_COLLECTION = "collections/ansible_collections/llama_fleet/core"


@dataclasses.dataclass(frozen=True)
class Mutant:
    """``old`` in ``file`` becomes ``new``; one of ``tests`` has to fail then.

    Paths are relative to the collection's ``plugins``, those of tests to its ``tests/unit/plugins``; what begins with
    ``src/`` or
    ``tests/`` is relative to the repository. ``fault`` says what goes wrong in service. ``survives`` is why no test can
    notice it; such a mutant is listed and not an error.
    """

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    fault: str
    survives: str = ""

    @property
    def path(self) -> pathlib.PurePosixPath:
        """The file, relative to the repository."""
        return _below("plugins", self.file)

    @property
    def selected(self) -> list[str]:
        """The tests, relative to the repository, as pytest takes them."""
        return [str(_below("tests/unit/plugins", test)) for test in self.tests]

    def problem(self, root: pathlib.Path = ROOT) -> str:
        """Return the reason why it cannot be applied to the tree ``root``; empty if it can."""
        path = root / self.path
        if not path.is_file():
            return f"{self.path} is not there"
        text = path.read_text(encoding="utf-8")
        if (count := text.count(self.old)) != 1:
            return f"{self.path} has the text {count} times that it is to replace, wanted once: {self.old!r}"
        if missing := [test for test in self.selected if not (root / test.partition("::")[0]).exists()]:
            return f"there is no test {', '.join(missing)}"
        try:
            ast.parse(self.applied(text))
        except SyntaxError as error:
            return f"{self.path} would be no Python: {error}"
        return "" if self.old != self.new else f"{self.path} would stay as it is"

    def applied(self, text: str) -> str:
        return text.replace(self.old, self.new)


def load(folder: pathlib.Path = pathlib.Path(__file__).parent) -> list[Mutant]:
    """All mutants of the lists in ``folder``: each entry names a file and tests, and the mutants of that file which
    those have to notice.
    """
    entries = [
        entry for path in sorted(folder.glob("*.yml")) for entry in yaml.safe_load(path.read_text(encoding="utf-8"))
    ]
    return [
        Mutant(entry["file"], tests=tuple(entry["tests"]), **mutant) for entry in entries for mutant in entry["mutants"]
    ]


def _below(folder: str, name: str) -> pathlib.PurePosixPath:
    return (
        pathlib.PurePosixPath(name)
        if name.startswith(("src/", "tests/"))
        else pathlib.PurePosixPath(_COLLECTION, folder, name)
    )
