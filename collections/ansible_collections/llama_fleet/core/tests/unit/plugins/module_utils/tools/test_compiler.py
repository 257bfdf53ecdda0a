# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import compiler
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    import pathlib

GCC = """Using built-in specs.
Target: x86_64-linux-gnu
Configured with: ../src/configure --with-pkgversion='gcc version 1 x'
Thread model: posix
gcc version 12.2.0 (Debian 12.2.0-14)
"""
CLANG = "Debian clang version 14.0.6\nTarget: x86_64-pc-linux-gnu\nThread model: posix\n"


@pytest.mark.parametrize(
    ("shown", "version"),
    [
        (GCC, "gcc version 12.2.0 (Debian 12.2.0-14) x86_64-linux-gnu"),
        (CLANG, "Debian clang version 14.0.6 x86_64-pc-linux-gnu"),
    ],
)
def test_compilers_tell_version_and_target(shown: str, version: str) -> None:
    assert compiler.compiler_version("c++", FakeRunner(Result(0, "", shown))) == version


@pytest.mark.parametrize("result", [Result(0, "", "tcc"), Result(127, "", "gcc version 1"), Result(1, "", "")])
def test_a_compiler_that_does_not_run(result: Result) -> None:
    with pytest.raises(ProblemError, match=r"^compiler: "):
        compiler.compiler_version("c++", FakeRunner(result))


def test_a_toolkit_tells_its_version() -> None:
    shown = "Cuda compilation tools, release 13.0, V13.0.88\nBuild cuda_13.0.r13.0/compiler.36424714_0\n"
    assert compiler.toolkit_version("/t", "v", FakeRunner(Result(0, shown, ""))) == "13.0.88"
    with pytest.raises(ProblemError, match=r"whose bin/nvcc does not run"):
        compiler.toolkit_version("/t", "v", FakeRunner(Result(127, "", "")))


def test_a_bare_host_misses_all(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(compiler, "_has_openssl_headers", lambda: False)
    host = compiler.observe(needs_git=True)
    assert (host.compiler, host.missing, host.required) == ("", ("compiler", "git", "openssl"), ("compiler", "git"))
    assert compiler.observe(needs_git=False).required == ("compiler",)


def test_only_root_with_apt_installs(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not compiler.can_install()
    (tmp_path / "apt-get").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "apt-get").chmod(0o755)
    assert compiler.can_install()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not compiler.can_install()


@pytest.mark.parametrize(
    ("uid", "apt", "fix"),
    [
        (1000, True, "use become or sudo"),
        (0, True, "set llama_cpp_install_packages to true"),
        (0, False, "install them"),
    ],
)
def test_what_is_missing_is_said_with_its_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, uid: int, apt: bool, fix: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setenv("PATH", str(tmp_path))
    if apt:
        (tmp_path / "apt-get").write_text("#!/bin/sh\n", encoding="utf-8")
        (tmp_path / "apt-get").chmod(0o755)
    problem = compiler.missing_problem(("compiler", "git"), "llama_cpp_install_packages")
    assert (problem.subject, problem.found, problem.wanted) == (
        "compiler",
        "no g++ or git",
        "the packages g++ git",
    )
    assert problem.fix.endswith(fix)


def test_libraries_that_binaries_from_elsewhere_load(tmp_path: pathlib.Path) -> None:
    assert compiler.missing_libraries(root=tmp_path) == ("libgomp.so.1", "libssl.so.3", "libstdc++.so.6")
    for place in ("usr/lib/x86_64-linux-gnu/libstdc++.so.6", "usr/lib64/libssl.so.3"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()
    assert compiler.missing_libraries(root=tmp_path) == ("libgomp.so.1",)
    assert compiler.missing_libraries(("libgomp.so.1",), tmp_path) == ()
    assert compiler.packages(("libgomp.so.1", "libssl.so.3")) == ["libgomp1", "libssl3"]


def test_packages_are_installed_in_one_go() -> None:
    run = FakeRunner(Result(100, "", "E: one repository is down"), Result(0, "", ""))
    compiler.install(("compiler", "openssl"), run)
    assert [command[4] for command in run.commands] == ["update", "install"]
    assert run.commands[1][-4:] == ["-y", "--no-install-recommends", "g++", "libssl-dev"]


def test_a_failed_installation_says_why() -> None:
    with pytest.raises(ProblemError, match=r"'E: Unable to locate package g' from apt-get"):
        compiler.install(
            ("compiler",), FakeRunner(Result(0, "", ""), Result(100, "", "W: x\nE: Unable to locate package g\n"))
        )
