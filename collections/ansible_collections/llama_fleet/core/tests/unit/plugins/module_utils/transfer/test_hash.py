# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import hashlib
import threading

from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.hash import RunningHash

BLOCK = 1 << 10
DATA = bytes(range(256)) * (64 * BLOCK // 256)


def test_one_at_a_time_and_only_the_next_bytes() -> None:
    running = RunningHash()
    with running.turn(BLOCK) as mine:
        assert not mine
        assert not running.busy
    with running.turn(0) as mine:
        assert mine
        assert running.busy
        with running.turn(0) as second:
            assert not second
        running.add(memoryview(DATA)[:BLOCK])
    assert not running.busy
    with running.turn(BLOCK) as mine:
        assert mine
        running.add(memoryview(DATA)[BLOCK:])
    assert (running.upto, running.hexdigest()) == (len(DATA), hashlib.sha256(DATA).hexdigest())


def test_many_threads_hash_each_byte_once() -> None:
    running = RunningHash()
    last = threading.Event()

    def work() -> None:
        while not last.is_set():
            position = running.upto
            with running.turn(position) as mine:
                if mine and position < len(DATA):
                    running.add(memoryview(DATA)[position : position + BLOCK])
            if running.upto == len(DATA):
                last.set()

    threads = [threading.Thread(target=work) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (running.upto, running.hexdigest()) == (len(DATA), hashlib.sha256(DATA).hexdigest())
