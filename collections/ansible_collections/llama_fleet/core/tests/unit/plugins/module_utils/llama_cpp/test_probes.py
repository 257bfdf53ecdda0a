# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Probes of compilers: fakes for every exit code, the real GCC with a CPU that has AMX, and an old assembler."""

from __future__ import annotations

import os
import pathlib
import platform
import shutil
import subprocess
import tempfile
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands, handover
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import probes
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.faults import AMX_SHIM, FAULTS, NO_AMX, Fault
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.probes import find_cures
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

FAKES = pathlib.Path(__file__).resolve().parents[3] / "fakes"
NATIVE = {"GGML_NATIVE": "ON"}
PORTABLE = {"GGML_NATIVE": "OFF", "GGML_CPU_ALL_VARIANTS": "ON"}
AMX = "flags\t\t: sse4_2 amx_tile\n"
real = pytest.mark.skipif(
    platform.machine() != "x86_64" or shutil.which("g++") is None, reason="needs g++ on PATH, on x86-64"
)
# Writes a script as the program; what it does depends on the program and on how it is compiled.
COMPILER = """#!/bin/sh
echo "$@" >> {log}
what=plain
for word in "$@"; do
    case $word in
        -o) next=1;;
        *.h) test -s "$word" && what=shim;;
        -mno-amx-tile) what=no_amx;;
        *.cpp) grep -q AMX_TILE "$word" || what=nothing;;
        *) test -z "$next" || {{ program=$word; next=; }};;
    esac
done
case $what in nothing) does='{nothing}';; plain) does='{plain}';; shim) does='{shim}';; no_amx) does='{no_amx}';; esac
test "$does" = fails && exit 1
printf '#!/bin/sh\\n%s\\n' "$does" > "$program"
chmod 755 "$program"
"""


@pytest.fixture
def public() -> typing.Iterator[pathlib.Path]:
    """Lend a folder that every user can read."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        (folder / "log").touch()
        (folder / "log").chmod(0o666)
        yield folder


def fake(
    folder: pathlib.Path, plain: str, shim: str = "exit 0", no_amx: str = "exit 0", nothing: str = "exit 0"
) -> str:
    """Write a compiler whose programs do this, or that ``fails``; return its path."""
    path = folder / "c++"
    text = COMPILER.format(log=folder / "log", plain=plain, shim=shim, no_amx=no_amx, nothing=nothing)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return str(path)


ILLEGAL = "kill -ILL $$"
REFUSED = "exit 2"


@pytest.mark.parametrize(
    ("results", "cures"),
    [
        ({"plain": "exit 0"}, ()),
        ({"plain": REFUSED, "shim": REFUSED}, (NO_AMX,)),
        ({"plain": "exit 3"}, (AMX_SHIM,)),
        ({"plain": "exit 3", "shim": "exit 3"}, (NO_AMX,)),
        ({"plain": ILLEGAL, "shim": ILLEGAL}, (NO_AMX,)),
        ({"plain": "exit 132", "shim": "exit 132"}, (NO_AMX,)),
        # The assembler does not know AMX.
        ({"plain": "fails", "shim": "fails"}, (NO_AMX,)),
        # Nothing helps: the build and the smoke test will say why.
        ({"plain": "exit 3", "shim": "exit 3", "no_amx": "exit 3"}, (NO_AMX,)),
        ({"plain": "fails", "nothing": "fails"}, ()),
        # Programs may not be run here, which says nothing about AMX.
        ({"plain": "exit 126", "shim": "exit 126", "nothing": "exit 126"}, (AMX_SHIM,)),
        ({"plain": "fails", "shim": "fails", "nothing": "exit 126"}, (NO_AMX,)),
    ],
)
def test_the_probes_result_decides(public: pathlib.Path, results: dict[str, str], cures: tuple[object, ...]) -> None:
    assert find_cures(fake(public, **results), NATIVE, "x86_64", AMX, commands.run) == cures


def test_a_probe_that_hangs_is_ended(public: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "_RUN_LIMIT", 0.2)
    compiler = fake(public, plain="exec sleep 600", shim="exec sleep 600")
    assert find_cures(compiler, NATIVE, "x86_64", AMX, commands.run) == (NO_AMX,)


@pytest.mark.parametrize(
    ("machine", "cpuinfo"), [("x86_64", "flags\t\t: avx2 fma\n"), ("aarch64", "Features\t: sve i8mm\n"), ("x86_64", "")]
)
def test_without_such_a_cpu_nothing_runs(machine: str, cpuinfo: str) -> None:
    runner = FakeRunner()
    assert find_cures("/usr/bin/c++", NATIVE, machine, cpuinfo, runner) == ()
    assert runner.commands == []


@pytest.mark.parametrize(
    ("options", "environment", "flags"),
    [
        (NATIVE, "", "-O3 -DNDEBUG -march=native"),
        (NATIVE, "-g", "-g -O3 -DNDEBUG -march=native"),
        (
            {**NATIVE, "CMAKE_CXX_FLAGS": "-fno-x -DA='b c'", "CMAKE_CXX_FLAGS_RELEASE": "-O2"},
            "-g",
            "-fno-x -DA=b c -O2 -",
        ),
        ({"GGML_NATIVE": "OFF", "GGML_AMX_TILE": "ON", "GGML_AVX2": "OFF"}, "", "-O3 -DNDEBUG -mamx-tile -"),
        (
            {"GGML_NATIVE": "OFF", "GGML_SSE42": "ON", "GGML_AVX512": "ON"},
            "",
            "-msse4.2 -mavx512f -mavx512cd -mavx512vl ",
        ),
        (PORTABLE, "", "-mavxvnni -mavx2 "),
    ],
)
def test_the_flags_are_those_of_the_build(
    public: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, str],
    environment: str,
    flags: str,
) -> None:
    monkeypatch.delenv("CXXFLAGS", raising=False)
    if environment:
        monkeypatch.setenv("CXXFLAGS", environment)
    find_cures(fake(public, "exit 0"), options, "x86_64", AMX, commands.run)
    lines = (public / "log").read_text(encoding="utf-8").splitlines()
    assert len(lines) >= 2
    assert all(flags in line for line in lines)


def test_flags_that_cannot_be_split_stop_the_build_and_not_the_probe(public: pathlib.Path) -> None:
    options = {**NATIVE, "CMAKE_CXX_FLAGS": "-DA='b"}
    assert find_cures(fake(public, "exit 3"), options, "x86_64", AMX, commands.run) == ()


def test_the_users_compiler_is_probed(public: pathlib.Path) -> None:
    options = {**NATIVE, "CMAKE_CXX_COMPILER": fake(public, "exit 3")}
    assert find_cures("/usr/bin/false", options, "x86_64", AMX, commands.run) == (AMX_SHIM,)


@pytest.mark.skipif(not handover.may_become_others(), reason="needs root, to become the build user")
def test_the_compiler_and_the_program_run_as_the_build_user_and_leave_nothing(
    public: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    # Its own, because tests beside this one make and remove folders too.
    place = public / "tmp"
    place.mkdir()
    place.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    folders = set(pathlib.Path(tempfile.gettempdir()).glob("llama-fleet-scratch-*"))
    told = public / "log"
    program = f'test "$(id -u)" = {handover.builder()} && test -z "$HF_TOKEN" && echo "$TMPDIR" >> {told}'
    assert find_cures(fake(public, plain=program), NATIVE, "x86_64", AMX, commands.run) == ()
    last = told.read_text(encoding="utf-8").splitlines()[-1]
    assert last.startswith(tempfile.gettempdir())
    assert not pathlib.Path(last).exists()
    assert set(pathlib.Path(tempfile.gettempdir()).glob("llama-fleet-scratch-*")) <= folders


class Emulated(FakeRunner):
    """A Runner that gives the probe a CPU with AMX; ``codes`` are the exit codes of the probe's runs."""

    def __init__(self, library: pathlib.Path, mode: str) -> None:
        super().__init__()
        self.library, self.mode = library, mode
        self.codes: list[int] = []

    def answer(self, command: list[str]) -> commands.Result:
        environment, probe = {"AMX": self.mode, "LD_PRELOAD": str(self.library)}, command[0].endswith("/probe")
        result = commands.run(command, env=environment if probe else None, timeout=60)
        self.codes += [result.code] if probe else []
        return result


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("amx") / "amx.so"
    command = [
        "g++",
        "-x",
        "c",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-shared",
        "-fPIC",
        str(FAKES / "amx.c"),
        "-o",
        str(path),
    ]
    subprocess.run(command, check=True)
    return path


