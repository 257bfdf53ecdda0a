# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import plan as cuda
from ansible_collections.llama_fleet.core.tests.unit.fakes.cuda_host import add_toolkit

if typing.TYPE_CHECKING:
    import pathlib


def test_candidates_are_the_folders_of_usr_local_and_of_path_once_each(
    host: cuda.ToolkitHost,
) -> None:
    add_toolkit(host.root / "usr/local/cuda-13.0", "13.0.88")
    add_toolkit(host.root / "opt/cuda", "12.9.86")
    (host.root / "usr/local/cuda").symlink_to("cuda-13.0")
    (host.root / "usr/bin/nvcc").symlink_to(host.root / "opt/cuda/bin/nvcc")
    (host.root / "usr/local/cuda-12.0").mkdir()
    assert cuda.candidates(host) == [host.root / "usr/local/cuda-13.0", host.root / "opt/cuda", host.root / "usr"]


def test_a_search_takes_the_newest_that_is_not_refused(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    for version in ("12.4.131", "12.10.20", "13.0.88"):
        add_toolkit(host.root / f"usr/local/cuda-{version[:4]}", version)
    tried: list[str] = []

    def refusal(toolkit: cuda.Toolkit) -> str:
        tried.append(toolkit.version)
        return "" if toolkit.version == "12.10.20" else f"no to {toolkit.version}"

    newest, reasons = cuda.search(cuda.Wanted(tmp_path), host, refusal)
    assert newest
    assert (newest.version, reasons, tried) == ("12.10.20", ["no to 13.0.88"], ["13.0.88", "12.10.20"])


@pytest.mark.parametrize(
    ("driver", "toolkit", "fits"),
    [("524.99", "12.8", False), ("525", "12.8", True), ("579.99", "13.0", False), ("580", "13.0", True)],
)
def test_the_oldest_driver_of_a_toolkit_runs_it(tmp_path: pathlib.Path, driver: str, toolkit: str, fits: bool) -> None:
    reason = cuda.unfit_for(toolkit, (), cuda.Wanted(tmp_path, driver_version=driver))
    assert reason == ("" if fits else f"CUDA {toolkit}, which driver {driver} is too old for")
