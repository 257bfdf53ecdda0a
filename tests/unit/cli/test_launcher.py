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


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "a folder"
    package = folder / "src" / "llama_fleet"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(MAIN, encoding="utf-8")
    shutil.copy(LAUNCHER, folder / "llama-fleet")
    (folder / "requirements.txt").touch()
    return folder


def environment(*folders: pathlib.Path) -> dict[str, str]:
    # The Python of the tests is new enough, whatever else there is.
    path = os.pathsep.join([*map(str, folders), str(pathlib.Path(sys.executable).parent), "/usr/bin", "/bin"])
    return {"PATH": path, "HOME": "/nonexistent"}


@pytest.fixture
def without_requirements(tmp_path: pathlib.Path) -> pathlib.Path:
    """Make a folder with a Python whose environments get a pip that installs nothing, which saves seconds for each."""
    pip = f'"$3/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages/pip"'
    make = f'{sys.executable} -m venv --without-pip "$3" && mkdir {pip} && touch {pip}/__init__.py {pip}/__main__.py'
    stand_in(tmp_path / "python", "python3.14", f'if [ "$2" = venv ]; then {make}; else exec {sys.executable} "$@"; fi')
    return tmp_path / "python"


def run(launcher: pathlib.Path, *arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [launcher, *arguments], env={**environment(), **options}, capture_output=True, text=True, check=False, cwd="/"
    )


def test_the_environment_is_made_once_and_again_when_its_requirements_change(
    folder: pathlib.Path, tmp_path: pathlib.Path, without_requirements: pathlib.Path
) -> None:
    path = environment(without_requirements)["PATH"]
    first = run(folder / "llama-fleet", "a b", "*", PATH=path)
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"{folder}/.venv ['a b', '*']\n"
    assert first.stderr.startswith(f"llama-fleet: setting up {folder}/.venv with ")

    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "second").symlink_to(folder / "llama-fleet")
    (tmp_path / "first").symlink_to("bin/second")
    second = run(tmp_path / "first")
    assert (second.stdout, second.stderr) == (f"{folder}/.venv []\n", "")

    (folder / "requirements.txt").write_text("# other\n", encoding="utf-8")
    (folder / ".venv" / "old").touch()
    assert "setting up" in run(folder / "llama-fleet", PATH=path).stderr
    assert not (folder / ".venv" / "old").exists()

    (folder / ".venv" / "stamp").unlink()  # as a kill in the middle leaves it
    assert "setting up" in run(folder / "llama-fleet", PATH=path).stderr

    with subprocess.Popen(
        [folder / "llama-fleet", "wait"], env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        process.stdout.readline()
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 7

    moved = folder.rename(tmp_path / "moved")
    assert run(moved / "llama-fleet", PATH=path).stdout == f"{moved}/.venv []\n"


def test_of_two_first_starts_only_one_makes_the_environment(
    folder: pathlib.Path, without_requirements: pathlib.Path
) -> None:
    options: dict[str, typing.Any] = {
        "env": environment(without_requirements),
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
    (folder / "requirements.txt").write_text("no-hash==1\n", encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "no_hash-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("no_hash-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: no-hash\nVersion: 1\n")
        wheel.writestr("no_hash-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("no_hash-1.dist-info/RECORD", "")
    result = run(folder / "llama-fleet", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path))
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


# What Debian's python3 does without python3-venv: everything but ensurepip.
WITHOUT_ENSUREPIP = f'case "$2" in *ensurepip*) exit 1;; esac; exec {sys.executable} "$@"'


def test_without_ensurepip_a_user_is_told_the_command(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    tools(tmp_path / "bin")
    stand_in(tmp_path / "bin", "python3", WITHOUT_ENSUREPIP)
    stand_in(tmp_path / "bin", "apt-get", "exit 1")
    stand_in(tmp_path / "bin", "id", '[ "$1" = -u ] && echo 1000 || echo somebody')
    result = run(folder / "llama-fleet", PATH=str(tmp_path / "bin"))
    assert result.returncode == 1
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    assert f"'sudo apt-get install {package}'" in result.stderr


def test_without_ensurepip_and_apt_get_a_user_is_told_what_is_missing(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    tools(tmp_path / "bin")
    stand_in(tmp_path / "bin", "python3", WITHOUT_ENSUREPIP)
    stand_in(tmp_path / "bin", "id", "echo 0")
    result = run(folder / "llama-fleet", PATH=str(tmp_path / "bin"))
    assert result.returncode == 1
    assert "python3 has no ensurepip: install the package that brings it" in result.stderr


def test_without_ensurepip_root_gets_the_package(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    tools(tmp_path / "bin")
    stand_in(tmp_path / "bin", "python3", WITHOUT_ENSUREPIP)
    stand_in(tmp_path / "bin", "apt-get", f'echo "$@" >> {tmp_path}/calls; [ "$1" = update ]')
    stand_in(tmp_path / "bin", "id", "echo 0")
    result = run(folder / "llama-fleet", PATH=str(tmp_path / "bin"))
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    assert (tmp_path / "calls").read_text(
        encoding="utf-8"
    ) == f"update\ninstall --yes --no-install-recommends {package}\n"
    assert result.returncode == 1
    assert f"{package} could not be installed" in result.stderr


def test_without_ensurepip_a_user_with_sudo_gets_the_package(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    tools(tmp_path / "bin")
    stand_in(tmp_path / "bin", "python3", WITHOUT_ENSUREPIP)
    stand_in(tmp_path / "bin", "apt-get", f'echo "$@" >> {tmp_path}/calls; [ "$1" = update ]')
    stand_in(tmp_path / "bin", "id", "echo 1000")
    stand_in(tmp_path / "bin", "sudo", f'[ "$1" = -n ] && exit 0; echo sudo >> {tmp_path}/calls; exec "$@"')
    result = run(folder / "llama-fleet", PATH=str(tmp_path / "bin"))
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    assert (tmp_path / "calls").read_text(
        encoding="utf-8"
    ) == f"sudo\nupdate\nsudo\ninstall --yes --no-install-recommends {package}\n"
    assert f"{package} could not be installed" in result.stderr