def gcc_is(version: str) -> bool:
    command = ["g++", "-dumpfullversion"]
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout.strip() == version


AMX_FLAGS = {"GGML_NATIVE": "OFF", "GGML_AMX_TILE": "ON"}


@real
@pytest.mark.parametrize(
    ("mode", "options", "codes", "cures"),
    [
        ("good", {"CMAKE_CXX_FLAGS_RELEASE": "-O0"}, [0, 0], ()),
        ("good", {}, [0, 3, 0], (AMX_SHIM,)),
        ("good", {"CMAKE_CXX_FLAGS_RELEASE": "-O1"}, [0, 3, 0], (AMX_SHIM,)),
        ("refused", {}, [0, 2, 2, 0], (NO_AMX,)),
        ("broken", {}, [0, -4, -4, 0], (NO_AMX,)),
    ],
)
def test_the_real_compiler_on_a_cpu_with_amx(
    library: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    options: dict[str, str],
    codes: list[int],
    cures: tuple[object, ...],
) -> None:
    monkeypatch.setattr(handover, "builder", lambda: 0)  # the library lies where no other user may read
    if 3 in codes and not gcc_is("12.2.0"):
        codes, cures = [0, 0], ()
    run = Emulated(library, mode)
    assert (find_cures("g++", {**AMX_FLAGS, **options}, "x86_64", AMX, run), run.codes) == (cures, codes)


ASSEMBLER = """#!/bin/sh
for word in "$@"; do
    if test -f "$word" && grep -q '{instruction}' "$word"; then
        echo "Error: no such instruction: '{instruction}'" >&2
        exit 1
    fi
done
exec {real} "$@"
"""


@real
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if not fault.run], ids=lambda fault: fault.name)
def test_an_assembler_that_is_too_old(public: pathlib.Path, fault: Fault) -> None:
    cpuinfo = f"flags\t\t: {fault.features[0]}\n"
    options = {"GGML_NATIVE": "OFF", f"GGML_{fault.features[0].upper()}": "ON"}
    assert find_cures("g++", options, "x86_64", cpuinfo, commands.run) == ()
    old = public / "as"
    old.write_text(ASSEMBLER.format(instruction="vpdpbusd", real=shutil.which("as")), encoding="utf-8")
    old.chmod(0o755)
    options["CMAKE_CXX_FLAGS"] = f"-B{public}/"
    assert find_cures("g++", options, "x86_64", cpuinfo, commands.run) == fault.cures


def test_an_odd_environment_changes_no_cure(public: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the caller that a compiler reads reach the build too, so the probe sees what the build sees."""
    monkeypatch.setenv("CPLUS_INCLUDE_PATH", str(public))
    monkeypatch.setenv("TMPDIR", os.devnull)
    assert find_cures(fake(public, "exit 3"), NATIVE, "x86_64", AMX, commands.run) == (AMX_SHIM,)
