# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the libraries that a release gets from the toolkit and the compiler."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.compile import (
    copy_openmp,
    copy_toolkit_libraries,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

if typing.TYPE_CHECKING:
    import pathlib


@pytest.mark.parametrize("folder", ["lib64", "lib", "targets/x86_64-linux/lib"])
def test_the_toolkits_libraries_come_along(tmp_path: pathlib.Path, folder: str) -> None:
    libraries = tmp_path / "toolkit" / folder
    libraries.mkdir(parents=True)
    names = ["libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13"]
    for name in names:
        (libraries / f"{name}.0.1").write_text(name, encoding="utf-8")
        (libraries / name).symlink_to(f"{name}.0.1")
    target = tmp_path / "bin"
    target.mkdir()
    copy_toolkit_libraries(tmp_path / "toolkit", "13", target, "llama_cpp_cuda_toolkit")
    assert {path.name for path in target.iterdir() if not path.is_symlink()} == set(names)
    (libraries / names[2]).unlink()
    with pytest.raises(ProblemError, match=r"no libcublasLt.so.13"):
        copy_toolkit_libraries(tmp_path / "toolkit", "13", target, "llama_cpp_cuda_toolkit")


def test_what_cublas_loads_at_run_time_comes_along(tmp_path: pathlib.Path) -> None:
    libraries = tmp_path / "toolkit" / "lib"
    libraries.mkdir(parents=True)
    for name in (
        "libcudart.so.13",
        "libcublas.so.13",
        "libcublasLt.so.13",
        "libnvrtc.so.13",
        "libnvrtc-builtins.so.13.0",
        "libnvrtc-builtins.alt.so.13.0",
    ):
        (libraries / name).write_bytes(b"\x7fELF")
    target = tmp_path / "bin"
    target.mkdir()
    copy_toolkit_libraries(tmp_path / "toolkit", "13", target, "x")
    assert not list(target.glob("libnvrtc*"))
    (libraries / "libcublasLt.so.13").write_bytes(b"\x7fELF\0libnvrtc.so.13\0")
    copy_toolkit_libraries(tmp_path / "toolkit", "13", target, "x")
    assert {path.name for path in target.glob("libnvrtc*")} == {"libnvrtc.so.13", "libnvrtc-builtins.so.13.0"}
    for path in libraries.glob("libnvrtc*"):
        path.unlink()
    copy_toolkit_libraries(tmp_path / "toolkit", "13", target, "x")


def test_the_compilers_openmp_comes_along(tmp_path: pathlib.Path) -> None:
    (tmp_path / "gcc").mkdir()
    (tmp_path / "gcc" / "libgomp.so.1.0.0").write_text("openmp", encoding="utf-8")
    (tmp_path / "gcc" / "libgomp.so.1").symlink_to("libgomp.so.1.0.0")
    target = tmp_path / "bin"
    target.mkdir()
    copy_openmp("c++", target, lambda *_a, **_k: Result(0, "libgomp.so.1\n", ""))
    assert list(target.iterdir()) == []
    copy_openmp("c++", target, lambda *_a, **_k: Result(0, f"{tmp_path}/gcc/libgomp.so.1\n", ""))
    assert (target / "libgomp.so.1").read_text(encoding="utf-8") == "openmp"
    assert not (target / "libgomp.so.1").is_symlink()
