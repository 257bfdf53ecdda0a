# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT

from __future__ import annotations

import os
import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import plan as cuda
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import trial as cuda_proof
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
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
    math = host.root / "usr/include/x86_64-linux-gnu/bits/mathcalls.h"
    math.parent.mkdir(parents=True)
    before = key()
    math.touch()
    assert key() != before


def test_a_toolkit_that_passed_is_remembered_and_one_that_was_refused_is_not(
    tmp_path: pathlib.Path, host: cuda.ToolkitHost
) -> None:
    log, wanted = tmp_path / "log", cuda.Wanted(tmp_path / "root")
    add_toolkit(tmp_path / "good", "13.0.88", build=f"echo good >>{log}")
    add_toolkit(tmp_path / "bad", "12.9.86", build=f"echo bad >>{log}; echo error: no >&2; exit 1")
    good, bad = cuda.Toolkit(tmp_path / "good", "13.0.88"), cuda.Toolkit(tmp_path / "bad", "12.9.86")
    for _time in range(2):
        trials = cuda_proof.Trials(wanted, host, Progress())
        assert trials.refusal(good) == ""
        assert "cannot build a small program: error: no" in trials.refusal(bad)
        trials.remember()
    assert log.read_text().split() == ["good", "bad", "bad"]


def test_a_toolkit_that_was_asked_for_is_not_left_for_another(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    add_toolkit(tmp_path / "given", "13.0.88", build="echo error: no >&2; exit 1")
    wanted = cuda.Wanted(tmp_path / "root", path=str(tmp_path / "given"))
    with pytest.raises(ProblemError, match="cannot build a small program: error: no"):
        cuda_proof.Trials(wanted, host, Progress()).require(cuda.examine(tmp_path / "given", wanted, host))


def test_a_proof_that_fails_says_what_the_compiler_said(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    said = "In file included from proof.cu:\\nhost_config.h:132:2: error: #error -- unsupported GNU version!"
    add_toolkit(tmp_path / "cuda", "12.0.140", build=f"printf '{said}\\n' >&2; exit 1")
    with pytest.raises(ProblemError) as raised:
        cuda_proof.prove(cuda.Toolkit(tmp_path / "cuda", "12.0.140"), cuda.Wanted(tmp_path), host)
    (problem,) = raised.value.problems
    assert problem.subject == "CUDA toolkit"
    assert "error: #error -- unsupported GNU version!" in problem.found


def test_what_was_unpacked_is_accepted_by_name_or_refused_with_the_reason(
    tmp_path: pathlib.Path, host: cuda.ToolkitHost
) -> None:
    add_toolkit(tmp_path / "cuda", "13.0.88")
    assert (
        cuda_proof.accept(tmp_path / "cuda", cuda.Wanted(tmp_path), host)
        == "Cuda compilation tools, release 13.0, V13.0.88"
    )
    with pytest.raises(
        ProblemError, match=r"CUDA toolkit: expected .*, found CUDA 13\.0\.88, which does not build for 70"
    ):
        cuda_proof.accept(tmp_path / "cuda", cuda.Wanted(tmp_path, architectures=("70-real",)), host)
    add_toolkit(tmp_path / "other", "13.0.88", build="echo error: no >&2; exit 1")
    with pytest.raises(ProblemError, match="cannot build a small program: error: no"):
        cuda_proof.accept(tmp_path / "other", cuda.Wanted(tmp_path), host)
    (tmp_path / "cuda/lib64/libcublas.so").unlink()
    with pytest.raises(ProblemError, match="lacks cuBLAS"):
        cuda_proof.accept(tmp_path / "cuda", cuda.Wanted(tmp_path), host)
