# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Read the kernel's view of a host's NVIDIA devices: PCI bus, modules, device files, log, and kind of container."""

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
# The driver's module under the names that distributions give it, without its companion modules.
_MODULE_FILE = re.compile(r"/nvidia(-(current|open|tesla|legacy|server|\d)[\w.-]*)?\.ko")
# By the major version of Jetson Linux (L4T).
_JETSON_DRIVERS = {"36": "540", "38": "580", "39": "595"}
_LOG_SIZE = 1 << 20
_RECORDS = 200_000  # more than any ring buffer holds, so reading a log that keeps growing ends
_FALLEN = 79
# Xids after which a GPU needs a reset or worse. Programs cause the others.
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
    """A GPU on the PCI bus and the kernel driver bound to it. One known only by its device file has no driver."""

    address: str
    driver: str = ""


@dataclasses.dataclass(frozen=True)
class Node:
    """A device file, its mode and its owner."""

    path: str
    mode: int
    uid: int
    gid: int


@dataclasses.dataclass(frozen=True)
class Account:
    """The user of a server. Without ids if the user does not exist yet or is created at each start."""

    name: str
    uid: int = -1
    gids: tuple[int, ...] = ()

    def may_open(self, node: Node) -> bool:
        """Return whether the account may read and write. As in the kernel, the first matching class decides."""
        if self.uid == 0:
            return True
        shift = 6 if self.uid == node.uid else 3 if node.gid in self.gids else 0
        return node.mode >> shift & 6 == 6


def pci_devices(root: pathlib.Path) -> list[Device]:
    """List the NVIDIA display devices. Where the PCI bus is not visible, list the device files instead."""
    folders = sorted((root / "sys/bus/pci/devices").glob("*"))
    displays = [
        folder
        for folder in folders
        if text(folder / "vendor") == _VENDOR and text(folder / "class")[:6] in _DISPLAY_CLASSES
    ]
    devices = [
        Device(folder.name, (folder / "driver").resolve().name if (folder / "driver").exists() else "")
        for folder in displays
    ]
    return devices or [Device(f"/dev/{node.name}") for node in sorted((root / "dev").glob("nvidia[0-9]*"))]


def has_switches(root: pathlib.Path) -> bool:
    """Return whether NVSwitches connect the GPUs, in which case they need the fabric manager."""
    folders = (root / "sys/bus/pci/devices").glob("*")
    return any(text(folder / "vendor") == _VENDOR and text(folder / "class")[:6] == _SWITCH_CLASS for folder in folders)


def runs(root: pathlib.Path, program: str) -> bool:
    """Return whether a process of this name runs; the kernel keeps the first 15 characters of a name."""
    return any(text(process) == program[:15] for process in (root / "proc").glob("[0-9]*/comm"))


def module_version(root: pathlib.Path) -> str:
    """Return the version of the loaded nvidia kernel module, or an empty string."""
    match = re.search(r"Kernel Module\s+(?:for \S+\s+)?(\d+(?:\.\d+)+)", text(root / "proc/driver/nvidia/version"))
    return match[1] if match else ""


def kernel_release(root: pathlib.Path) -> str:
    """Return the kernel release as ``uname -r`` prints it."""
    return text(root / "proc/sys/kernel/osrelease")


def has_module(root: pathlib.Path) -> bool | None:
    """Return whether the running kernel has an nvidia module; None if its modules are not visible."""
    listed = text(root / "lib/modules" / kernel_release(root) / "modules.dep")
    return bool(_MODULE_FILE.search(listed)) if listed else None


def secure_boot(root: pathlib.Path) -> bool:
    """Return whether the firmware enforces signatures: the byte after the four attribute bytes of SecureBoot is 1."""
    try:
        return any(
            path.read_bytes()[-1:] == b"\x01" for path in (root / "sys/firmware/efi/efivars").glob("SecureBoot-*")
        )
    except OSError:
        return False


def container(root: pathlib.Path) -> str:
    """Return the kind of container, or an empty string outside of one."""
    for path, kind in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
        if (root / path).exists():
            return kind
    environment = text(root / "proc/1/environ").split("\0")
    named = [word.partition("=")[2] for word in environment if word.startswith("container=")]
    if any(word.startswith("KUBERNETES_SERVICE_HOST=") for word in environment):
        named.append("kubernetes")
    return next(iter(named), "") or text(root / "run/systemd/container")


def is_wsl(root: pathlib.Path) -> bool:
    """Return whether this is the Windows Subsystem for Linux, which has neither a PCI GPU nor a kernel module."""
    return "microsoft" in kernel_release(root).lower()


def is_jetson(root: pathlib.Path) -> bool:
    """Return whether this is a board with NVIDIA's Tegra, whose GPU has other device files and no PCI address."""
    return "nvidia,tegra" in text(root / "proc/device-tree/compatible")


