# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""End a stage that runs beside others when no run looks at it any more, because that run was killed."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.progress import FILE_BESIDE

# The file beside the progress file that each look of the controller touches.
LOOKED = "looked"
LIMIT = 1800.0  # seconds without a look
PAUSE = 5.0  # seconds between two checks


def guard(progress_file: str) -> None:
    """Start a thread that ends this process as SIGTERM does; only for a stage that runs beside others."""
    folder, name = os.path.split(progress_file)
    if name == FILE_BESIDE:
        thread = threading.Thread(target=_end_unwatched, args=(folder,), daemon=True)
        thread.start()


def _end_unwatched(folder: str) -> None:
    wait_until_unwatched(folder)
    shutil.rmtree(folder, ignore_errors=True)
    main = threading.main_thread().ident
    if main is not None:
        signal.pthread_kill(main, signal.SIGTERM)  # interrupts what the main thread waits for


def wait_until_unwatched(
    folder: str,
    limit: float = LIMIT,
    clock: typing.Callable[[], float] = time.monotonic,
    pause: typing.Callable[[float], None] = time.sleep,
) -> None:
    """Return when the file ``LOOKED`` in ``folder`` has not been touched for ``limit`` seconds of this host."""
    before, since = 0, clock()
    while clock() - since <= limit:
        pause(PAUSE)
        try:
            looked = os.stat(os.path.join(folder, LOOKED)).st_mtime_ns
        except OSError:  # no look so far
            looked = 0
        if looked != before:
            before, since = looked, clock()
