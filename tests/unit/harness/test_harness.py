# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The harness of the test suite: it runs programs and reports skipped tests."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time

import pytest

from tests.harness import programs, skips
from tests.harness.context import SILENCE

ROOT = pathlib.Path(__file__).parents[3]


def follow(tmp_path: pathlib.Path, script: str, silence: float) -> tuple[int, str]:
    shown: list[bytes] = []
    code = programs.run(["sh", "-c", script], tmp_path, os.environ, silence, shown.append, grace=5)
    return code, b"".join(shown).decode()


def gone(pid: int) -> bool:
    """Return whether the process ends, or is only a zombie, within ten seconds, because a kill takes a moment."""
    for _ in range(100):
        try:
            if pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.1)
    return False


def test_output_and_status(tmp_path: pathlib.Path) -> None:
    assert follow(tmp_path, "echo one; echo two >&2; exit 3", 60) == (3, "one\ntwo\n")


def test_who_makes_progress_may_take_longer_than_the_limit(tmp_path: pathlib.Path) -> None:
    words = "".join(f"sleep 0.5; echo {number};" for number in range(6))
    assert follow(tmp_path, words, 2) == (0, "0\n1\n2\n3\n4\n5\n")


def test_who_says_nothing_is_ended_with_its_children(tmp_path: pathlib.Path) -> None:
    # The child ignores the interrupt and has the output open.
    script = """sh -c "trap '' INT; echo \\$\\$ > child; exec sleep 600" & echo $$ > parent; echo begun; wait"""
    with pytest.raises(programs.SilentError, match="said nothing for 1 s"):
        follow(tmp_path, script, 1)
    assert [gone(int((tmp_path / name).read_text(encoding="ascii"))) for name in ("parent", "child")] == [True, True]


def test_who_is_interrupted_can_clean_up(tmp_path: pathlib.Path) -> None:
    with pytest.raises(programs.SilentError):
        follow(tmp_path, "trap 'touch cleaned; exit' INT; echo begun; sleep 600 & wait", 1)
    assert (tmp_path / "cleaned").exists()


def test_nobody_waits_for_children_that_are_left(tmp_path: pathlib.Path) -> None:
    code, output = follow(tmp_path, "sleep 600 & echo $!; exit 0", 300)
    child = int(output)
    assert code == 0
    os.kill(child, 9)  # it is still there


REPORT = """\
import pytest

def test_passes(): pass
def test_fails(): assert False
@pytest.mark.skip(reason="needs LLAMA_FLEET_TEST_RELEASE")
def test_elsewhere(): pass
@pytest.mark.skip(reason="needs a CPU with FMA")
def test_hardware(): pass
@pytest.mark.skip(reason="forgotten")
def test_forgotten(): pass
@pytest.mark.xfail
def test_known(): assert False
"""


@pytest.fixture
def outcomes(tmp_path: pathlib.Path) -> list[skips.Outcome]:
    """Return the outcomes that the harness reads from a real report of pytest."""
    (tmp_path / "test_some.py").write_text(REPORT, encoding="utf-8")
    (tmp_path / "test_whole.py").write_text(
        "import pytest\npytest.skip('no release', allow_module_level=True)\n", encoding="utf-8"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        str(tmp_path),
        "--junitxml",
        "report.xml",
    ]
    subprocess.run(command, cwd=tmp_path, check=False, capture_output=True)
    return skips.read(tmp_path / "report.xml", "units")


def test_what_a_report_says(outcomes: list[skips.Outcome]) -> None:
    assert {(outcome.test, outcome.reason) for outcome in outcomes} == {
        ("test_some::test_passes", ""),
        ("test_some::test_elsewhere", "needs LLAMA_FLEET_TEST_RELEASE"),
        ("test_some::test_hardware", "needs a CPU with FMA"),
        ("test_some::test_forgotten", "forgotten"),
        ("test_whole", "no release"),
    }


def test_a_skip_of_one_step_is_none_where_another_ran_it(outcomes: list[skips.Outcome]) -> None:
    ran = skips.Outcome("server", "test_some::test_elsewhere")
    assert [outcome.reason for outcome in skips.nowhere([*outcomes, ran])] == [
        "no release",
        "needs a CPU with FMA",
        "forgotten",
    ]


@pytest.mark.parametrize(
    ("steps", "left_out"),
    [
        (["units"], ["no release", "forgotten"]),
        (["units", "server"], ["no release", "needs LLAMA_FLEET_TEST_RELEASE", "forgotten"]),
    ],
)
def test_what_should_have_run(outcomes: list[skips.Outcome], steps: list[str], left_out: list[str]) -> None:
    assert [outcome.reason for outcome in skips.unexpected(skips.nowhere(outcomes), steps)] == left_out


def test_skips_are_told_by_file(outcomes: list[skips.Outcome]) -> None:
    assert skips.told(skips.nowhere(outcomes)) == [
        "   1 in units: test_some: forgotten",
        "   1 in units: test_some: needs LLAMA_FLEET_TEST_RELEASE",
        "   1 in units: test_some: needs a CPU with FMA",
        "   1 in units: test_whole: no release",
    ]


def test_no_report_is_no_test(tmp_path: pathlib.Path) -> None:
    assert skips.read(tmp_path / "missing.xml", "units") == []


def test_every_test_has_a_limit_shorter_than_the_silence(request: pytest.FixtureRequest) -> None:
    assert 0 < float(request.config.getini("timeout")) < SILENCE


def test_a_test_that_waits_for_ever_is_ended(tmp_path: pathlib.Path) -> None:
    (tmp_path / "test_waits.py").write_text(
        "import threading\ndef test_waits(): threading.Event().wait()\n", encoding="utf-8"
    )
    settings = ROOT / "pyproject.toml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        str(settings),
        "--rootdir",
        str(tmp_path),
        "-o",
        "timeout=1",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Timeout (>1.0s)" in done.stdout


@pytest.mark.parametrize(("user", "left_out"), [(0, 1), (1000, 0)])
def test_who_is_not_root_cannot_run_what_needs_root(monkeypatch: pytest.MonkeyPatch, user: int, left_out: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    skipped = [skips.Outcome("units", "test_some::test_root", "needs root, to make a namespace")]
    assert len(skips.unexpected(skipped, ["units"])) == left_out
