# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Let the phases that need a GPU run to their end without one, to find typos before a real run.

In a mount namespace the device nodes are files, nvidia-smi and libcuda are replaced, and a release for the CPU opens
those nodes and reports the memory that a GPU would have lost. The results say nothing about a GPU.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import typing

if typing.TYPE_CHECKING:
    import pathlib

TOTAL, CONTEXT = 143771, 520  # MiB of the GPU, and of a program's CUDA context
UUID = "GPU-5f3a9c1e-0b7d-4a52-9d0e-2c61f8b7e410"
# Each file of ``state`` is named after a process and holds the MiB that it takes.
_SMI = """#!{python} -IS
import os, sys
STATE = {state!r}
running = [pid for pid in sorted(os.listdir(STATE)) if os.path.exists(f"/proc/{{pid}}/fd/9")]
held = {{pid: int(open(f"{{STATE}}/{{pid}}").read()) for pid in running}}
used, asked = sum(held.values()), sys.argv[1] if len(sys.argv) > 1 else ""
known = dict(zip(("index", "name", "driver_version", "memory.total"), ("0", "NVIDIA H200", "580.95.05", "{total}")))
known.update({{"memory.used": used, "memory.free": {total} - used, "utilization.gpu": 87}})
known.update({{"uuid": "{uuid}", "compute_cap": "9.0"}})
if asked.startswith("--query-compute-apps=pid,gpu_uuid,used_memory"):
    print("".join(f"{{pid}}, {uuid}, {{mib}}\\n" for pid, mib in held.items()), end="")
elif asked.startswith("--query-gpu="):
    print(", ".join(str(known[name]) for name in asked.partition("=")[2].split(",")))
elif asked == "-q":
    process = ("<process_info><pid>%s</pid><type>C</type><process_name>a program</process_name>"
        "<used_memory>%s MiB</used_memory></process_info>")
    print("<nvidia_smi_log><driver_version>580.95.05</driver_version><cuda_version>13.0</cuda_version>"
        "<gpu id='00000000:65:00.0'>"
        "<uuid>{uuid}</uuid><product_name>NVIDIA H200</product_name><product_architecture>Hopper</product_architecture>"
        f"<fb_memory_usage><total>{total} MiB</total><free>{{{total} - used}} MiB</free></fb_memory_usage>"
        "<processes>" + "".join(process % each for each in held.items()) + "</processes></gpu></nvidia_smi_log>")
else:
    sys.exit(2)
"""
_SERVER = """#!/bin/sh
hidden=no; [ -n "${{CUDA_VISIBLE_DEVICES-GPU}}" ] || hidden=yes
case " $* " in
*" --help "*) exec {bin}/llama-server "$@";;
*" --list-devices "*)
    echo "Available devices:"
    free=$(($(nvidia-smi --query-gpu=memory.free) - {context}))
    [ $hidden = yes ] || echo "  CUDA0: NVIDIA H200 ({total} MiB, $free MiB free)"
    exit 0;;
esac
if [ $hidden = no ]; then
    taken=$({here}/llama-fit-params --fit-print on |
        sed -n 's/^CUDA0 \\([0-9]*\\) \\([0-9]*\\) \\([0-9]*\\).*/\\1+\\2+\\3/p')
    echo $((({context} + $taken) * {percent} / 100)) > {state}/$$
    exec 8</dev/nvidiactl 9</dev/nvidia0
fi
unset LLAMA_ARG_N_GPU_LAYERS LLAMA_ARG_MAIN_GPU
LLAMA_ARG_DEVICE=none exec {bin}/llama-server "$@"
"""
_PLANNER = """#!/bin/sh
unset LLAMA_ARG_N_GPU_LAYERS LLAMA_ARG_MAIN_GPU
export LLAMA_ARG_DEVICE=none
case " $* " in *" --help "*) exec {bin}/llama-fit-params "$@";; esac
{bin}/llama-fit-params "$@" > {state}.plan.$$ || exit
sed 's/^Host/CUDA0/' {state}.plan.$$
echo "Host 1 0 1 "
rm {state}.plan.$$
"""
_BENCH = """#!/bin/sh
for word; do shift; [ "$word" != CUDA0 ] || word=none; set -- "$@" "$word"; done
exec {bin}/llama-bench "$@"
"""
# The functions of the driver's library that tests/gpu/hold.py calls.
_LIBRARY = """
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int cuInit(unsigned flags) { return 0; }
int cuDeviceGet(int *device, int number) { *device = number; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = device ? 0 : (void *)1; return 0; }
int cuCtxSetCurrent(void *context) { return context ? 0 : 201; }
int cuMemGetInfo_v2(size_t *free, size_t *total) {
    unsigned long mib = 0;
    FILE *smi = popen("nvidia-smi --query-gpu=memory.free", "r");
    if (!smi || fscanf(smi, "%lu", &mib) != 1) return 999;
    pclose(smi);
    *free = mib << 20; *total = (size_t)TOTAL << 20;
    return 0;
}
int cuMemAlloc_v2(unsigned long long *address, size_t size) {
    char path[4096];
    FILE *state;
    size_t free, total;
    if (cuMemGetInfo_v2(&free, &total)) return 999;
    if (size > free) return 2;
    snprintf(path, sizeof path, STATE "/%d", getpid());
    state = fopen(path, "w");
    if (!state || fprintf(state, "%lu", (unsigned long)(size >> 20)) < 0 || fclose(state)) return 999;
    *address = 4096;
    return dup2(open("/dev/nvidia0", O_RDONLY), 9) == 9 ? 0 : 999;
}
"""
_ENTER = """#!/bin/sh
# Runs a command where /dev has the nodes of a GPU, nvidia-smi is on the path and libcuda can be loaded.
set -eu
case ${{1-}} in --inside) shift;; *) exec unshare {user} --mount "$0" --inside "$@";; esac
mount -t tmpfs tmpfs {dev}
for name in null zero full random urandom tty; do touch {dev}/$name; mount --bind /dev/$name {dev}/$name; done
mkdir {dev}/shm {dev}/pts
mount --rbind /dev/shm {dev}/shm
mount --rbind /dev/pts {dev}/pts
for pair in fd:fd stdin:fd/0 stdout:fd/1 stderr:fd/2; do ln -s "/proc/self/${{pair#*:}}" "{dev}/${{pair%%:*}}"; done
touch {dev}/nvidia0 {dev}/nvidiactl {dev}/nvidia-uvm
mount --rbind {dev} /dev
# Where modules look for it, whatever the path is.
mount -t overlay overlay -o lowerdir={place}/usr/bin:/usr/local/bin /usr/local/bin
PATH={place}/usr/bin:$PATH LD_LIBRARY_PATH={place}/lib exec "$@"
"""