def jetson_driver(root: pathlib.Path) -> str:
    """Return the driver's major version that belongs to a Jetson's release, or an empty string if it is unknown."""
    match = re.match(r"# R(\d+) ", text(root / "etc/nv_tegra_release"))
    return _JETSON_DRIVERS.get(match[1], "") if match else ""


def finds_library(root: pathlib.Path, path: str) -> bool:
    """Return whether the loader's cache names the library; also if there is no cache to read."""
    try:
        return os.fsencode(path) in (root / "etc/ld.so.cache").read_bytes()
    except OSError:
        return True


def nodes(root: pathlib.Path) -> dict[str, Node]:
    """Return the driver's device files by name."""
    files = [
        (path, path.stat()) for path in sorted((root / "dev").glob("nvidia*")) if path.exists() and not path.is_dir()
    ]
    return {
        path.name: Node(f"/dev/{path.name}", stat.S_IMODE(state.st_mode), state.st_uid, state.st_gid)
        for path, state in files
    }


def log(root: pathlib.Path) -> str:
    """Return the kernel's messages since boot, as far as they are kept and readable."""
    return _ring(root / "dev/kmsg") or _since_boot(root / "var/log/kern.log")


def refused_module(messages: str) -> bool:
    """Return whether an unsigned module was rejected. A module that only 'taints' the kernel was loaded."""
    return re.search(r"Loading of .*module.* is rejected|unsigned module loading is restricted", messages) is not None


def fatal_xids(messages: str) -> dict[str, int]:
    """Return the last fatal Xid of each GPU, by its PCI address."""
    events = re.findall(r"NVRM: Xid \(PCI:([0-9a-fA-F]+:[0-9a-fA-F]+:[0-9a-fA-F]+)[^)]*\): (\d{1,4})\b", messages)
    # A GPU that is gone before its driver starts has no Xid.
    fallen = re.findall(
        r"The NVIDIA GPU (\S+) \(PCI ID: \S+\) +installed in this system has +fallen off the bus", _joined(messages)
    )
    xids = {place(address): int(number) for address, number in events if int(number) in FATAL_XIDS}
    return {**dict.fromkeys(map(place, fallen), _FALLEN), **xids}


def unsupported(messages: str) -> dict[str, str]:
    """Return the GPUs that the driver refuses, and the driver that does not support each.

    The key is the PCI address, or the name if the GPU needs a legacy driver, because the log gives no address then.
    """
    joined = _joined(messages)
    refused = (
        r"The NVIDIA GPU (\S+) \(PCI ID: \S+\) +installed in this system is not supported by (open "
        r"nvidia\.ko|the NVIDIA \S+ driver release)"
    )
    by_place = {place(address): by for address, by in re.findall(refused, joined)}
    legacy = re.findall(
        r"The NVIDIA ([^\n]{1,80}?) GPU installed in this system is supported through the NVIDIA (\S+) Legacy drivers",
        joined,
    )
    return {**by_place, **{name: f"this driver, but by the legacy drivers {version}" for name, version in legacy}}


def _joined(messages: str) -> str:
    """Return the log with sentences of the driver that take several lines in one line."""
    return re.sub(r"\n[^\n]*?NVRM: *", " ", messages)


def failed_starts(messages: str) -> set[str]:
    """Return the PCI addresses of the GPUs that the driver could not start."""
    return {place(address) for address in re.findall(r"NVRM: GPU ([0-9a-fA-F:]+\.\d): RmInitAdapter failed", messages)}


def place(address: str) -> str:
    """Normalize a PCI address: ``00000000:65:00.0`` and ``0000:65:00`` are the same GPU. Other text is kept."""
    match = re.fullmatch(r"([0-9a-fA-F]{1,8}):([0-9a-fA-F]{1,2}):([0-9a-fA-F]{1,2})(?:\.\d)?", address)
    return "{:04x}:{:02x}:{:02x}".format(*(int(part, 16) for part in match.groups())) if match else address


def text(path: pathlib.Path) -> str:
    """Return the stripped content of a small file, or an empty string if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _ring(path: pathlib.Path) -> str:
    """Return the messages of /dev/kmsg, which returns one record per read and never reaches an end."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        lines = b"".join(_records(file)).decode("utf-8", "replace").split("\n")
    finally:
        os.close(file)
    # A record is "4,1234,567890,-;NVRM: ..." followed by lines of " KEY=value".
    return "\n".join(re.sub(r"^\d+,\d+,\d+,[^;]*;", "", line) for line in lines if not line.startswith(" "))


def _records(file: int) -> typing.Iterator[bytes]:
    for _count in range(_RECORDS):
        try:
            record = os.read(file, 8192)
        except BrokenPipeError:  # the record was overwritten before it was read; the next one is available
            continue
        except OSError:
            return
        if not record:
            return
        yield record


def _since_boot(path: pathlib.Path) -> str:
    """Return the end of a log file, from the last line with which a kernel starts."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_SIZE))
            messages = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return messages.rpartition("] Linux version ")[2]
