# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A host with NVIDIA GPUs as a folder: proc, sys, dev, etc and var, and programs that replay what real ones print."""

from __future__ import annotations

import pathlib
import re
import shlex
import shutil
import subprocess
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import examine as nvidia_host
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import observe as nvidia
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.host import GpuHost
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.requirements import Requirements

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.findings import Finding
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.kernel import Account

FIXTURES = pathlib.Path(__file__).parents[1] / "plugins/module_utils/fixtures/nvidia"
KERNEL = "6.8.0-50-generic"
DEVICE = "0000:65:00.0"
ONE_CALL = ["nvidia-smi -q -x"]
H100 = "GPU-5f3a9c1e-0b7d-4a52-9d0e-2c61f8b7e410"
NOTHING = Requirements()


def document(name: str, count: int = 1) -> str:
    """One of the recorded documents, its GPU repeated with other UUIDs and places."""
    text = (FIXTURES / f"{name}.xml").read_text(encoding="utf-8")
    match = re.search(r"\t<gpu id=.*</gpu>\n", text, re.DOTALL)
    assert match is not None
    gpus = [match[0]]
    for index in range(1, count):
        moved = re.sub(r"00000000:[0-9A-F]{2}:00\.0", f"00000000:{0xA0 + index:02X}:00.0", match[0])
        gpus.append(re.sub(r"(<uuid>GPU-.*)[0-9a-f]{2}<", rf"\g<1>{index:02x}<", moved))
    return text.replace(match[0], "".join(gpus)).replace("<attached_gpus>1<", f"<attached_gpus>{count}<")


def edited(text: str, **values: str) -> str:
    """Replace the text of the first element of each of these names."""
    for name, value in values.items():
        text, count = re.subn(rf"<{name}>[^<]*</{name}>", f"<{name}>{value}</{name}>", text, count=1)
        assert count == 1, name
    return text


