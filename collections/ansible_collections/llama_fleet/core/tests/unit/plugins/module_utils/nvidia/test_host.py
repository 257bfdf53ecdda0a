# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.host import GpuHost, find_program, find_smi
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    import pathlib


def test_a_program_is_found_below_the_host_s_root_in_the_order_of_the_folders(tmp_path: pathlib.Path) -> None:
    host = GpuHost(FakeRunner(), tmp_path)
    assert find_smi(host) == ""
    for folder in ("usr/lib/wsl/lib", "usr/bin"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "nvidia-smi").touch(mode=0o755)
    assert find_smi(host) == str(tmp_path / "usr/bin/nvidia-smi")
    (tmp_path / "usr/bin/nvidia-smi").chmod(0o644)
    assert find_program(host, "nvidia-smi") == str(tmp_path / "usr/lib/wsl/lib/nvidia-smi")
