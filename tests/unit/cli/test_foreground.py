# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Staying with a process: real processes, real signals."""

import io
import os
import pathlib
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.state import store as server_store
from llama_fleet.cli import foreground
from llama_fleet.errors import FleetError


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


class Output(io.StringIO):
    """Knows what has been shown."""

    shown = ""

    def flush(self) -> None:
        self.shown = self.getvalue()


def soon(act: Callable[[], object], ready: Callable[[], object]) -> None:
    """Do something in another thread as soon as it is time for it, and after a minute at the latest."""
    deadline = time.monotonic() + 60

    def wait() -> None:
        while not ready() and time.monotonic() < deadline:
            time.sleep(0.01)
        act()

    threading.Thread(target=wait, daemon=True).start()


def send(number: int, ready: Callable[[], object] = lambda: True) -> None:
    """Send this process a signal, once it is caught."""
    former = signal.getsignal(number)
    soon(lambda: os.kill(os.getpid(), number), lambda: signal.getsignal(number) is not former and ready())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_server(
    monkeypatch: pytest.MonkeyPatch, sleeper: subprocess.Popen[bytes], tmp_path: pathlib.Path, number: int
) -> None:
    monkeypatch.setattr(foreground, "POLL", 0.01)
    log = tmp_path / "log"
    log.write_text("old\n", encoding="utf-8")
    output = Output()
    send(number, lambda: "new line" in output.shown)
    former = signal.getsignal(number)
    soon(lambda: log.write_text("old\nnew line\n", encoding="utf-8"), lambda: output.shown)
    assert foreground.follow(sleeper.pid, log, tmp_path, lambda: 42, output) == 42
    assert output.shown.splitlines() == ["", "The server runs until Ctrl-C; its log follows.", "new line"]
    assert signal.getsignal(number) is former


def test_a_server_that_dies_is_an_error_with_its_last_lines(
    sleeper: subprocess.Popen[bytes], tmp_path: pathlib.Path
) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join(f"line {number}" for number in range(100)), encoding="utf-8")
    threading.Timer(0.4, sleeper.kill).start()
    with pytest.raises(FleetError, match=rf"process {sleeper.pid}\) ended by itself") as caught:
        foreground.follow(sleeper.pid, log, tmp_path, lambda: pytest.fail("stopped"), io.StringIO())
    assert str(caught.value).splitlines()[1:] == [f"line {number}" for number in range(80, 100)]


@pytest.mark.parametrize("is_removed", [False, True])
def test_a_server_that_somebody_else_stopped_is_no_error(
    sleeper: subprocess.Popen[bytes], tmp_path: pathlib.Path, *, is_removed: bool
) -> None:
    instance = tmp_path / "instance"

    def stop() -> None:
        if not is_removed:
            instance.mkdir()
            server_store.Store(instance).begin_stop()
        sleeper.kill()

    threading.Timer(0.1, stop).start()
    output = Output()
    assert foreground.follow(sleeper.pid, tmp_path / "none", instance, lambda: pytest.fail("stopped"), output) == 0
    assert output.getvalue().endswith("\nThe server was stopped.\n")


def test_the_last_that_a_dying_server_logs_is_shown(
    monkeypatch: pytest.MonkeyPatch, sleeper: subprocess.Popen[bytes], tmp_path: pathlib.Path
) -> None:
    log = tmp_path / "log"

    def die(_process: foreground.Process) -> bool:
        log.write_text("out of memory\n", encoding="utf-8")
        return False

    monkeypatch.setattr(foreground.Process, "is_alive", die)
    output = Output()
    with pytest.raises(FleetError):
        foreground.follow(sleeper.pid, log, tmp_path, lambda: pytest.fail("stopped"), output)
    assert output.shown.endswith("out of memory\n")


def test_a_server_that_is_dead_already_and_has_no_log(tmp_path: pathlib.Path) -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    with pytest.raises(FleetError, match=r"ended by itself(.|\n)*\(not readable: No such file or directory\)"):
        foreground.follow(process.pid, tmp_path / "none", tmp_path, lambda: pytest.fail("stopped"), io.StringIO())


def test_a_log_that_cannot_be_read_does_not_matter(sleeper: subprocess.Popen[bytes], tmp_path: pathlib.Path) -> None:
    send(signal.SIGINT)
    assert foreground.follow(sleeper.pid, tmp_path / "none", tmp_path, lambda: 0, io.StringIO()) == 0


def test_another_process_with_the_same_number_is_not_the_server() -> None:
    assert foreground.Process.of(os.getpid()).is_alive()
    assert not foreground.Process(os.getpid(), "1").is_alive()


def test_a_process_is_told_by_its_start_whatever_its_name(sleeper: subprocess.Popen[bytes]) -> None:
    name = pathlib.Path("/proc/self/comm")
    former = name.read_text(encoding="utf-8")
    this = foreground.Process.of(os.getpid())
    assert int(foreground.Process.of(sleeper.pid).started) > int(this.started)
    name.write_text("a) Z", encoding="utf-8")
    try:
        assert foreground.Process.of(os.getpid()) == this
    finally:
        name.write_text(former.strip(), encoding="utf-8")
