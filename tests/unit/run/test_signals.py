# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The signals that end a command: real processes, and a real terminal that goes away."""

import os
import pathlib
import pty
import signal
import subprocess
import sys

from tests.unit import imports

PROGRAM = """
import pathlib, sys, time
from llama_fleet.run import signals
seen = []
with signals.caught(seen.append):
    print("ready", flush=True)
    while not seen:
        time.sleep(0.01)
    print("clearing up", flush=True)
    print("still", file=sys.stderr, flush=True)
pathlib.Path(sys.argv[1]).write_text(" ".join(map(str, seen)))
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": imports.PYTHONPATH}


def test_what_loses_its_terminal_clears_up_to_the_end(tmp_path: pathlib.Path) -> None:
    terminal, its_end = pty.openpty()
    # The tests themselves may run below nohup.
    command = ["env", "--default-signal=HUP", "setsid", "--ctty", sys.executable, "-c", PROGRAM, str(tmp_path / "seen")]
    with subprocess.Popen(command, env=ENVIRONMENT, stdin=its_end, stdout=its_end, stderr=its_end) as process:
        os.close(its_end)
        while b"ready" not in os.read(terminal, 1024):
            continue
        os.close(terminal)
        assert process.wait(20) == 0
    assert (tmp_path / "seen").read_text(encoding="utf-8") == str(int(signal.SIGHUP))


def test_below_nohup_the_end_of_a_terminal_is_none(tmp_path: pathlib.Path) -> None:
    command = ["nohup", sys.executable, "-c", PROGRAM, str(tmp_path / "seen")]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        for number in (signal.SIGHUP, signal.SIGTERM):
            process.send_signal(number)
        assert process.wait(20) == 0
    assert (tmp_path / "seen").read_text(encoding="utf-8") == str(int(signal.SIGTERM))
