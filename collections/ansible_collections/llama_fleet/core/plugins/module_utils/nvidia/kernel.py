# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What the kernel of a host shows of its NVIDIA devices: the PCI bus, modules, device nodes, its log, and whether
it is a container's.
"""

from __future__ import annotations

import dataclasses
import os
import re
import stat
import typing

if typing.TYPE_CHECKING:
    import pathlib

_VENDOR = "0x10de"
_DISPLAY_CLASSES = ("0x0300", "0x0302", "0x0380")  # VGA, 3D and other display controllers; not audio, USB or NVSwitch
_SWITCH_CLASS = "0x0680"
# The driver's module under each of the names that distributions give it, but none of its companions.
_MODULE_FILE = re.compile(r"/nvidia(-(current|open|tesla|legacy|server|\d)[\w.-]*)?\.ko")
_LOG_SIZE = 1 << 20
_RECORDS = 200_000  # more than any ring holds: a log that grows while it is read comes to an end
# Xids after which a GPU needs a reset, or worse. The others are the fault of a program.
FATAL_XIDS = {
    48: "an uncorrectable memory error",
    62: "a halted controller",
    64: "a memory row that cannot be replaced",
    74: "an NVLink error",
    79: "fallen off the bus",
    94: "a contained memory error",
    95: "an uncontained memory error",
    110: "a security fault",
    119: "a firmware that does not answer",
    120: "a firmware error",
    136: "a link error",
    140: "an unrecovered memory error",
    143: "a failed start",
    154: "a state that needs a recovery",
}


@dataclasses.dataclass(frozen=True)
class Device:
    """A GPU on the PCI bus, and the kernel driver that is bound to it; of a device file only the path is known."""

    address: str
    driver: str = ""


@dataclasses.dataclass(frozen=True)
class Node:
    """A device file: who may open it."""

    path: str
    mode: int
    uid: int
    gid: int


@dataclasses.dataclass(frozen=True)
class Account:
    """The user of a server: its ids; one that is not there yet, or is made for each start, has none."""

    name: str
    uid: int = -1
    gids: tuple[int, ...] = ()

    def may_open(self, node: Node) -> bool:
        """Whether it may read and write; as for the kernel, the first of owner, group and others that applies
        decides.
        """
        if self.uid == 0:
            return True
        shift = 6 if self.uid == node.uid else 3 if node.gid in self.gids else 0
        return node.mode >> shift & 6 == 6


def pci_devices(root: pathlib.Path) -> list[Device]:
    """The NVIDIA display devices; device files count where the bus is not visible."""
    folders = sorted((root / "sys/bus/pci/devices").glob("*"))
    displays = [
        folder
        for folder in folders
        if text(folder / "vendor") == _VENDOR and text(folder / "class")[:6] in _DISPLAY_CLASSES
    ]
    found = [
        Device(folder.name, (folder / "driver").resolve().name if (folder / "driver").exists() else "")
        for folder in displays
    ]
    return found or [Device(f"/dev/{node.name}") for node in sorted((root / "dev").glob("nvidia[0-9]*"))]


def has_switches(root: pathlib.Path) -> bool:
    """Whether NVSwitches connect the GPUs, which need the fabric manager."""
    folders = (root / "sys/bus/pci/devices").glob("*")
    return any(text(folder / "vendor") == _VENDOR and text(folder / "class")[:6] == _SWITCH_CLASS for folder in folders)


def runs(root: pathlib.Path, program: str) -> bool:
    """Whether a process of this name runs; the kernel keeps 15 letters of it."""
    return any(text(process) == program[:15] for process in (root / "proc").glob("[0-9]*/comm"))


def module_version(root: pathlib.Path) -> str:
    """Version of the loaded nvidia kernel module; empty where none is loaded."""
    match = re.search(r"Kernel Module\s+(?:for \S+\s+)?(\d+(?:\.\d+)+)", text(root / "proc/driver/nvidia/version"))
    return match[1] if match else ""


def kernel_release(root: pathlib.Path) -> str:
    """As ``uname -r`` says it."""
    return text(root / "proc/sys/kernel/osrelease")


def has_module(root: pathlib.Path) -> bool | None:
    """Whether there is an nvidia module for the running kernel; None where its modules are not to be seen."""
    listed = text(root / "lib/modules" / kernel_release(root) / "modules.dep")
    return bool(_MODULE_FILE.search(listed)) if listed else None


def secure_boot(root: pathlib.Path) -> bool:
    """Whether the firmware enforces signatures; behind four bytes of attributes there is one that says so."""
    try:
        return any(
            path.read_bytes()[-1:] == b"\x01" for path in (root / "sys/firmware/efi/efivars").glob("SecureBoot-*")
        )
    except OSError:
        return False


def container(root: pathlib.Path) -> str:
    """What kind of container this is; empty outside of one."""
    for path, kind in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
        if (root / path).exists():
            return kind
    environment = text(root / "proc/1/environ").split("\0")
    named = [word.partition("=")[2] for word in environment if word.startswith("container=")]
    if any(word.startswith("KUBERNETES_SERVICE_HOST=") for word in environment):
        named.append("kubernetes")
    return next(iter(named), "") or text(root / "run/systemd/container")


def is_wsl(root: pathlib.Path) -> bool:
    """Whether the kernel is that of the Windows Subsystem for Linux, where there is neither a PCI GPU nor a kernel
    module.
    """
    return "microsoft" in kernel_release(root).lower()


def nodes(root: pathlib.Path) -> dict[str, Node]:
    """The driver's device files by their names."""
    files = [
        (path, path.stat()) for path in sorted((root / "dev").glob("nvidia*")) if path.exists() and not path.is_dir()
    ]
    return {
        path.name: Node(f"/dev/{path.name}", stat.S_IMODE(state.st_mode), state.st_uid, state.st_gid)
        for path, state in files
    }


