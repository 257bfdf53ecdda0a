# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The launcher, in a folder of its own whose requirements are none."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import typing
import zipfile

import pytest

LAUNCHER = pathlib.Path(__file__).parents[3] / "llama-fleet"
MAIN = """
import os, signal, sys, time
print(sys.prefix, sys.argv[1:])
if "wait" in sys.argv:
    signal.signal(signal.SIGTERM, lambda *_arguments: sys.exit(7))
    print(os.getpid(), flush=True)
    time.sleep(60)
"""

# Records its arguments in the environment, without the path of the folder.
PIP = """
import pathlib, sys
pathlib.Path(sys.prefix, "asked").write_text("\\n".join(sys.argv[1:]))
"""
PIP_WHEEL = "import pathlib; print(pathlib.Path(__file__).parents[2])"


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "a folder"
    package = folder / "src" / "llama_fleet"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(MAIN, encoding="utf-8")
    # The settings of this machine's pip must not matter.
    text = LAUNCHER.read_text(encoding="utf-8")
    assert "/etc/pip.conf /etc/xdg/" in text
    (folder / "llama-fleet").write_text(text.replace(" /etc/", f" {tmp_path.as_posix()}/none/"), encoding="utf-8")
    (folder / "llama-fleet").chmod(0o755)
    (folder / "requirements.txt").touch()
    # A pip that installs nothing saves seconds for each environment.
    (folder / "pip").mkdir()
    (folder / "pip" / "__main__.py").write_text(PIP, encoding="utf-8")
    (package / "pip_wheel.py").write_text(PIP_WHEEL, encoding="utf-8")
    return folder


def environment(*folders: pathlib.Path) -> dict[str, str]:
    # The Python of the tests is new enough, whatever else there is.
    path = os.pathsep.join([*map(str, folders), str(pathlib.Path(sys.executable).parent), "/usr/bin", "/bin"])
    # Without an index pip does the work, although a uv may lie beside that Python.
    return {"PATH": path, "HOME": "/dev/null", "PIP_NO_INDEX": "1"}


def run(launcher: pathlib.Path, *arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [launcher, *arguments], env={**environment(), **options}, capture_output=True, text=True, check=False, cwd="/"
    )


