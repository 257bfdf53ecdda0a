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

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia_findings import (
    ERROR,
    OLDEST_DRIVER,
    VARIABLE,
    WARNING,
    Finding,
    no_device,
    no_smi,
    smi_failure,
)

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.commands import Result, Runner

TIME_LIMIT = 15.0  # seconds that nvidia-smi gets; a healthy one needs about one
# Where drivers put nvidia-smi besides PATH, which is short under sudo, in containers and on WSL.
MORE_FOLDERS = ("/usr/bin", "/usr/local/bin", "/usr/local/nvidia/bin", "/opt/bin", "/usr/lib/wsl/lib", "/run/current-system/sw/bin")

_VENDOR = "0x10de"
_DISPLAY_CLASSES = ("0x0300", "0x0302", "0x0380")  # VGA, 3D and other display controllers; not audio, USB or NVSwitch


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
        return bool(self.gpus) and not any(finding.severity == ERROR for finding in self.findings)

    @property
    def architectures(self) -> list[str]:
        """CMake's names of what the GPUs run natively: ``90-real``."""
        return [f"{number}-real" for number in sorted({int(gpu.compute_capability.replace(".", "")) for gpu in self.gpus})]


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
    absent = () if devices else (no_device(),)
    smi = find_smi(host)
    if not smi:
        return Observation(findings=absent or (no_smi(devices, kernel_module),))
    severity = ERROR if devices else WARNING
    result = host.run([smi, "-q", "-x"], timeout=TIME_LIMIT)
    if not result.ok or "No devices were found" in result.stdout:
        return Observation(findings=(*absent, smi_failure(result, severity, kernel_module, TIME_LIMIT)))
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
            ERROR,
            f"NVIDIA driver {driver.version}",
            f"driver {OLDEST_DRIVER} or newer",
            "upgrade the driver; 580 or newer runs CUDA 13",
        )
        return Observation(driver=driver, findings=(old,))
    if listed and not query.ok:
        return Observation(driver=driver, findings=(smi_failure(query, ERROR, driver.version, TIME_LIMIT),))
    capabilities = parse_capabilities(query.stdout)
    gpus = tuple(dataclasses.replace(gpu, compute_capability=capabilities[gpu.uuid]) for gpu in listed if gpu.uuid in capabilities)
    silent = [f"{gpu.name or 'a GPU'} at {gpu.pci_address}" for gpu in listed if gpu.uuid not in capabilities]
    if gpus and not silent:
        return Observation(gpus, driver)
    lost = Finding(
        "gpu_lost",
        WARNING if gpus else ERROR,
        f"{', '.join(silent) or 'no GPU'}, without a compute capability from driver {driver.version}",
        "GPUs that answer the driver",
        "look for 'Xid' in 'dmesg' and reboot the host",
    )
    return Observation(gpus, driver, (lost,))


def judged(gpu: str, seen: Observation) -> Observation:
    """The same observation, its warnings made errors where a GPU is required and none can be used."""
    if gpu != "required" or seen.usable:
        return seen
    return dataclasses.replace(seen, findings=tuple(dataclasses.replace(finding, severity=ERROR) for finding in seen.findings))


def refusal(gpu: str, seen: Observation) -> str:
    """Why the play must not go on, every error in a line of its own; empty if it may."""
    sentences = [str(finding) for finding in seen.findings if finding.severity == ERROR]
    if sentences and gpu == "auto":
        sentences.append(f"A host with an NVIDIA device never serves from its CPU unasked; {VARIABLE}=none accepts the CPU.")
    return "\n".join(sentences)


def major(version: str) -> int:
    """``580.95.05`` -> 580; 0 where it is no version."""
    match = re.match(r"\d+", version)
    return int(match[0]) if match else 0


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
