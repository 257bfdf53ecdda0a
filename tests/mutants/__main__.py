# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Applies each mutant to a copy of the tree and runs the tests that have to notice it.

    python -m tests.mutants [WORD...]

Words select the mutants whose file, text or fault has one of them. The exit status is 1 where a mutant cannot be
applied, where a test fails without any, or where one survives that nobody has allowed to.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import dataclasses
import itertools
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import typing

from tests.harness import programs
from tests.mutants.mutant import ROOT, Mutant, load

# Seconds for one test, and without a word from any: a mutant that makes a loop endless is noticed by that.
_TEST, _SILENCE = 60, 120.0
_FAILED = 1  # pytest's exit status where a test failed
Trees = queue.SimpleQueue["Tree"]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """``outcome`` is killed, survived, or what kept the tests from being run."""

    mutant: Mutant
    outcome: str

    @property
    def is_wrong(self) -> bool:
        return self.outcome != "killed" and not (self.outcome == "survived" and self.mutant.survives)


class Tree:
    """A copy of the repository that one mutant at a time is applied to."""

    def __init__(self, place: pathlib.Path) -> None:
        self._place = place
        # Later than any file, and never the same twice: Python tells by it that what it compiled is out of date.
        self._times = itertools.count(2_000_000_000)
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        for name in filter(None, names.decode().split("\0")):
            if (ROOT / name).is_file():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                (place / name).write_bytes((ROOT / name).read_bytes())
                (place / name).chmod((ROOT / name).stat().st_mode)

    @contextlib.contextmanager
    def mutated(self, mutant: Mutant) -> typing.Iterator[None]:
        path = self._place / mutant.path
        text = path.read_text(encoding="utf-8")
        self._write(path, mutant.applied(text))
        yield
        self._write(path, text)

    def _write(self, path: pathlib.Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        now = next(self._times)
        os.utime(path, (now, now))

    def test(self, tests: typing.Iterable[str], *more: str) -> tuple[int, str]:
        """Run the tests; pytest's exit status, and its last lines."""
        environment = {
            name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
        }
        environment |= {
            "ANSIBLE_COLLECTIONS_PATH": str(self._place / "collections"),
            "PYTHONPYCACHEPREFIX": str(self._place / ".bytecode"),
        }
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "--timeout",
            str(_TEST),
            "--tb",
            "line",
            *more,
            *tests,
        ]
        shown: list[bytes] = []
        try:
            code = programs.run(command, self._place, environment, _SILENCE, shown.append)
        except programs.SilentError as error:
            return _FAILED, str(error)
        return code, "\n".join(b"".join(shown).decode(errors="replace").splitlines()[-15:])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="only mutants that have one of these in their file, texts or fault"
    )
    words = parser.parse_args().words
    chosen = [
        mutant
        for mutant in load()
        if not words
        or any(word in text for word in words for text in (mutant.file, mutant.old, mutant.new, mutant.fault))
    ]
    if problems := [problem for mutant in chosen if (problem := mutant.problem())]:
        print("\n".join(problems))
        return 1
    with tempfile.TemporaryDirectory(prefix="llama-fleet-mutants-") as folder:
        return _judge(chosen, pathlib.Path(folder))


def _judge(chosen: list[Mutant], folder: pathlib.Path) -> int:
    workers = len(os.sched_getaffinity(0))
    trees = [Tree(folder / str(number)) for number in range(workers)]
    code, said = trees[0].test(
        dict.fromkeys(test for mutant in chosen for test in mutant.selected), "--numprocesses", str(workers)
    )
    if code:
        print(f"the tests do not pass without a mutant:\n{said}")
        return 1
    free: Trees = queue.SimpleQueue()
    for tree in trees:
        free.put(tree)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        verdicts = [_told(verdict) for verdict in pool.map(lambda mutant: _verdict(mutant, free), chosen)]
    wrong = [verdict for verdict in verdicts if verdict.is_wrong]
    survivors = [verdict for verdict in verdicts if verdict.outcome == "survived"]
    print(
        f"{len(verdicts)} mutants: {sum(verdict.outcome == 'killed' for verdict in verdicts)} killed, "
        f"{len(survivors)} survived, {len(wrong)} wrong"
    )
    for verdict in survivors:
        print(
            f"survived: {verdict.mutant.path}: {verdict.mutant.fault}: "
            f"{verdict.mutant.survives or 'no test notices it'}"
        )
    return 1 if wrong else 0


def _verdict(mutant: Mutant, free: Trees) -> Verdict:
    tree = free.get()
    try:
        with tree.mutated(mutant):
            code, said = tree.test(mutant.selected)
    finally:
        free.put(tree)
    return Verdict(
        mutant, {0: "survived", _FAILED: "killed"}.get(code, f"not tested, pytest ended with {code}:\n{said}")
    )


def _told(verdict: Verdict) -> Verdict:
    print(f"{verdict.outcome}: {verdict.mutant.file}: {verdict.mutant.fault}", flush=True)
    return verdict


if __name__ == "__main__":
    sys.exit(main())
