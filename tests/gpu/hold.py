# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""``python -m tests.gpu.hold MIB`` holds MIB MiB of the first GPU until its input ends.

A negative MIB takes everything except that much. It prints what it has taken.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
import typing

LIBRARY = "libcuda.so.1"
_MIB = 1 << 20
_PATIENCE = 60.0


class HoldError(Exception):
    """The memory cannot be held; the message is the reason, as a clause."""


def take(mib: int, library: str = LIBRARY) -> int:
    """Take ``mib`` MiB of the first GPU, or leave ``-mib`` MiB free; return how many MiB were taken, or raise
    HoldError.
    """
    try:
        cuda = ctypes.CDLL(library)
    except OSError as error:
        raise HoldError(f"{library} cannot be loaded: {error}") from None
    device, context = ctypes.c_int(), ctypes.c_void_p()
    free, total, address = ctypes.c_size_t(), ctypes.c_size_t(), ctypes.c_uint64()
    _check(cuda.cuInit(0), "cuInit")
    _check(cuda.cuDeviceGet(ctypes.byref(device), 0), "cuDeviceGet")
    _check(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), "cuDevicePrimaryCtxRetain")
    _check(cuda.cuCtxSetCurrent(context), "cuCtxSetCurrent")
    _check(cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)), "cuMemGetInfo")
    size = mib * _MIB if mib >= 0 else free.value + mib * _MIB
    if size <= 0:
        raise HoldError(f"only {free.value // _MIB} MiB are free")
    _check(cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size)), "cuMemAlloc")
    return size // _MIB


def _check(code: int, call: str) -> None:
    if code:
        raise HoldError(f"{call} returns {code}")


@contextlib.contextmanager
def held(mib: int, python_path: str) -> typing.Iterator[tuple[int, int]]:
    """Let another process take GPU memory as ``take`` does; yield its pid and MiB, or raise HoldError."""
    command = [sys.executable, "-P", "-m", "tests.gpu.hold", str(mib)]
    pipe, environment = subprocess.PIPE, {**os.environ, "PYTHONPATH": python_path}
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout
        assert process.stderr
        said = process.stdout.readline().split()
        if said[:1] != ["held"]:
            raise HoldError(process.stderr.read().strip() or "it ended without a word")
        try:
            yield process.pid, int(said[1])
        finally:
            process.communicate(timeout=_PATIENCE)


def main() -> int:
    try:
        taken = take(int(sys.argv[1]))
    except HoldError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"held {taken}\n")
    sys.stdout.flush()
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
