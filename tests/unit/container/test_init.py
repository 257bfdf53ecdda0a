# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The first process of a container, in a process that takes itself for it."""

import os
import pathlib
import pty
import signal
import subprocess
import sys
import time
import typing

import pytest

from tests.unit import imports

RUN = "import os, signal, sys, time\nfrom llama_fleet.container import init\ninit.take_over()\n"
# Again and again: a signal's handler that comes a moment before a sleep does not end it.
WAIT = "while True: time.sleep(0.02)"


def start(script: str, **more: typing.Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": imports.PYTHONPATH}
    return subprocess.Popen(
        [sys.executable, "-c", f"{RUN}{script}"], env=environment, stdout=subprocess.PIPE, encoding="utf-8", **more
    )


def line(process: subprocess.Popen[str]) -> str:
    return typing.cast("typing.IO[str]", process.stdout).readline().strip()


@pytest.mark.parametrize(
    ("end", "status"), [("sys.exit(7)", 7), ("pass", 0), ("os.kill(os.getpid(), signal.SIGKILL)", 137)]
)
def test_it_ends_as_its_child_does(end: str, status: int) -> None:
    with start(end) as process:
        assert process.wait(timeout=20) == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_child_that_knows_none(number: signal.Signals) -> None:
    """As llama-server while it loads."""
    with start(f"signal.signal({number}, signal.SIG_DFL)\nprint('ready', flush=True)\ntime.sleep(25)") as process:
        assert line(process) == "ready"
        process.send_signal(number)
        assert process.wait(timeout=20) == 128 + number


def test_a_child_decides_itself_what_a_signal_means() -> None:
    with start(f"signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nprint('ready', flush=True)\n{WAIT}") as process:
        assert line(process) == "ready"
        process.terminate()
        assert process.wait(timeout=20) == 0


def test_the_dead_that_it_inherits_are_buried() -> None:
    family = (
        "if os.fork() == 0:\n    if os.fork() == 0:\n        os.write(1, b'%d\\n' % os.getpid())\n    os._exit(0)\n"
    )
    orphan = f"\n{family}os.wait()\nos.write(1, b'ready\\n')\ntime.sleep(20)"
    adopting = "import ctypes; ctypes.CDLL(None).prctl(36, 1)"  # as a first process does
    environment = {**os.environ, "PYTHONPATH": imports.PYTHONPATH}
    with subprocess.Popen(
        [sys.executable, "-c", f"{adopting}\n{RUN}{orphan}"], env=environment, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        told = {line(process), line(process)}
        (pid,) = told - {"ready"}
        deadline = time.monotonic() + 20
        while pathlib.Path("/proc", pid).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not pathlib.Path("/proc", pid).exists()
        process.terminate()
        assert process.wait(timeout=20) == 143


def test_what_is_typed_goes_to_the_childs_group_alone() -> None:
    """Else it would come twice, once by way of this process."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["PYTHONPATH"] = imports.PYTHONPATH
        told = (
            f"print(os.getpgrp() == os.getpid() == os.tcgetpgrp(0), flush=True)\nsignal.signal(signal.SIGINT, "
            f"lambda *_: sys.exit(5))\n{WAIT}"
        )
        os.execv(sys.executable, [sys.executable, "-c", f"{RUN}{told}"])
    assert os.read(terminal, 100).strip() == b"True"
    time.sleep(0.05)
    os.write(terminal, b"\x03")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) in (5, 130)  # by its handler, or a moment before it
    os.close(terminal)
