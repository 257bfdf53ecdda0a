# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The NVIDIA devices of a host, its driver, and why llama.cpp could not use them."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import shutil
import typing
import xml.etree.ElementTree as ET

from ansible_collections.llama_fleet.core.plugins.module_utils.commands import Result, Runner
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem

VARIABLE = "nvidia_driver_gpu"
TIME_LIMIT = 15.0  # seconds that nvidia-smi gets; a healthy one needs about one
OLDEST_DRIVER = 525  # the first that runs CUDA 12 and tells compute capabilities
# Where drivers put nvidia-smi besides PATH, which is short under sudo, in containers and on WSL.
MORE_FOLDERS = ("/usr/bin", "/usr/local/bin", "/usr/local/nvidia/bin", "/opt/bin", "/usr/lib/wsl/lib", "/run/current-system/sw/bin")

_VENDOR = "0x10de"
_DISPLAY_CLASSES = ("0x0300", "0x0302", "0x0380")  # VGA, 3D and other display controllers; not audio, USB or NVSwitch
_ERROR = "error"
_WARNING = "warning"


@dataclasses.dataclass(frozen=True)
class Gpu:
    """One GPU; memory is 0 where the driver does not tell it (GPUs that share the host's memory)."""

    index: int
    uuid: str
    name: str
    compute_capability: str
    memory_total_mib: int
    memory_free_mib: int
    pci_address: str


@dataclasses.dataclass(frozen=True)
class Driver:
    """Versions of the driver's user space, and of the newest CUDA it runs."""

    version: str
    cuda_version: str


@dataclasses.dataclass(frozen=True)
class Finding:
    """One reason why a GPU is not used; an error stops the play, a warning does not."""

    code: str
    severity: str
    found: str
    wanted: str
    fix: str

    def __str__(self) -> str:
        return str(Problem(VARIABLE, self.found, self.wanted, self.fix))


@dataclasses.dataclass(frozen=True)
class Host:
    """Where to look: every path below ``root``, every command through ``run``."""

    run: Runner
    root: pathlib.Path = pathlib.Path("/")
    folders: tuple[str, ...] = MORE_FOLDERS


@dataclasses.dataclass(frozen=True)
class Observation:
    """All that was seen on a host."""

    gpus: tuple[Gpu, ...] = ()
    driver: Driver | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def usable(self) -> bool:
        return bool(self.gpus) and not any(finding.severity == _ERROR for finding in self.findings)

    @property
    def architectures(self) -> list[str]:
        """CMake's names of what the GPUs run natively: ``90-real``."""
        return [f"{number}-real" for number in sorted({int(gpu.compute_capability.replace(".", "")) for gpu in self.gpus})]


# What nvidia-smi says when it fails: pattern, code, wanted, fix. The first that matches counts.
_FAILURES: tuple[tuple[str, str, str, str], ...] = (
    (
        r"version mismatch",
        "driver_mismatch",
        "a kernel module and driver libraries of the same version",
        "reboot the host, or stop all that uses the GPUs and load the nvidia modules again",
    ),
    (
        r"couldn't communicate with the NVIDIA driver|Driver Not Loaded",
        "driver_not_loaded",
        "a loaded nvidia kernel module",
        "run 'modprobe nvidia' as root and read 'dmesg'; after a kernel upgrade the driver's kernel module has to be built again",
    ),
    (r"Insufficient Permissions", "no_permission", "a user that may open /dev/nvidia*", "run with become or sudo, or correct the rights of the device files"),
    (
        r"NVML: Unknown Error",
        "gpu_revoked",
        "a container that still holds its GPUs",
        "restart the container; outside of one, reboot the host",
    ),
    (r"GPU is lost|Unable to determine the device handle", "gpu_off_bus", "a GPU that answers", "look for 'Xid' in 'dmesg' and reboot the host"),
    (
        r"No devices were found",
        "no_usable_gpu",
        "at least one GPU that the driver can use",
        "read 'dmesg'; the driver may be too new or too old for the GPU; start a container with its GPUs passed in",
    ),
)


