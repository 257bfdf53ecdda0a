# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Staying with a process: real processes, real signals."""

import io
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator

import pytest

from llama_fleet import foreground, leftovers
from llama_fleet.errors import FleetError


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def send_soon(number: int) -> None:
    threading.Timer(0.5, os.kill, (os.getpid(), number)).start()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_server(sleeper: subprocess.Popen[bytes], tmp_path: pathlib.Path, number: int) -> None:
    log = tmp_path / "log"
    log.write_text("old\n", encoding="utf-8")
    output = io.StringIO()
    send_soon(number)
    former = signal.getsignal(number)
    threading.Timer(0.1, lambda: log.write_text("old\nnew line\n", encoding="utf-8")).start()
    assert foreground.follow(sleeper.pid, log, lambda: 42, output) == 42
    assert output.getvalue().splitlines() == ["", "The server runs until Ctrl-C; its log follows.", "new line"]
    assert signal.getsignal(number) is former


def test_a_server_that_dies_is_an_error_with_its_last_lines(sleeper: subprocess.Popen[bytes], tmp_path: pathlib.Path) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join(f"line {number}" for number in range(100)), encoding="utf-8")
    threading.Timer(0.4, sleeper.kill).start()
    with pytest.raises(FleetError, match=rf"process {sleeper.pid}\) has ended by itself") as caught:
        foreground.follow(sleeper.pid, log, lambda: pytest.fail("stopped"), io.StringIO())
    assert str(caught.value).splitlines()[1:] == [f"line {number}" for number in range(80, 100)]


def test_a_log_that_cannot_be_read_does_not_matter(sleeper: subprocess.Popen[bytes], tmp_path: pathlib.Path) -> None:
    send_soon(signal.SIGINT)
    assert foreground.follow(sleeper.pid, tmp_path / "none", lambda: 0, io.StringIO()) == 0


def test_another_process_with_the_same_number_is_not_the_server() -> None:
    assert foreground.Process.of(os.getpid()).is_alive()
    assert not foreground.Process(os.getpid(), "1").is_alive()


def test_leftovers_are_those_of_the_run() -> None:
    marker = f"{leftovers.VARIABLE}={uuid.uuid4().hex}"
    name, _mark, value = marker.partition("=")
    code = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True); time.sleep(60)"
    with subprocess.Popen(["sleep", "60"]) as other, subprocess.Popen([sys.executable, "-c", code], env={**os.environ, name: value}) as process:
        deadline = time.monotonic() + 5
        while len(of_run(marker)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(of_run(marker)) == 2
        leftovers.interrupt(marker, "no-such-program")
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
