# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""``python -m tests.hub --root DIR --port N``: serve a folder until interrupted."""

from __future__ import annotations

import argparse
import pathlib
import signal
import sys
import threading

from tests.hub.server import Hub


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.hub", description="A Hub, a file server and a package index for tests."
    )
    parser.add_argument("--root", type=pathlib.Path, required=True, help="folder with repos/, files/ and simple/")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8100, help="port; the storage listens on the next one (0: any two)")
    given = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Hub(given.root, given.host, given.port, given.port + 1 if given.port else 0) as hub:
        sys.stdout.write(f"{hub.url} storage {hub.storage_port}\n")
        sys.stdout.flush()
        stop.wait()
        sys.stdout.write(f"{len(hub.log)} requests, {hub.sent} bytes of files\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