def pci_devices(root: pathlib.Path) -> list[str]:
    """PCI addresses of the NVIDIA display devices; device files count where the bus is not visible."""
    devices = sorted((root / "sys/bus/pci/devices").glob("*"))
    found = [device.name for device in devices if _text(device / "vendor") == _VENDOR and _text(device / "class")[:6] in _DISPLAY_CLASSES]
    return found or [f"/dev/{node.name}" for node in sorted((root / "dev").glob("nvidia[0-9]*"))]


def kernel_module_version(root: pathlib.Path) -> str:
    """Version of the loaded nvidia kernel module; empty where none is loaded."""
    match = re.search(r"Kernel Module\s+(?:for \S+\s+)?(\d+(?:\.\d+)+)", _text(root / "proc/driver/nvidia/version"))
    return match[1] if match else ""


def find_smi(host: Host) -> str:
    """Full path of nvidia-smi; empty where there is none."""
    places = [str(host.root / folder.lstrip("/")) for folder in host.folders]
    return shutil.which("nvidia-smi", path=":".join(places)) or ""


def parse_log(text: str, kernel_module: str = "") -> tuple[Driver, list[Gpu]]:
    """What ``nvidia-smi -q -x`` printed, GPUs that do not answer included. Raises ValueError.

    Warnings may stand before and after the document. Since driver 610 ``kmd_version`` and
    ``cuda_umd_version`` take the place of ``driver_version`` and ``cuda_version``, whose text is
    then a sentence or missing.
    """
    document = re.search(r"<nvidia_smi_log\b.*</nvidia_smi_log>", text, re.DOTALL)
    if document is None:
        raise ValueError("no whole <nvidia_smi_log> document")
    try:
        log = ET.fromstring(document[0])
    except ET.ParseError as error:
        raise ValueError(str(error)) from error
    driver = Driver(_version(log, "driver_version", "kmd_version") or kernel_module, _version(log, "cuda_version", "cuda_umd_version"))
    if not driver.version:
        raise ValueError("no driver version")
    return driver, [_gpu(index, element) for index, element in enumerate(log.findall("gpu"))]


def parse_capabilities(text: str) -> dict[str, str]:
    """UUID to compute capability, from ``--query-gpu=uuid,compute_cap --format=csv,noheader``."""
    return dict(re.findall(r"^(GPU-[0-9a-fA-F-]+),\s*(\d+\.\d+)\s*$", text, re.MULTILINE))


def observe(host: Host) -> Observation:
    """Look at the host; takes twice TIME_LIMIT at worst and changes nothing."""
    devices = pci_devices(host.root)
    kernel_module = kernel_module_version(host.root)
    absent = () if devices else (_no_device(),)
    smi = find_smi(host)
    if not smi:
        return Observation(findings=absent or (_no_smi(devices, kernel_module),))
    severity = _ERROR if devices else _WARNING
    result = host.run([smi, "-q", "-x"], timeout=TIME_LIMIT)
    if not result.ok or "No devices were found" in result.stdout:
        return Observation(findings=(*absent, _failure(result, severity, kernel_module)))
    try:
        driver, listed = parse_log(result.stdout, kernel_module)
    except ValueError as error:
        unreadable = Finding(
            "smi_unreadable",
            severity,
            f"output of nvidia-smi that cannot be read ({error})",
            "the XML of 'nvidia-smi -q -x'",
            "run it by hand; a driver that was half upgraded needs a reboot or a new installation",
        )
        return Observation(findings=(*absent, unreadable))
    return _with_capabilities(host.run([smi, "--query-gpu=uuid,compute_cap", "--format=csv,noheader"], timeout=TIME_LIMIT), driver, listed)


def _with_capabilities(query: Result, driver: Driver, listed: typing.Sequence[Gpu]) -> Observation:
    """The XML has no compute capability, so a second query tells it."""
    if major(driver.version) < OLDEST_DRIVER:
        old = Finding(
            "driver_too_old",
            _ERROR,
            f"NVIDIA driver {driver.version}",
            f"driver {OLDEST_DRIVER} or newer",
            "upgrade the driver; 580 or newer runs CUDA 13",
        )
        return Observation(driver=driver, findings=(old,))
    if listed and not query.ok:
        return Observation(driver=driver, findings=(_failure(query, _ERROR, driver.version),))
    capabilities = parse_capabilities(query.stdout)
    gpus = tuple(dataclasses.replace(gpu, compute_capability=capabilities[gpu.uuid]) for gpu in listed if gpu.uuid in capabilities)
    silent = [f"{gpu.name or 'a GPU'} at {gpu.pci_address}" for gpu in listed if gpu.uuid not in capabilities]
    if gpus and not silent:
        return Observation(gpus, driver)
    lost = Finding(
        "gpu_lost",
        _WARNING if gpus else _ERROR,
        f"{', '.join(silent) or 'no GPU'}, without a compute capability from driver {driver.version}",
        "GPUs that answer the driver",
        "look for 'Xid' in 'dmesg' and reboot the host",
    )
    return Observation(gpus, driver, (lost,))