class CannotError(Exception):
    """No rehearsal is possible here; the message is a reason that tests/harness/skips.py knows."""


def install(place: pathlib.Path, release: pathlib.Path, percent: int = 100) -> pathlib.Path:
    """Fill the folder ``place`` and return a release that needs its GPU, or raise CannotError.

    ``percent`` is the share of the planned memory that its servers take. ``place/enter COMMAND`` runs a command with
    that GPU.
    """
    wrapped, state = place / "release", place / "state"
    for folder in (place / "usr/bin", place / "lib", place / "dev", state, wrapped / "bin"):
        folder.mkdir(parents=True)
    values = {
        "bin": shlex.quote(str(release / "bin")),
        "here": wrapped / "bin",
        "state": state,
        "total": TOTAL,
        "context": CONTEXT,
        "percent": percent,
    }
    _program(place / "usr/bin/nvidia-smi", _SMI.format(python=sys.executable, state=str(state), total=TOTAL, uuid=UUID))
    for name, text in (("llama-server", _SERVER), ("llama-fit-params", _PLANNER), ("llama-bench", _BENCH)):
        _program(wrapped / "bin" / name, text.format(**values))
    (wrapped / "manifest.json").write_bytes((release / "manifest.json").read_bytes())
    _compile(place, state)
    _program(place / "enter", _ENTER.format(user=_user(), dev=place / "dev", place=place))
    return wrapped


def _program(path: pathlib.Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def _compile(place: pathlib.Path, state: pathlib.Path) -> None:
    command = [
        "cc",
        "-shared",
        "-fPIC",
        "-x",
        "c",
        "-",
        "-o",
        str(place / "lib/libcuda.so.1"),
        f'-DSTATE="{state}"',
        f"-DTOTAL={TOTAL}",
    ]
    try:
        subprocess.run(command, input=_LIBRARY, text=True, check=True, capture_output=True, timeout=60)
    except FileNotFoundError:
        raise CannotError("a rehearsal wants a C compiler") from None
    except subprocess.CalledProcessError as error:
        raise CannotError(
            f"a rehearsal wants a C compiler that works, and this one says {error.stderr.strip()[:300]}"
        ) from None


def _user() -> str:
    """Return how to call ``unshare`` here: as root, otherwise in a user namespace."""
    for word in ("", "--map-root-user"):
        try:
            done = subprocess.run(
                ["unshare", *word.split(), "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
                capture_output=True,
                check=False,
                timeout=60,
            )
        except FileNotFoundError:
            raise CannotError("a rehearsal wants unshare, of util-linux") from None
        if done.returncode == 0:
            return word
    raise CannotError(
        f"a rehearsal wants mounts of its own, and unshare says {done.stderr.decode(errors='replace').strip()[:200]}"
    )
