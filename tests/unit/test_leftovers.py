# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Ending what a run has left behind: real processes, real signals."""

import os
import pathlib
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator

import pytest

from llama_fleet import leftovers


@pytest.fixture
def marker() -> str:
    return f"{leftovers.VARIABLE}={uuid.uuid4().hex}"


def environment(marker: str) -> dict[str, str]:
    name, _mark, value = marker.partition("=")
    return {**os.environ, name: value}


def test_leftovers_are_those_of_the_run(marker: str) -> None:
    code = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True); time.sleep(60)"
    with subprocess.Popen(["sleep", "60"]) as other, subprocess.Popen([sys.executable, "-c", code], env=environment(marker)) as process:
        deadline = time.monotonic() + 5
        while len(of_run(marker)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(of_run(marker)) == 2
        leftovers.kill(marker)
        assert of_run(marker) == []
        assert process.wait() == -signal.SIGKILL
        assert other.poll() is None
        other.kill()


def of_run(marker: str) -> list[str]:
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            found += [path.parent.name] if marker in path.read_text(encoding="utf-8", errors="replace") else []
        except OSError:
            continue
    return found


def test_what_starts_meanwhile_is_killed_too(monkeypatch: pytest.MonkeyPatch, marker: str) -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as first, subprocess.Popen(["cat"], stdin=subprocess.PIPE) as second:
        rounds = iter([[ended.pid, first.pid], [second.pid], []])
        monkeypatch.setattr(leftovers, "_processes", lambda _marker: [pathlib.Path(f"/proc/{pid}") for pid in next(rounds)])
        leftovers.kill(marker)
        second.send_signal(signal.SIGTERM)  # too late where it is killed
        assert (first.wait(), second.wait()) == (-signal.SIGKILL, -signal.SIGKILL)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process in the background of a shell ignores SIGINT, and so would what it starts."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("program", "number"), [("sleep", signal.SIGINT), ("no-such-program", signal.SIGKILL)])
def test_only_the_program_meant_is_interrupted(marker: str, program: str, number: int) -> None:
    with subprocess.Popen(["sleep", "60"], env=environment(marker)) as process:
        leftovers.interrupt(marker, program)
        process.kill()  # too late where the interruption has come
        assert process.wait() == -number


def test_who_cleans_up_is_no_leftover(marker: str) -> None:
    code = f"from llama_fleet import leftovers; leftovers.kill({marker!r}); print('done')"
    python_path = {"PYTHONPATH": str(pathlib.Path(leftovers.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment(marker) | python_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n")
