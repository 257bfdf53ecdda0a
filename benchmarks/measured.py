# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""``python benchmarks/measured.py OUTPUT COMMAND…`` runs the command, writes its output to OUTPUT, and prints its cost.

The cost is JSON: wall seconds, CPU seconds of all its processes, and its exit status. Daemons that the command leaves
behind count too: they become children of this process, because only a parent learns the cost of a process, and are
waited for.
"""

from __future__ import annotations

import ctypes
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

SET_CHILD_SUBREAPER = 36  # from <linux/prctl.h>
LONGEST = 150  # sccache's server ends when it is told to, or after two idle minutes


def adopt_orphans() -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")


def bury() -> None:
    """Wait for the daemons that were left behind."""
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        try:
            pid, _status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            time.sleep(0.05)
    sys.exit(f"a process that was left behind does not end within {LONGEST} s, so nobody knows its CPU seconds")


def main() -> int:
    adopt_orphans()
    with pathlib.Path(sys.argv[1]).open("wb") as output:
        began = time.monotonic()
        code = subprocess.run(
            sys.argv[2:], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False
        ).returncode
        wall = time.monotonic() - began
    bury()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps({"wall": wall, "cpu": used.ru_utime + used.ru_stime, "code": code}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
