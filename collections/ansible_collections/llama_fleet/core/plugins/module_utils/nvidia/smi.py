# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Parse the output of ``nvidia-smi -q -x`` of any driver version."""

from __future__ import annotations

import dataclasses
import re
import typing
import xml.etree.ElementTree as ET

# Reasons for lower clocks that are not limits: an idle GPU, or a user's setting.
_NO_LIMITS = ("gpu_idle", "applications_clocks_setting", "sync_boost", "display_clocks_setting")
_NO_ANSWER = ("GPU is lost", "Unknown Error", "ERR!", "GPU requires reset")
_UNREPORTED = ("n/a", "not supported", "unknown", "requested functionality has been deprecated")
_WHERE_A_LOST_GPU_SHOWS = (
    "uuid",
    "product_name",
    "fb_memory_usage/total",
    "fb_memory_usage/free",
    "temperature/gpu_temp",
)
_WAITING_REPAIRS = (
    "remapped_rows/remapped_row_pending",
    "remapped_banks/bank_remapper_pending",
    "retired_pages/pending_retirement",
    "retired_pages/pending_blacklist",
    "ecc_errors/channel_repair_pending",
    "ecc_errors/tpc_repair_pending",
)


@dataclasses.dataclass(frozen=True)
class Driver:
    """Versions of the driver's user space, the newest CUDA it runs, and the loaded kernel module; empty if unknown."""

    version: str
    cuda_version: str
    kernel_module_version: str = ""


@dataclasses.dataclass(frozen=True)
class Process:
    """A process that holds GPU memory, without its arguments, which may be secret. ``kind`` is C, G or C+G."""

    pid: int
    name: str
    kind: str
    memory_mib: int


@dataclasses.dataclass(frozen=True)
class MigDevice:
    """A MIG device. Most drivers omit its UUID from the XML."""

    index: int
    gpu_instance: int
    compute_instance: int
    memory_total_mib: int
    memory_free_mib: int
    uuid: str = ""


@dataclasses.dataclass(frozen=True)
class Ecc:
    """The ECC state of a GPU. ``uncorrectable`` counts errors since the driver was loaded."""

    mode: str = ""
    mode_pending: str = ""
    uncorrectable: int = 0
    repair_pending: bool = False
    repair_failed: bool = False


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A GPU as the driver reports it; an unreported text is empty. Memory is 0 MiB if shared with the host."""

    index: int
    uuid: str
    name: str
    compute_capability: str
    memory_total_mib: int
    memory_free_mib: int
    pci_address: str
    architecture: str = ""
    mig_mode: str = ""
    mig_mode_pending: str = ""
    mig_devices: tuple[MigDevice, ...] = ()
    compute_mode: str = ""
    ecc: Ecc = Ecc()
    persistence: bool = False
    processes: tuple[Process, ...] = ()
    limits_reached: tuple[str, ...] = ()
    fabric_state: str = ""
    recovery_action: str = ""
    virtualization: str = ""
    license_status: str = ""

    def __str__(self) -> str:
        place = f" at {self.pci_address}" if self.pci_address else ""
        return f"GPU {self.index} ({self.name or 'without a name'}{place})"

    @property
    def shares_memory(self) -> bool:
        """Return whether it has no memory of its own, as GB10 and Jetson boards."""
        return not self.memory_total_mib


_LONGEST = 16 << 20  # characters; a GPU has about 20,000


class Log(typing.NamedTuple):
    """A parsed document; ``lost`` holds the indexes of GPUs that do not answer."""

    driver: Driver
    gpus: list[Gpu]
    lost: frozenset[int]


def parse_log(text: str, kernel_module: str = "", platform: str = "") -> Log:
    """Parse the output of ``nvidia-smi -q -x``, including GPUs that do not answer. Raises ValueError.

    Warnings may come before and after the document. Since driver 610 ``kmd_version`` and ``cuda_umd_version`` replace
    ``driver_version`` and ``cuda_version``, which then hold a sentence or are missing. A Jetson may report no version:
    then it is the kernel module's, or that of its ``platform``.
    """
    document = re.search(r"<nvidia_smi_log\b.*</nvidia_smi_log>", text, re.DOTALL)
    if document is None or len(text) > _LONGEST:
        raise ValueError("no whole <nvidia_smi_log> document")
    try:
        log = ET.fromstring(document[0])
    except ET.ParseError as error:
        raise ValueError(str(error)) from error
    version = _version(log, "driver_version", "kmd_version") or kernel_module or platform
    if not version:
        raise ValueError("no driver version")
    elements = log.findall("gpu")
    lost = frozenset(
        index
        for index, element in enumerate(elements)
        if any(_text(element, path).strip("[]") in _NO_ANSWER for path in _WHERE_A_LOST_GPU_SHOWS)
    )
    driver = Driver(version, _version(log, "cuda_version", "cuda_umd_version"), kernel_module)
    return Log(driver, [_gpu(index, element) for index, element in enumerate(elements)], lost)


def major(version: str) -> int:
    """Return the first number of a version: ``580.95.05`` -> 580; 0 if it is not a version."""
    return numbers(version)[0]


def numbers(version: str) -> tuple[int, ...]:
    """Return a version's numbers for comparison: ``580.95.05`` -> (580, 95, 5); (0,) if it is not a version."""
    match = re.match(r"\d{1,9}(\.\d{1,9})*", version)
    return tuple(map(int, match[0].split("."))) if match else (0,)


