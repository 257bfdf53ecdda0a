# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test parsing the XML of each driver, and that any other text raises nothing but ValueError."""

from __future__ import annotations

import functools
import random
import re

import hypothesis
import hypothesis.strategies as st
import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import smi as nvidia_smi
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.smi import Driver, Ecc, MigDevice, Process
from ansible_collections.llama_fleet.core.tests.unit.fakes.gpu_host import FIXTURES, document, edited

NAMES = sorted(path.stem for path in FIXTURES.glob("*.xml"))
STRANGE = ["9" * 5000, "-1", "", "GPU is lost", "1e9 MiB", "N/A", "٣ MiB", "9" * 30 + " MiB"]
QUICK = hypothesis.settings(max_examples=60, deadline=None, derandomize=True, database=None)


@pytest.mark.parametrize(
    ("name", "driver", "gpu"),
    [
        (
            "v100_driver_470",
            Driver("470.256.02", "11.4"),
            ("Tesla V100S-PCIE-32GB", "", 32510, 31806, "00000000:3B:00.0"),
        ),
        (
            "a100_mig_driver_535",
            Driver("535.183.06", "12.2"),
            ("NVIDIA A100-SXM4-80GB", "Ampere", 81920, 80999, "00000000:01:00.0"),
        ),
        (
            "rtx3090_desktop_driver_550",
            Driver("550.163.01", "12.4"),
            ("NVIDIA GeForce RTX 3090", "Ampere", 24576, 2014, "00000000:0A:00.0"),
        ),
        (
            "a100_driver_570",
            Driver("570.148.08", "12.8"),
            ("NVIDIA A100-SXM4-40GB", "Ampere", 40960, 40443, "00000000:06:00.0"),
        ),
        (
            "h100_sxm_driver_580",
            Driver("580.105.08", "13.0"),
            ("NVIDIA H100 80GB HBM3", "Hopper", 81559, 81080, "00000000:1B:00.0"),
        ),
        ("gb10_driver_610", Driver("610.43.02", "13.3"), ("NVIDIA GB10", "Blackwell", 0, 0, "0000000F:01:00.0")),
        (
            "rtx_pro_6000_driver_615",
            Driver("615.23", "13.4"),
            ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "Blackwell", 97887, 97250, "00000000:61:00.0"),
        ),
    ],
)
def test_every_format(name: str, driver: Driver, gpu: tuple[str, str, int, int, str]) -> None:
    log = nvidia_smi.parse_log(document(name))
    (seen,) = log.gpus
    assert (log.driver, log.lost) == (driver, frozenset())
    assert (seen.name, seen.architecture, seen.memory_total_mib, seen.memory_free_mib, seen.pci_address) == gpu
    assert re.fullmatch(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", seen.uuid)
    assert (seen.compute_capability, seen.compute_mode, seen.recovery_action) == ("", "default", "")
    assert seen.persistence is (name != "v100_driver_470")


def test_a_place_that_only_the_element_itself_tells() -> None:
    text = re.sub(r"<pci_bus_id>.*</pci_bus_id>", "", document("a100_driver_570"))
    assert nvidia_smi.parse_log(text).gpus[0].pci_address == "00000000:06:00.0"


def test_eight_gpus_keep_the_drivers_order() -> None:
    gpus = nvidia_smi.parse_log(document("h100_sxm_driver_580", 8)).gpus
    assert [gpu.index for gpu in gpus] == list(range(8))
    assert len({gpu.uuid for gpu in gpus}) == len({gpu.pci_address for gpu in gpus}) == 8
    assert {(gpu.fabric_state, gpu.mig_mode, gpu.ecc) for gpu in gpus} == {
        ("completed", "disabled", Ecc("enabled", "enabled"))
    }


def test_mig_devices() -> None:
    (gpu,) = nvidia_smi.parse_log(document("a100_mig_driver_535")).gpus
    assert (gpu.mig_mode, gpu.mig_mode_pending) == ("enabled", "enabled")
    assert gpu.mig_devices == (MigDevice(0, 3, 0, 19968, 19955), MigDevice(1, 4, 0, 19968, 11023))
    # Some drivers add the UUID.
    told = document("a100_mig_driver_535").replace("<index>0</index>", "<index>0</index><uuid>MIG-1</uuid>")
    assert nvidia_smi.parse_log(told).gpus[0].mig_devices[0].uuid == "MIG-1"


def test_processes_are_told_without_their_arguments() -> None:
    (gpu,) = nvidia_smi.parse_log(document("rtx3090_desktop_driver_550")).gpus
    assert gpu.processes == (
        Process(1873, "/usr/lib/xorg/Xorg", "G", 96),
        Process(2210, "/opt/browser/browser", "G", 41),
        Process(30412, "/usr/local/bin/ollama", "C", 20870),
        Process(30990, "/usr/bin/python3", "C+G", 1237),
    )
    assert gpu.limits_reached == ("sw_power_cap",)
    assert (gpu.ecc, gpu.mig_mode, gpu.fabric_state) == (Ecc(), "", "")


def licensed(*products: tuple[str, str], block: str = "vgpu_software_licensed_product") -> str:
    """Return the document of a vGPU with the licences of these products, as nvidia-smi writes them."""
    rows = "".join(
        f"<licensed_product_name>{name}</licensed_product_name>\n<license_status>{status}</license_status>\n"
        for name, status in products
    )
    vgpu = edited(document("h100_driver_580"), product_name="NVIDIA L40S-24C", virtualization_mode="VGPU")
    end = "</gpu_virtualization_mode>\n"
    return vgpu.replace(end, f"{end}<{block}>\n{rows}</{block}>\n", 1)


@pytest.mark.parametrize(
    ("products", "status"),
    [
        ([("NVIDIA Virtual Compute Server", "Unlicensed (Restricted)")], "Unlicensed (Restricted)"),
        ([("NVIDIA Virtual Compute Server", "Unlicensed (Unrestricted)")], "Unlicensed (Unrestricted)"),
        (
            [("NVIDIA RTX Virtual Workstation", "Licensed (Expiry: 2026-7-7 16:1:44 GMT)")],
            "Licensed (Expiry: 2026-7-7 16:1:44 GMT)",
        ),
        ([("NVIDIA Virtual Applications", "Licensed")], "Licensed"),
        ([("GRID Virtual PC", "Unlicensed"), ("Quadro Virtual Workstation", "Licensed")], "Licensed"),
        ([("N/A", "N/A")], ""),
    ],
)
def test_the_licence_of_a_vgpu(products: list[tuple[str, str]], status: str) -> None:
    (gpu,) = nvidia_smi.parse_log(licensed(*products)).gpus
    assert (gpu.name, gpu.virtualization, gpu.license_status) == ("NVIDIA L40S-24C", "vgpu", status)
    (old,) = nvidia_smi.parse_log(licensed(*products, block="grid_licensed_product")).gpus
    assert old.license_status == status
    assert nvidia_smi.parse_log(document("h100_driver_580")).gpus[0].license_status == ""


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"product_architecture": "N/A"}, ("NVIDIA H100 80GB HBM3", "", "00000000:65:00.0", 81559)),
        ({"total": "[N/A]"}, ("NVIDIA H100 80GB HBM3", "Hopper", "00000000:65:00.0", 0)),
        ({"total": "Not Supported"}, ("NVIDIA H100 80GB HBM3", "Hopper", "00000000:65:00.0", 0)),
    ],
)
def test_a_value_that_the_driver_does_not_report_is_empty(
    fields: dict[str, str], expected: tuple[str, str, str, int]
) -> None:
    (gpu,) = nvidia_smi.parse_log(edited(document("h100_driver_580"), **fields)).gpus
    assert (gpu.name, gpu.architecture, gpu.pci_address, gpu.memory_total_mib) == expected