class FakeGpuHost:
    """Starts as a machine without anything of NVIDIA's."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.write("proc/sys/kernel/osrelease", f"{KERNEL}\n")
        self.write("proc/meminfo", "MemTotal: 9 kB\nMemAvailable: 4096000 kB\n")
        (root / "dev").mkdir(exist_ok=True)

    @property
    def host(self) -> GpuHost:
        return GpuHost(commands.run, self.root, ("/usr/bin",))

    def write(self, path: str, text: str) -> pathlib.Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def program(self, name: str, script: str) -> None:
        """Write a program that records each call."""
        self.write(
            f"usr/bin/{name}", f'#!/bin/sh\necho "${{0##*/}} $*" >> {shlex.quote(str(self.root / "calls"))}\n{script}\n'
        ).chmod(0o755)

    def calls(self, name: str = "nvidia-smi") -> list[str]:
        """Return the command lines with which the program was called."""
        file = self.root / "calls"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [line for line in lines if line.startswith(f"{name} ")]

    def device(
        self, address: str = "0000:65:00.0", driver: str = "nvidia", vendor: str = "0x10de", pci_class: str = "0x030200"
    ) -> None:
        self.write(f"sys/bus/pci/devices/{address}/vendor", f"{vendor}\n")
        self.write(f"sys/bus/pci/devices/{address}/class", f"{pci_class}\n")
        if driver:
            (self.root / f"sys/bus/pci/drivers/{driver}").mkdir(parents=True, exist_ok=True)
            (self.root / f"sys/bus/pci/devices/{address}/driver").symlink_to(
                self.root / f"sys/bus/pci/drivers/{driver}"
            )

    def module(self, version: str = "580.95.05", loaded: bool = True, built: bool = True) -> None:
        """Add the kernel module: built for the running kernel, and loaded."""
        other = "kernel/drivers/gpu/drm/nouveau/nouveau.ko.zst: kernel/drivers/video/nvidia-helper/nvidia-wmi.ko\n"
        mine = (
            "updates/dkms/nvidia.ko.zst: kernel/drivers/acpi/video.ko.zst\n"
            if built
            else "updates/dkms/nvidia-uvm.ko: updates/x.ko\n"
        )
        self.write(f"lib/modules/{KERNEL}/modules.dep", other + mine)
        if loaded:
            line = (
                f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build  (root@host)  "
                f"Sun Jul 27 07:12:13 UTC 2025"
            )
            self.write("proc/driver/nvidia/version", f"{line}\nGCC version:  gcc version 12.2.0\n")

    def nodes(self, *names: str, mode: int = 0o666) -> None:
        for name in names or ("nvidiactl", "nvidia0", "nvidia-uvm", "nvidia-uvm-tools"):
            self.write(f"dev/{name}", "").chmod(mode)

    def smi(self, log: str = "", code: int = 0, table: str = "", table_code: int = 0, stderr: str = "") -> None:
        """Write a nvidia-smi that answers its two queries with these texts and exit codes."""
        self.write("smi.out", f"{log}\n")
        self.write("smi.err", stderr)
        files = [shlex.quote(str(self.root / name)) for name in ("smi.out", "smi.err")]
        first = f'if [ "$1 $2" = "-q -x" ]; then cat {files[0]}; cat {files[1]} >&2; exit {code}; fi\n'
        second = (
            f'if [ "$1" = "--query-gpu=uuid,compute_cap" ]; then printf "%s\\n" {shlex.quote(table)}; exit '
            f"{table_code}; fi\n"
        )
        self.program("nvidia-smi", f"{first}{second}exit 3")

    def healthy(self, log: str = "", address: str = "0000:65:00.0") -> None:
        """Make the host free of findings."""
        self.device(address)
        self.module()
        self.nodes()
        self.smi(log or document("h100_driver_580"))

    def kernel_log(self, *messages: str) -> None:
        """As a reader of /dev/kmsg gets them."""
        lines = [
            f"4,{number},{number * 1000},-;{message}\n SUBSYSTEM=pci\n" for number, message in enumerate(messages, 100)
        ]
        self.write("dev/kmsg", "".join(lines))

    def observe(self) -> nvidia.Observation:
        return nvidia.observe(self.host)

    def examine(self, wanted: Requirements = NOTHING, account: Account | None = None) -> nvidia_host.Examination:
        return nvidia_host.examine(self.host, wanted, account)

    def findings(self, wanted: Requirements = NOTHING, account: Account | None = None) -> tuple[Finding, ...]:
        return self.examine(wanted, account).seen.findings


def codes(findings: typing.Iterable[Finding]) -> list[tuple[str, str]]:
    return [(finding.code, finding.severity) for finding in findings]


def check(findings: typing.Sequence[Finding], code: str, severity: str, found: str, wanted: str, fix: str) -> None:
    """Assert that there is a finding ``code`` with exactly ``found``, and these words in ``wanted`` and ``fix``."""
    finding = next((finding for finding in findings if finding.code == code), None)
    assert finding is not None, [str(each) for each in findings]
    assert (finding.severity, finding.found) == (severity, found)
    assert wanted in finding.wanted
    assert fix in finding.fix


# A driver's library of two functions' worth: GPUs of given UUIDs and capabilities, the first with two MIG devices.
_LIBRARY = """
#include <string.h>
static const char *uuids[] = {%(uuids)s};
static const int majors[] = {%(majors)s}, minors[] = {%(minors)s};
static const char *parts[] = {%(parts)s};
int nvmlInit_v2(void) { return %(init)s; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = %(count)s; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h) { *h = (void *)(size_t)(i + 1); return 0; }
int nvmlDeviceGetUUID(void *h, char *text, unsigned length)
{ size_t i = (size_t)h; strncpy(text, i > 100 ? parts[i - 101] : uuids[i - 1], length); return 0; }
int nvmlDeviceGetCudaComputeCapability(void *h, int *major, int *minor)
{ *major = majors[(size_t)h - 1]; *minor = minors[(size_t)h - 1]; return *major ? 0 : 3; }
int nvmlDeviceGetMaxMigDeviceCount(void *h, unsigned *n) { *n = h == (void *)1 ? 7 : 0; return 0; }
int nvmlDeviceGetMigDeviceHandleByIndex(void *h, unsigned i, void **part)
{ if (i >= %(part_count)s) return 6; *part = (void *)(size_t)(101 + i); return 0; }
int nvmlDeviceGetGpuInstanceId(void *h, unsigned *id) { *id = (size_t)h - 101 + 3; return 0; }
int nvmlDeviceGetComputeInstanceId(void *h, unsigned *id) { *id = 0; return 0; }
"""


def has_compiler() -> bool:
    return shutil.which("cc") is not None


def add_library(
    host: FakeGpuHost, gpus: typing.Mapping[str, str], parts: typing.Sequence[str] = (), init: int = 0
) -> None:
    """Compile the driver's library for this host, beside its nvidia-smi.

    A capability ``0.0`` is one it does not tell.
    """
    pairs = [capability.split(".") for capability in gpus.values()]
    source = _LIBRARY % {
        "uuids": ", ".join(f'"{uuid}"' for uuid in gpus),
        "majors": ", ".join(pair[0] for pair in pairs),
        "minors": ", ".join(pair[1] for pair in pairs),
        "parts": ", ".join(f'"{part}"' for part in (*parts, "")),
        "part_count": len(parts),
        "count": len(gpus),
        "init": init,
    }
    file = host.write("usr/lib/nvml.c", source)
    subprocess.run(
        ["cc", "-w", "-shared", "-fPIC", "-O0", "-o", str(host.root / "usr/lib/libnvidia-ml.so.1"), str(file)],
        check=True,
    )