def _gpu(index: int, element: ET.Element) -> Gpu:
    def word(path: str) -> str:
        return _word(element, path)

    uncorrectable = [each for each in element.iterfind("ecc_errors/volatile/*") if "uncorrectable" in each.tag]
    uncorrectable += element.findall("ecc_errors/volatile/double_bit/total")
    ecc = Ecc(
        word("ecc_mode/current_ecc"),
        word("ecc_mode/pending_ecc"),
        sum(_number(each.text or "") for each in uncorrectable),
        any(word(path) == "yes" for path in _WAITING_REPAIRS),
        word("remapped_rows/remapped_row_failure") == "yes",
    )
    return Gpu(
        index=index,
        uuid=_told(element, "uuid"),
        name=_told(element, "product_name"),
        compute_capability="",
        memory_total_mib=_mib(element, "fb_memory_usage/total"),
        memory_free_mib=_mib(element, "fb_memory_usage/free"),
        pci_address=_told(element, "pci/pci_bus_id") or _reported(element.get("id", "")),
        architecture=_told(element, "product_architecture"),
        mig_mode=word("mig_mode/current_mig"),
        mig_mode_pending=word("mig_mode/pending_mig"),
        mig_devices=tuple(_mig_device(each) for each in element.iterfind("mig_devices/mig_device")),
        compute_mode=word("compute_mode"),
        ecc=ecc,
        persistence=word("persistence_mode") == "enabled",
        processes=tuple(_process(each) for each in element.iterfind("processes/process_info")),
        limits_reached=tuple(_limits(element)),
        fabric_state=word("fabric/state"),
        recovery_action=_recovery(element),
        virtualization=word("gpu_virtualization_mode/virtualization_mode"),
        license_status=_license(element),
    )


def _mig_device(element: ET.Element) -> MigDevice:
    ids = [_number(_text(element, path)) for path in ("index", "gpu_instance_id", "compute_instance_id")]
    memory = [_mib(element, path) for path in ("fb_memory_usage/total", "fb_memory_usage/free")]
    return MigDevice(ids[0], ids[1], ids[2], memory[0], memory[1], _text(element, "uuid"))


def _process(element: ET.Element) -> Process:
    program = _text(element, "process_name").partition(" ")[0]
    return Process(_number(_text(element, "pid")), program, _text(element, "type"), _mib(element, "used_memory"))


def _limits(element: ET.Element) -> typing.Iterator[str]:
    """Yield the active clock limits; before driver 535 they were called throttle reasons."""
    for block, prefix in (
        ("clocks_event_reasons", "clocks_event_reason_"),
        ("clocks_throttle_reasons", "clocks_throttle_reason_"),
    ):
        for reason in element.iterfind(f"{block}/*"):
            name = reason.tag.replace(prefix, "", 1)
            if (reason.text or "").strip() == "Active" and name not in _NO_LIMITS:
                yield name


def _recovery(element: ET.Element) -> str:
    """Return the recovery that the driver wants: reset, reboot, drain_p2p, drain_and_reset, or an empty string.

    Drivers before 570 have a flag for each kind.
    """
    action = _word(element, "gpu_recovery_action")
    if action not in ("", "none"):
        return action
    if _word(element, "gpu_reset_status/reset_required") == "yes":
        return "reset"
    return "drain_and_reset" if _word(element, "gpu_reset_status/drain_and_reset_recommended") == "yes" else ""


def _license(element: ET.Element) -> str:
    """Return the status of a vGPU's licence; empty if it needs none. Before driver 440 the product was called GRID."""
    statuses = [
        _reported(" ".join((each.text or "").split())[:100])
        for block in ("vgpu_software_licensed_product", "grid_licensed_product")
        for each in element.iterfind(f"{block}/license_status")
    ]
    # A driver may list several products, of which one is enough.
    return next((status for status in statuses if status.startswith("Licensed")), next(filter(None, statuses), ""))


def _told(element: ET.Element, path: str) -> str:
    return _reported(_text(element, path))


def _reported(text: str) -> str:
    """Return a text, or an empty string if it says that the driver reports none."""
    return "" if text.strip("[]").lower() in _UNREPORTED else text


def _text(element: ET.Element, path: str) -> str:
    """Return the text of an element on one line, at most 300 characters."""
    return " ".join((element.findtext(path) or "").split())[:300]


def _word(element: ET.Element, path: str) -> str:
    """Normalize a value: ``Exclusive_Process`` -> ``exclusive_process``; empty if the driver reports none."""
    return _told(element, path).lower().replace(" ", "_")


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text.strip()) else 0


def _mib(element: ET.Element, path: str) -> int:
    match = re.fullmatch(r"([0-9]{1,18}) MiB", _text(element, path))
    return int(match[1]) if match else 0


def _version(log: ET.Element, *tags: str) -> str:
    """Return the first of ``tags`` whose text is a version."""
    return next((text for text in (_text(log, tag) for tag in tags) if re.fullmatch(r"\d+(\.\d+)+", text)), "")
