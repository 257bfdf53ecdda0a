# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Processes that fetch a file, to be killed.

``python -m tests.unit.modules.segments.child URL SHA256 SIZE SEGMENT PART``

For each line on its input a new process begins; its id is told, and when it ends, its exit status.
"""

from __future__ import annotations

import os
import pathlib
import re
import sys
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.request import Manner, Origin, Wanted
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.segments import fetch_all


def main() -> None:
    for _line in sys.stdin:
        process = os.fork()
        if process == 0:
            _fetch(*sys.argv[1:])
        sys.stdout.write(f"{process}\n")
        sys.stdout.flush()
        _process, status = os.waitpid(process, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _fetch(url: str, sha256: str, size: str, segment: str, part: str) -> typing.NoReturn:
    """Fetch and exit: with 0, or with 1 where that took more memory than 150 MB."""
    fetch_all(
        [Wanted("model", sha256, int(size), pathlib.Path(part), (Origin(url),))],
        "source",
        manner=Manner(segment=int(segment)),
    )
    highest = re.search(r"VmHWM:\s*(\d+) kB", pathlib.Path("/proc/self/status").read_text(encoding="utf-8"))
    os._exit(0 if highest and int(highest.group(1)) < 150 << 10 else 1)


if __name__ == "__main__":
    main()