@pytest.mark.parametrize("value", ["ERR!", "[ERR!]", "[Unknown Error]", "[GPU is lost]", "[GPU requires reset]"])
def test_a_gpu_that_does_not_answer_is_lost_with_or_without_brackets(value: str) -> None:
    assert nvidia_smi.parse_log(edited(document("h100_sxm_driver_580", 2), gpu_temp=value)).lost == {0}


@pytest.mark.parametrize(
    ("name", "values", "ecc"),
    [
        ("v100_driver_470", {"pending_retirement": "Yes"}, Ecc("enabled", "enabled", repair_pending=True)),
        (
            "a100_driver_570",
            {"remapped_row_pending": "Yes", "dram_uncorrectable": "3"},
            Ecc("enabled", "enabled", 3, repair_pending=True),
        ),
        (
            "a100_driver_570",
            {"remapped_row_failure": "Yes", "pending_ecc": "Disabled"},
            Ecc("enabled", "disabled", repair_failed=True),
        ),
        (
            "h100_sxm_driver_580",
            {"sram_uncorrectable_parity": "1", "sram_uncorrectable_secded": "2"},
            Ecc("enabled", "enabled", 3),
        ),
        ("h100_sxm_driver_580", {"tpc_repair_pending": "Yes"}, Ecc("enabled", "enabled", repair_pending=True)),
    ],
)
def test_memory_errors(name: str, values: dict[str, str], ecc: Ecc) -> None:
    assert nvidia_smi.parse_log(edited(document(name), **values)).gpus[0].ecc == ecc


def test_memory_errors_of_volta_are_counted_once() -> None:
    text = re.sub(r"(<double_bit>.*?<total>)0", r"\g<1>5", document("v100_driver_470"), count=1, flags=re.DOTALL)
    assert nvidia_smi.parse_log(text).gpus[0].ecc.uncorrectable == 5


