# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Ending what a run has left behind: real processes, real signals."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import pytest

from llama_fleet.run import orphans
from tests.unit import imports


@pytest.fixture
def marker() -> str:
    return orphans.new_marker()


def environment(marker: str) -> dict[str, str]:
    name, _mark, value = marker.partition("=")
    return {**os.environ, name: value}


def test_leftovers_are_those_of_the_run(marker: str) -> None:
    code = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], "
        "start_new_session=True); time.sleep(60)"
    )
    with (
        subprocess.Popen(["sleep", "60"]) as other,
        subprocess.Popen([sys.executable, "-c", code], env=environment(marker)) as process,
    ):
        wait_for(marker, 2)
        orphans.kill(marker)
        assert of_run(marker) == []
        assert process.wait() == -signal.SIGKILL
        assert other.poll() is None
        other.kill()


def wait_for(marker: str, count: int) -> None:
    """Until so many processes are the run's.

    One that begins its program has no environment to be told by, and had its parent's before.
    """
    deadline = time.monotonic() + 60
    agreed = 0
    while agreed < 5:
        agreed = agreed + 1 if len(of_run(marker)) == count else 0
        assert time.monotonic() < deadline
        time.sleep(0.02)


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
    with (
        subprocess.Popen(["cat"], stdin=subprocess.PIPE) as first,
        subprocess.Popen(["cat"], stdin=subprocess.PIPE) as second,
    ):
        rounds = iter([[ended.pid, first.pid], [second.pid], []])
        monkeypatch.setattr(
            orphans, "_processes", lambda _marker: [pathlib.Path(f"/proc/{pid}") for pid in next(rounds)]
        )
        orphans.kill(marker)
        second.send_signal(signal.SIGTERM)  # too late where it is killed
        assert (first.wait(), second.wait()) == (-signal.SIGKILL, -signal.SIGKILL)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Handle SIGINT, because a background process of a shell and its children ignore it."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("program", "number"), [("sleep", signal.SIGINT), ("no-such-program", signal.SIGKILL)])
def test_only_the_program_meant_is_interrupted(marker: str, program: str, number: int) -> None:
    with subprocess.Popen(["sleep", "60"], env=environment(marker)) as process:
        wait_for(marker, 1)
        orphans.interrupt(marker, program)
        process.kill()  # too late where the interruption has come
        assert process.wait() == -number


def test_who_cleans_up_is_no_leftover(marker: str) -> None:
    code = f"from llama_fleet.run import orphans; orphans.kill({marker!r}); print('done')"
    python_path = {"PYTHONPATH": imports.PYTHONPATH}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(marker) | python_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "done\n")


KILLED = """
import subprocess, sys
from llama_fleet.run import orphans
with orphans.private_folder(sys.argv[1]) as folder:
    (folder / "variables.yml").write_text("s3cr3t")
    print(folder, subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL).pid, flush=True)
    sys.stdin.read()
"""


def test_the_next_run_clears_up_after_one_that_was_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, marker: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    source = imports.PYTHONPATH
    more = {"PYTHONPATH": source, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, marker],
        env=environment(marker) | more,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as run:
        assert run.stdout
        name, child = run.stdout.readline().decode().split()
        with orphans.private_folder(orphans.new_marker()) as other:
            assert sorted(tmp_path.iterdir()) == sorted([other, pathlib.Path(name)]), "one that lives is left alone"
            wait_for(marker, 2)
            run.kill()
            run.wait()
            assert of_run(marker) == [child]
            with orphans.private_folder(orphans.new_marker()) as after:
                assert of_run(marker) == []
                assert sorted(tmp_path.iterdir()) == sorted([other, after])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["none", "empty", "part", "link"])
def test_what_is_no_runs_folder_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, what: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # An empty marker would be every process's.
    monkeypatch.setattr(orphans, "kill", lambda marker: pytest.fail(f"killed {marker!r}"))
    place = tmp_path / "llama-fleet-run-x"
    real = tmp_path / "elsewhere" if what == "link" else place
    real.mkdir()
    if what == "link":
        place.symlink_to(real)
    if what != "none":
        said = {"empty": "", "part": f"{orphans.VARIABLE}=0"}
        (real / "life").write_text(said.get(what, orphans.new_marker()), encoding="ascii")
    with orphans.private_folder(orphans.new_marker()):
        assert real.is_dir()
    assert place.exists()