def judged(gpu: str, seen: Observation) -> Observation:
    """The same observation, its warnings made errors where a GPU is required and none can be used."""
    if gpu != "required" or seen.usable:
        return seen
    return dataclasses.replace(seen, findings=tuple(dataclasses.replace(finding, severity=_ERROR) for finding in seen.findings))


def refusal(gpu: str, seen: Observation) -> str:
    """Why the play must not go on, every error in a line of its own; empty if it may."""
    sentences = [str(finding) for finding in seen.findings if finding.severity == _ERROR]
    if sentences and gpu == "auto":
        sentences.append(f"A host with an NVIDIA device never serves from its CPU unasked; {VARIABLE}=none accepts the CPU.")
    return "\n".join(sentences)


def major(version: str) -> int:
    """``580.95.05`` -> 580; 0 where it is no version."""
    match = re.match(r"\d+", version)
    return int(match[0]) if match else 0


def _no_device() -> Finding:
    return Finding(
        "no_device",
        _WARNING,
        "no NVIDIA device on the PCI bus",
        "an NVIDIA GPU",
        "install one, pass it through to the virtual machine, or use the CPU",
    )


def _no_smi(devices: typing.Sequence[str], kernel_module: str) -> Finding:
    names = ", ".join(devices)
    if kernel_module:
        return Finding(
            "no_nvidia_smi",
            _ERROR,
            f"the NVIDIA device {names} and kernel module {kernel_module}, but no nvidia-smi",
            "the driver's user space",
            "install the driver's libraries and nvidia-smi in the module's version; start a container with its GPUs passed in (--gpus all, or CDI)",
        )
    return Finding(
        "no_driver",
        _ERROR,
        f"the NVIDIA device {names}, but no NVIDIA driver",
        f"NVIDIA driver {OLDEST_DRIVER} or newer, 580 for CUDA 13",
        "install it with the distribution's packages and reboot",
    )


def _failure(result: Result, severity: str, kernel_module: str) -> Finding:
    said = " ".join(f"{result.stdout}\n{result.stderr}".split())
    if result.code == 124:
        return Finding(
            "smi_hangs",
            severity,
            f"an nvidia-smi that did not end within {TIME_LIMIT:g} s",
            "an answer of the driver",
            "look for 'Xid' in 'dmesg' and reboot the host; its driver or a GPU is stuck",
        )
    found = f"nvidia-smi with exit code {result.code} ({said[:200] or 'no message'})"
    if kernel_module:
        found += f" and kernel module {kernel_module}"
    for pattern, code, wanted, fix in _FAILURES:
        if re.search(pattern, said, re.IGNORECASE):
            return Finding(code, severity, found, wanted, fix)
    return Finding("smi_failed", severity, found, "a working 'nvidia-smi -q -x'", "run it by hand and read 'dmesg'; install the driver again if it is damaged")


def _gpu(index: int, element: ET.Element) -> Gpu:
    def text(path: str) -> str:
        return (element.findtext(path) or "").strip()

    return Gpu(
        index,
        text("uuid"),
        text("product_name"),
        "",
        _mib(text("fb_memory_usage/total")),
        _mib(text("fb_memory_usage/free")),
        text("pci/pci_bus_id") or element.get("id", ""),
    )


def _mib(text: str) -> int:
    match = re.fullmatch(r"(\d+) MiB", text)
    return int(match[1]) if match else 0


def _version(log: ET.Element, *tags: str) -> str:
    """The first of ``tags`` whose text is a version."""
    texts = ((log.findtext(tag) or "").strip() for tag in tags)
    return next((text for text in texts if re.fullmatch(r"\d+(\.\d+)+", text)), "")


def _text(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