@pytest.mark.parametrize(
    ("name", "values", "action"),
    [
        ("a100_driver_570", {"gpu_recovery_action": "Drain and Reset"}, "drain_and_reset"),
        ("a100_driver_570", {"gpu_recovery_action": "Reboot"}, "reboot"),
        ("a100_mig_driver_535", {"reset_required": "Yes"}, "reset"),
        ("a100_mig_driver_535", {"drain_and_reset_recommended": "Yes"}, "drain_and_reset"),
    ],
)
def test_recovery_action(name: str, values: dict[str, str], action: str) -> None:
    assert nvidia_smi.parse_log(edited(document(name), **values)).gpus[0].recovery_action == action


def test_limits_by_the_names_of_old_drivers() -> None:
    text = document("v100_driver_470").replace("hw_thermal_slowdown>Not Active", "hw_thermal_slowdown>Active")
    assert nvidia_smi.parse_log(text).gpus[0].limits_reached == ("hw_thermal_slowdown",)


@pytest.mark.parametrize("element", ["total", "gpu_temp", "uuid"])
def test_a_lost_gpu_is_known_by_what_it_does_not_answer(element: str) -> None:
    log = nvidia_smi.parse_log(edited(document("h100_sxm_driver_580", 3), **{element: "GPU is lost"}))
    assert (len(log.gpus), log.lost) == (3, frozenset({0}))


def test_the_kernel_module_stands_in_for_a_version_that_is_not_told() -> None:
    text = edited(document("h100_driver_580"), driver_version="[N/A]")
    assert nvidia_smi.parse_log(text, "580.95.05").driver == Driver("580.95.05", "13.0", "580.95.05")


@pytest.mark.parametrize("name", NAMES)
def test_output_cut_short_anywhere_is_a_value_error(name: str) -> None:
    whole = (FIXTURES / f"{name}.xml").read_text(encoding="utf-8")
    end = whole.rindex("</nvidia_smi_log>") + len("</nvidia_smi_log>")
    for length in [*range(0, end - 1, 151), end - 1]:
        with pytest.raises(ValueError, match="no whole"):
            nvidia_smi.parse_log(whole[:length])
    assert nvidia_smi.parse_log(whole[:end]).gpus


@functools.cache
def recorded(name: str) -> str:
    return (FIXTURES / f"{name}.xml").read_text(encoding="utf-8")


def read(text: str) -> None:
    """Parse arbitrary text, which may only fail with ValueError; its message fits on a line."""
    try:
        log = nvidia_smi.parse_log(text, "580.95.05")
    except ValueError:
        return
    assert all(isinstance(number, int) for gpu in log.gpus for number in (gpu.memory_free_mib, gpu.ecc.uncorrectable))
    assert all(
        "\n" not in word and len(word) <= 300 for gpu in log.gpus for word in (gpu.uuid, gpu.name, gpu.architecture)
    )


@QUICK
@hypothesis.given(st.sampled_from(NAMES), st.integers(0, 2**32), st.integers(1, 40))
def test_letters_that_were_changed(name: str, seed: int, count: int) -> None:
    source = random.Random(seed)
    letters = list(recorded(name))
    for _change in range(count):
        letters[source.randrange(len(letters))] = source.choice("<>/&;\x00\x1b\ud800 \n9٣Z\"'")
    read("".join(letters))


@QUICK
@hypothesis.given(st.sampled_from(NAMES), st.integers(0, 2**32), st.text(max_size=30))
def test_lines_that_were_lost_doubled_or_replaced(name: str, seed: int, text: str) -> None:
    source = random.Random(seed)
    lines = recorded(name).split("\n")
    for _change in range(source.randrange(1, 9)):
        place = source.randrange(len(lines))
        before, _mark, behind = lines[place].partition(">")
        new = [[], [lines[place]] * 2, [f"{before}>{text}<{behind.partition('<')[2]}"]]
        lines[place : place + source.randrange(3)] = source.choice(new)
    read("\n".join(lines))


@QUICK
@hypothesis.given(st.sampled_from(NAMES), st.integers(0, 2**32), st.sampled_from(STRANGE))
def test_values_that_no_driver_tells(name: str, seed: int, value: str) -> None:
    texts = re.split(r"(>[^<\n]+<)", recorded(name))
    for place in random.Random(seed).sample(range(1, len(texts), 2), 12):
        texts[place] = f">{value}<"
    read("".join(texts))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "| NVIDIA-SMI 580.95.05 |",
        "<nvidia_smi_log><gpu></nvidia_smi_log>",
        "<nvidia_smi_log></nvidia_smi_log>",
        "<nvidia_smi_log>\x01</nvidia_smi_log>",
    ],
    ids=["empty", "table", "not well formed", "no version", "control character"],
)
def test_no_document(text: str) -> None:
    with pytest.raises(ValueError, match=r"no whole|mismatched|no driver version|not well-formed"):
        nvidia_smi.parse_log(text)


@pytest.mark.parametrize(
    ("version", "number"),
    [("580.95.05", (580, 95, 5)), ("470", (470,)), ("", (0,)), ("[N/A]", (0,)), ("9" * 5000, (999999999,))],
)
def test_numbers(version: str, number: tuple[int, ...]) -> None:
    assert nvidia_smi.numbers(version) == number
    assert nvidia_smi.major(version) == number[0]
