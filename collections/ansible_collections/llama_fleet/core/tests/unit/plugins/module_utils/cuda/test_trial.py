# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT

from __future__ import annotations

import os
import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import plan as cuda
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import trial as cuda_proof
from ansible_collections.llama_fleet.core.tests.unit.fakes.cuda_host import add_toolkit

pytestmark = pytest.mark.usefixtures("plenty_of_space")


def test_the_proof_compiles_for_the_gpu_and_links_cublas(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    log = tmp_path / "log"
    add_toolkit(tmp_path / "cuda", "13.0.88", build=f'echo "$@" >{log}; test -s "$4"')
    cuda_proof.prove(
        cuda.Toolkit(tmp_path / "cuda", "13.0.88"), cuda.Wanted(tmp_path, architectures=("90-real",)), host
    )
    said = log.read_text().split()
    assert said[0] == "-arch=sm_90"
    assert "-lcublas" in said
    assert f"-L{tmp_path}/cuda/lib64" in said
    assert not pathlib.Path(said[2]).parent.exists()  # nothing is left behind


def test_a_proof_has_to_be_repeated_after_a_change(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    add_toolkit(tmp_path / "cuda", "13.0.88")
    toolkit = cuda.Toolkit(tmp_path / "cuda", "13.0.88")

    def key(**options: typing.Any) -> str:
        return cuda_proof.proof_key(toolkit, cuda.Wanted(tmp_path, **options), host)

    first = key()
    assert key() == first
    assert key(architectures=("90-real",)) != first
    os.utime(host.root / "usr/bin/g++", (1, 1))
    assert key() != first