def test_the_environment_is_made_once_and_again_when_its_requirements_change(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    first = run(folder / "llama-fleet", "a b", "*")
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"{folder}/.venv ['a b', '*']\n"
    assert first.stderr == (f"llama-fleet: setting up {folder}/.venv (once, less than a minute)\n")

    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "second").symlink_to(folder / "llama-fleet")
    (tmp_path / "first").symlink_to("bin/second")
    second = run(tmp_path / "first")
    assert (second.stdout, second.stderr) == (f"{folder}/.venv []\n", "")

    (folder / "requirements.txt").write_text("# other\n", encoding="utf-8")
    (folder / ".venv" / "old").touch()
    assert "setting up" in run(folder / "llama-fleet").stderr
    assert not (folder / ".venv" / "old").exists()

    (folder / ".venv" / "stamp").unlink()  # as a kill in the middle leaves it
    assert "setting up" in run(folder / "llama-fleet").stderr

    with subprocess.Popen(
        [folder / "llama-fleet", "wait"], env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        process.stdout.readline()
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 7

    moved = folder.rename(tmp_path / "moved")
    assert run(moved / "llama-fleet").stdout == f"{moved}/.venv []\n"


def test_of_two_first_starts_only_one_makes_the_environment(folder: pathlib.Path) -> None:
    options: dict[str, typing.Any] = {
        "env": environment(),
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }
    starts = [subprocess.Popen([folder / "llama-fleet"], **options) for _ in range(2)]
    outputs = [process.communicate() for process in starts]
    assert [output for output, _errors in outputs] == [f"{folder}/.venv []\n"] * 2
    assert sum(errors.count("setting up") for _output, errors in outputs) == 1


def test_a_folder_that_is_another_users_is_told() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        shutil.copy(LAUNCHER, folder / "llama-fleet")
        (folder / "requirements.txt").touch()
        folder.chmod(0o555)
        other = 65534 if os.geteuid() == 0 else None
        result = subprocess.run(
            [folder / "llama-fleet"],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            user=other,
            cwd="/",
        )
        folder.chmod(0o755)
    assert result.returncode == 1
    assert f"{name}/.venv is missing or out of date, and {name} is not writable for " in result.stderr


def test_requirements_without_a_hash_are_an_error_and_leave_no_stamp(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    shutil.rmtree(folder / "pip")
    shutil.copy(LAUNCHER.parent / "src/llama_fleet/pip_wheel.py", folder / "src/llama_fleet")
    (folder / "collections").symlink_to(LAUNCHER.parent / "collections")
    (folder / "requirements.txt").write_text("no-hash==1\n", encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "no_hash-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("no_hash-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: no-hash\nVersion: 1\n")
        wheel.writestr("no_hash-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("no_hash-1.dist-info/RECORD", "")
    result = run(folder / "llama-fleet", PIP_FIND_LINKS=str(tmp_path))
    assert result.returncode == 1
    assert result.stderr.endswith("llama-fleet: the requirements could not be installed; the reason is above.\n")
    assert not (folder / ".venv" / "stamp").exists()


def stand_in(folder: pathlib.Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def tools(folder: pathlib.Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in ("cat", "cut", "dirname", "env", "flock", "readlink", "rm", "sha256sum"):
        (folder / name).symlink_to(str(shutil.which(name)))


def test_an_old_python_is_not_taken(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    tools(tmp_path / "bin")
    stand_in(tmp_path / "bin", "python3", "exit 1")
    result = run(folder / "llama-fleet", PATH=str(tmp_path / "bin"))
    assert result.returncode == 1
    assert "found no Python 3.11 or newer" in result.stderr


def test_without_ensurepip_the_environment_is_the_same(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    # What Debian's python3 does without python3-venv: everything but ensurepip.
    hide = "import sys; sys.modules['ensurepip'] = None"
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sitecustomize.py").write_text(hide, encoding="utf-8")
    stand_in(tmp_path / "bin", "python3.14", f'PYTHONPATH={tmp_path}/hidden:$PYTHONPATH exec {sys.executable} "$@"')
    result = run(folder / "llama-fleet", PATH=environment(tmp_path / "bin")["PATH"])
    assert (result.returncode, result.stdout) == (0, f"{folder}/.venv []\n"), result.stderr
    assert not list((folder / ".venv").glob("lib/*/site-packages/pip"))


def test_a_python_without_venv_is_told(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    tools(tmp_path / "bin")
    stand_in(tmp_path / "bin", "python3", f'[ "$2" != venv ] && exec {sys.executable} "$@"')
    result = run(folder / "llama-fleet", PATH=str(tmp_path / "bin"))
    assert result.returncode == 1
    assert "cannot make virtual environments: install its module venv first (on Debian: python3-venv)" in result.stderr


def test_pip_compiles_nothing_and_requires_every_hash(folder: pathlib.Path) -> None:
    assert run(folder / "llama-fleet").returncode == 0
    asked = (folder / ".venv" / "asked").read_text(encoding="utf-8").splitlines()
    assert {"--no-compile", "--require-hashes", "--no-input", str(folder / "requirements.txt")} <= set(asked)


@pytest.mark.parametrize(
    ("settings", "status", "uses_uv", "uses_pip"),
    [
        ({"PIP_NO_INDEX": ""}, 0, True, False),
        ({"PIP_NO_INDEX": ""}, 1, True, True),  # what uv cannot install, pip may
        ({"PIP_NO_INDEX": "", "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}, 0, False, True),
        ({"PIP_NO_INDEX": "", "PIP_CONFIG_FILE": str(LAUNCHER)}, 0, False, True),
    ],
)
def test_uv_is_used_where_it_asks_the_same_index_as_pip(
    folder: pathlib.Path, tmp_path: pathlib.Path, settings: dict[str, str], status: int, uses_uv: bool, uses_pip: bool
) -> None:
    stand_in(tmp_path / "bin", "uv", f'printf "%s\\n" "$@" > {tmp_path}/uv; exit {status}')
    result = run(folder / "llama-fleet", PATH=environment(tmp_path / "bin")["PATH"], **settings)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "uv").exists() == uses_uv
    assert (folder / ".venv" / "asked").exists() == uses_pip
    if uses_uv:
        assert "--require-hashes" in (tmp_path / "uv").read_text(encoding="utf-8").splitlines()