def log(root: pathlib.Path) -> str:
    """The kernel's messages since the host started, as far as they are kept and may be read."""
    return _ring(root / "dev/kmsg") or _since_boot(root / "var/log/kern.log")


def refused_module(messages: str) -> bool:
    """Whether a module was not loaded for want of a signature. That one 'taints' the kernel is no refusal."""
    return re.search(r"Loading of .*module.* is rejected|unsigned module loading is restricted", messages) is not None


def fatal_xids(messages: str) -> dict[str, int]:
    """The last Xid of each GPU after which it cannot be trusted, by its place on the bus."""
    found = re.findall(r"NVRM: Xid \(PCI:([0-9a-fA-F]+:[0-9a-fA-F]+:[0-9a-fA-F]+)[^)]*\): (\d{1,4})\b", messages)
    return {place(address): int(number) for address, number in found if int(number) in FATAL_XIDS}


def unsupported(messages: str) -> dict[str, str]:
    """By what each GPU is not supported that the driver refuses, by its place; of one that needs a legacy driver
    only the name is told.
    """
    joined = re.sub(r"\n[^\n]*?NVRM: *", " ", messages)
    refused = (
        r"The NVIDIA GPU (\S+) \(PCI ID: \S+\) +installed in this system is not supported by (open "
        r"nvidia\.ko|the NVIDIA \S+ driver release)"
    )
    found = {place(address): by for address, by in re.findall(refused, joined)}
    legacy = re.findall(
        r"The NVIDIA ([^\n]{1,80}?) GPU installed in this system is supported through the NVIDIA (\S+) Legacy drivers",
        joined,
    )
    return {**found, **{name: f"this driver, but by the legacy drivers {version}" for name, version in legacy}}


def failed_starts(messages: str) -> set[str]:
    """Places of the GPUs that the driver could not start."""
    return {place(address) for address in re.findall(r"NVRM: GPU ([0-9a-fA-F:]+\.\d): RmInitAdapter failed", messages)}


def place(address: str) -> str:
    """``00000000:65:00.0``, ``0000:65:00.0`` and ``0000:65:00`` are the same GPU; anything else stands for itself."""
    match = re.fullmatch(r"([0-9a-fA-F]{1,8}):([0-9a-fA-F]{1,2}):([0-9a-fA-F]{1,2})(?:\.\d)?", address)
    return "{:04x}:{:02x}:{:02x}".format(*(int(part, 16) for part in match.groups())) if match else address


def text(path: pathlib.Path) -> str:
    """What a small file says; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _ring(path: pathlib.Path) -> str:
    """The messages of /dev/kmsg, which hands out one with each read and never ends by itself."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        lines = b"".join(_records(file)).decode("utf-8", "replace").split("\n")
    finally:
        os.close(file)
    # "4,1234,567890,-;NVRM: ...", and behind it lines of " KEY=value".
    return "\n".join(re.sub(r"^\d+,\d+,\d+,[^;]*;", "", line) for line in lines if not line.startswith(" "))


def _records(file: int) -> typing.Iterator[bytes]:
    for _count in range(_RECORDS):
        try:
            record = os.read(file, 8192)
        except BrokenPipeError:  # overwritten before it was read: the next one is there
            continue
        except OSError:
            return
        if not record:
            return
        yield record


def _since_boot(path: pathlib.Path) -> str:
    """The end of a log file, behind the line with which a kernel begins."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_SIZE))
            messages = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return messages.rpartition("] Linux version ")[2]
