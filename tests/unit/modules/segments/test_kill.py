# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""kill -9 at fifty random moments of one download: each costs at most the segments in flight, and the end is right."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.request import CONNECTIONS
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.segments import waiting_bytes
from tests.hub import Fault, Hub

if typing.TYPE_CHECKING:
    import pathlib

SEGMENT = 1 << 20
SIZE = 200 * SEGMENT - 4321
KILLS = 50
FURTHEST = 6 * SEGMENT  # that one life gets, so that the fifty do not come to the end


@pytest.fixture
def data() -> bytes:
    return random.Random(3).randbytes(SIZE)


def test_fifty_kills(tmp_path: pathlib.Path, data: bytes) -> None:
    chance = random.Random(4)
    (tmp_path / "hub" / "files").mkdir(parents=True)
    (tmp_path / "hub" / "files" / "model").write_bytes(data)
    part = tmp_path / "parts" / "x"
    kept = lost = 0
    with Hub(tmp_path / "hub") as hub, _lives(hub, data, part) as lives:
        hub.faults["model"] = Fault(rate=16 << 20)
        for _kill in range(KILLS):
            before = hub.sent
            process = _next(lives)
            if chance.random() < 0.9:  # else as it begins
                _wait_until_sent(hub, before + chance.randrange(FURTHEST))
            time.sleep(chance.random() / 50)
            os.kill(process, signal.SIGKILL)
            assert _told(lives) == -signal.SIGKILL
            hub.settle()
            sent, now = hub.sent - before, waiting_bytes(part)
            assert now >= kept, "what was safe before is safe still"
            assert 0 <= sent - (now - kept) <= CONNECTIONS * SEGMENT
            lost += sent - (now - kept)
            kept = now
        assert 0 < kept < SIZE
        del hub.faults["model"]
        _next(lives)
        assert _told(lives) == 0
        hub.settle()
        assert hub.sent == SIZE + lost
    assert hashlib.sha256(part.read_bytes()).digest() == hashlib.sha256(data).digest()


LAST = """
import os, pathlib, signal, sys
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.request import Origin, Wanted
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.segments import fetch_all
url, sha256, size, part, number = sys.argv[1:]
done = pathlib.Path(part)
seen = 0
def watch(event, arguments):
    global seen
    if event in ("os.rename", "os.remove", "os.truncate"):
        if seen == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        paths = [each for each in arguments[:2] if isinstance(each, (str, os.PathLike))]
        print(event, [os.path.basename(str(each)) for each in paths], flush=True)
        seen += 1
sys.addaudithook(watch)
fetch_all([Wanted("model", sha256, int(size), done, (Origin(url),))], "source")
"""


def test_a_kill_at_the_end_costs_no_byte(tmp_path: pathlib.Path) -> None:
    """Of a download that is whole, between any two changes of names: what was hundreds of gigabytes stays."""
    data = random.Random(5).randbytes(1 << 20)
    (tmp_path / "hub" / "files").mkdir(parents=True)
    (tmp_path / "hub" / "files" / "model").write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    steps: set[str] = set()
    with Hub(tmp_path / "hub") as hub:
        for number in range(20):
            part = tmp_path / f"{number}" / "x"
            command = [sys.executable, "-c", LAST, f"{hub.url}/files/model", sha256, str(len(data)), str(part)]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            killed = subprocess.run(
                [*command, str(number)], env=environment, capture_output=True, text=True, timeout=60, check=False
            )
            assert (killed.stderr, killed.returncode) == ("", -signal.SIGKILL if killed.returncode else 0)
            steps |= set(killed.stdout.splitlines())
            if not killed.returncode:
                break
            kept = waiting_bytes(part)
            # How often the journal is written is a matter of time; it goes last, when the file has its name.
            # What comes after the journal was written: the file gets its name, and then the journal goes.
            written = itertools.dropwhile(lambda step: not step.startswith("os.rename"), killed.stdout.splitlines())
            late = [step for step in written if "['x.part', 'x']" in step or step.startswith("os.remove")]
            assert kept == len(data) or not late
            before = hub.sent
            subprocess.run([*command, "99"], env=environment, timeout=60, check=True)
            hub.settle()
            assert hub.sent - before == len(data) - kept
            assert part.read_bytes() == data
        else:
            pytest.fail("a download without end")
    assert number >= 2, f"nothing was killed between {steps}"
    assert any("['x.part', 'x']" in step for step in steps)


def _lives(hub: Hub, data: bytes, part: pathlib.Path) -> subprocess.Popen[bytes]:
    given = [f"{hub.url}/files/model", hashlib.sha256(data).hexdigest(), str(SIZE), str(SEGMENT), str(part)]
    command = [sys.executable, "-m", "tests.unit.modules.segments.child", *given]
    return subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _next(lives: subprocess.Popen[bytes]) -> int:
    assert lives.stdin is not None
    lives.stdin.write(b"\n")
    lives.stdin.flush()
    return _told(lives)


def _told(lives: subprocess.Popen[bytes]) -> int:
    assert lives.stdout is not None
    return int(lives.stdout.readline())


def _wait_until_sent(hub: Hub, count: int) -> None:
    until = time.monotonic() + 30
    while hub.sent <= count:
        assert time.monotonic() < until
        time.sleep(0.001)
