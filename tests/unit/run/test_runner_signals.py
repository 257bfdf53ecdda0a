# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Signals during real runs of ansible-runner: the run ends, with all it started."""

import os
import pathlib
import signal
import threading
import time
from collections.abc import Iterator

import ansible_runner
import pytest

from llama_fleet.cli import foreground
from llama_fleet.errors import RunInterruptedError
from llama_fleet.run import runner
from llama_fleet.run.events import Event
from tests.unit.run.tiny_plays import no_traces, run


def interrupt_soon(file: pathlib.Path, *numbers: int) -> None:
    former = {number: signal.getsignal(number) for number in numbers}

    def interrupt() -> None:
        deadline = time.monotonic() + 120
        while not (file.exists() and file.read_text(encoding="utf-8").strip()):
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)
        for number in numbers:
            # After the run a signal would end the tests.
            if signal.getsignal(number) != former[number]:
                os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()


@pytest.fixture
def without_nohup() -> Iterator[None]:
    former = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, former)


@pytest.mark.usefixtures("without_nohup")
@pytest.mark.parametrize(
    ("numbers", "status"), [((signal.SIGINT, signal.SIGTERM), 130), ((signal.SIGTERM,), 143), ((signal.SIGHUP,), 129)]
)
def test_a_signal_ends_the_run_and_all_it_started(
    events: list[Event], tmp_path: pathlib.Path, numbers: tuple[int, ...], status: int
) -> None:
    file = tmp_path / "pid"
    former = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    interrupt_soon(file, *numbers)
    with pytest.raises(RunInterruptedError) as caught:
        run(events, "sleep", variables={"file": str(file)})
    assert caught.value.exit_code == status
    assert not foreground.Process.of(int(file.read_text(encoding="utf-8"))).is_alive()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == former
    assert no_traces(tmp_path)


def test_a_signal_is_seen_soon(events: list[Event], monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts: list[float] = []
    real = ansible_runner.run

    def observed(**options: object) -> object:
        result = real(**options)
        timeouts.append(result.config.pexpect_timeout)
        return result

    monkeypatch.setattr(ansible_runner, "run", observed)
    run(events, "fail")
    assert timeouts[0] <= 0.5


def test_actions_are_given_the_time_to_stop_their_jobs(
    events: list[Event], monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(runner, "GRACE", 30.0)
    interrupt_soon(tmp_path / "pid", signal.SIGINT)
    with pytest.raises(RunInterruptedError):
        run(events, "wait", variables={"file": str(tmp_path / "pid")})
    assert (tmp_path / "pid.ended").exists()
