# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Read from the driver's library what the XML of nvidia-smi lacks.

This runs as a child process, because a hanging driver blocks the process that calls it.
"""

from __future__ import annotations

import sys
import typing

if typing.TYPE_CHECKING:
    import importlib.abc
if typing.TYPE_CHECKING or __name__ == "__main__":
    import ctypes  # only the child needs it, and a minimal Python may lack it


def source() -> str:
    """Return this file's source for the child; the module may be imported from an archive."""
    return typing.cast("importlib.abc.InspectLoader", __spec__.loader).get_source(__name__) or ""


def main(libraries: typing.Sequence[str]) -> int:
    """Print ``UUID CAPABILITY`` for each GPU and ``UUID GPU-INSTANCE COMPUTE-INSTANCE MIG-UUID`` for each MIG device.

    Return the exit code: 1 if no library can be loaded or the driver does not answer.
    """
    for name in libraries:
        try:
            nvml = ctypes.CDLL(name)
            break
        except OSError as error:
            sys.stderr.write(f"{error}\n")
    else:
        return 1
    count = ctypes.c_uint()
    if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        sys.stderr.write("the driver's library does not answer\n")
        return 1
    for index in range(count.value):
        gpu = ctypes.c_void_p()
        if not nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(gpu)):
            print_gpu(nvml, gpu)
    return 0


def print_gpu(nvml: ctypes.CDLL, gpu: ctypes.c_void_p) -> None:
    """Print the lines of one GPU."""
    major, minor, count = ctypes.c_int(), ctypes.c_int(), ctypes.c_uint()
    uuid = uuid_of(nvml, gpu)
    if not nvml.nvmlDeviceGetCudaComputeCapability(gpu, ctypes.byref(major), ctypes.byref(minor)):
        sys.stdout.write(f"{uuid} {major.value}.{minor.value}\n")
    if nvml.nvmlDeviceGetMaxMigDeviceCount(gpu, ctypes.byref(count)):
        return
    for index in range(count.value):
        part, instance, compute = ctypes.c_void_p(), ctypes.c_uint(), ctypes.c_uint()
        if nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, index, ctypes.byref(part)):
            continue
        if nvml.nvmlDeviceGetGpuInstanceId(part, ctypes.byref(instance)) or nvml.nvmlDeviceGetComputeInstanceId(
            part, ctypes.byref(compute)
        ):
            continue
        sys.stdout.write(f"{uuid} {instance.value} {compute.value} {uuid_of(nvml, part)}\n")


def uuid_of(nvml: ctypes.CDLL, device: ctypes.c_void_p) -> str:
    """Return the UUID of a GPU or MIG device as nvidia-smi prints it, or an empty string."""
    text = ctypes.create_string_buffer(96)
    return "" if nvml.nvmlDeviceGetUUID(device, text, len(text)) else text.value.decode("ascii", "replace")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
