# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import hashlib
import io
import os
import pathlib
import re
import sys
import typing
import zipfile

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.index import IndexFile
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import Package

WANTED = ["cmake==1", "ninja==2"]
SUMS = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("cmake", "ninja", "hub", "idna", "cache")}
BRINGS = {"cmake==1": ("cmake",), "ninja==2": ("ninja",), "hub==3": ("hub", "idna"), "cache==4": ("cache",)}
RELEASES = [
    ("cache", "4", ""),
    ("cmake", "1", ""),
    ("hub", "3", ""),
    ("idna", "5", "python_full_version < '3.12'"),
    ("ninja", "2", ""),
]
WHEELS = {f"{name}=={version}": {"py3-none-any": SUMS[name]} for name, version, _marker in RELEASES} | {
    "hub==3": {"cp310-abi3-any": SUMS["hub"], "cp311-abi3-any": SUMS["idna"]}
}
PINS = venv.Pins(BRINGS, RELEASES, WHEELS)


class Host(FakeRunner):
    """A fake venv and pip: write what they would write, and fail where told to."""

    def __init__(self, fails: str = "", noise: str = "some noise") -> None:
        super().__init__()
        self.fails = fails
        self.noise = noise
        self.locks: list[str] = []

    def answer(self, command: list[str]) -> Result:
        step = "venv" if "venv" in command else "pip"
        if step == self.fails:
            return Result(
                1, "", f"{self.noise}\nERROR: No matching distribution found for cmake==1\n[notice] new pip\n"
            )
        if step == "venv":
            programs = pathlib.Path(command[-1]) / "bin"
            programs.mkdir(parents=True, exist_ok=True)
            (programs / "python").unlink(missing_ok=True)
            (programs / "python").symlink_to(os.path.realpath(sys.executable))
        else:
            self.locks.append(pathlib.Path(command[-1]).read_text(encoding="utf-8"))
        return Result(0, "", "")

    @property
    def steps(self) -> list[str]:
        """List the commands that ran; for pip, its source options and the names in its lock."""
        locks = iter([" ".join(re.findall(r"^\S+==\S+", lock, re.MULTILINE)) for lock in self.locks])
        return ["venv" if "venv" in command else f"{_between(command)}{next(locks)}" for command in self.commands]


def _between(command: list[str]) -> str:
    return "".join(f"{word} " for word in command[command.index(":all:") + 1 : command.index("--require-hashes")])


@pytest.fixture(autouse=True)
def index(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fake the package index; return the addresses that were asked for pip's wheel."""
    asked: list[str] = []

    def find(index: str, package: Package, sha256: str, _variable: str) -> IndexFile:
        asked.append(index)
        return IndexFile("pip.whl", f"{index}/{package.project}.whl", sha256, 1, index)

    monkeypatch.setattr(venv.package_index, "find_by_sha256", find)
    monkeypatch.setattr(venv, "fetch", fetch)
    monkeypatch.setattr(venv, "PIP_SHA256", hashlib.sha256(PIP).hexdigest())
    return asked


def pip_wheel(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as wheel:
        for name in names:
            wheel.writestr(zipfile.ZipInfo(name), "")
    return file.getvalue()


PIP = pip_wheel("pip/__main__.py")


def fetch(url: str, target: pathlib.Path, sha256: str, _variable: str, *, most: int, endpoint: str) -> None:
    assert sha256 == venv.PIP_SHA256, "pip's wheel runs as root, so it must be the pinned one"
    assert (most, url) == (16 << 20, f"{endpoint}/pip.whl")
    target.write_bytes(PIP)


@pytest.mark.parametrize(
    ("wheel", "told"),
    [
        (
            pip_wheel("pip/__main__.py", "more"),
            "expected sha256 [0-9a-f]{64}, found sha256 ",
        ),
        (
            pip_wheel("../../evil"),
            "expected .*, found .*, which is not a wheel \\(a member's name is '../../evil', expected a relative path",
        ),
        (
            pip_wheel("/evil"),
            "expected .*, found .*, which is not a wheel \\(a member's name is '/evil', expected a relative path",
        ),
        (b"<html>", "expected .*, found .*, which is not a wheel"),
    ],
)
def test_a_wheel_of_pip_that_is_another(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, wheel: bytes, told: str
) -> None:
    """The unpacked bytes are those with the pinned checksum, even if the file changes after the download."""
    monkeypatch.setattr(venv, "fetch", lambda _url, target, *_more, **_named: target.write_bytes(wheel))
    if "which is not a wheel" in told:
        monkeypatch.setattr(venv, "PIP_SHA256", hashlib.sha256(wheel).hexdigest())
    host = Host()
    with pytest.raises(ProblemError, match=told):
        venv.ensure_tools(tmp_path, WANTED, PINS, runner=host)
    assert host.steps == ["venv"]
    assert not list(tmp_path.rglob("evil"))


def test_pip_comes_from_the_index_once(tmp_path: pathlib.Path, index: list[str]) -> None:
    host = Host()
    venv.ensure_tools(tmp_path, WANTED, PINS, index_url="https://index/simple", runner=host)
    venv.ensure_tools(tmp_path, ["hub==3"], PINS, index_url="https://index/simple", runner=host)
    assert index == ["https://index/simple"]
    assert [command[1] for command in host.commands[1:]] == [f"{tmp_path}/venv/pip-{venv.PIP.version}/pip"] * 2
    assert pathlib.Path(host.commands[1][1], "__main__.py").is_file()


def test_tools_are_installed_once(tmp_path: pathlib.Path) -> None:
    host = Host()
    assert not venv.tools_ready(tmp_path, WANTED)
    assert venv.ensure_tools(tmp_path, WANTED, PINS, runner=host) is True
    assert host.steps == ["venv", "cmake==1 ninja==2"]
    assert venv.tools_ready(tmp_path, WANTED)
    assert venv.ensure_tools(tmp_path, WANTED, PINS, runner=host) is False
    assert len(host.commands) == 2


def test_a_further_tool_is_added(tmp_path: pathlib.Path) -> None:
    host = Host()
    venv.ensure_tools(tmp_path, WANTED, PINS, runner=host)
    assert venv.ensure_tools(tmp_path, ["hub==3"], PINS, index_url="https://index/simple", runner=host) is True
    assert host.steps[2:] == ["hub==3 idna==5"]
    assert [environment.get("PIP_INDEX_URL", "") for environment in host.environments] == [
        "",
        "",
        "https://index/simple",
    ]
    assert not [word for command in host.commands for word in command if "https://index" in word], (
        "an argument, which every user on the host can see"
    )
    assert venv.tools_ready(tmp_path, [*WANTED, "hub==3"])


@pytest.mark.parametrize("damage", ["no stamp", "no python", "another python"])
def test_a_broken_environment_is_made_anew(tmp_path: pathlib.Path, damage: str) -> None:
    host = Host()
    venv.ensure_tools(tmp_path, WANTED, PINS, runner=host)
    python = venv.folder(tmp_path) / "bin" / "python"
    if damage == "no stamp":
        (venv.folder(tmp_path) / venv.STAMP).unlink()
    else:
        python.unlink()
        if damage == "another python":
            python.symlink_to("/bin/sh")
    assert not venv.tools_ready(tmp_path, WANTED)
    venv.ensure_tools(tmp_path, WANTED, PINS, runner=host)
    assert host.steps[2:] == ["venv", "cmake==1 ninja==2"]


def test_a_failed_installation_leaves_no_stamp(tmp_path: pathlib.Path) -> None:
    with pytest.raises(
        ProblemError,
        match=r"llama_cpp_index_url: expected .*, found 'ERROR: No matching distribution found for cmake==1' from pip",
    ):
        venv.ensure_tools(tmp_path, WANTED, PINS, variable="llama_cpp_index_url", runner=Host(fails="pip"))
    assert not venv.tools_ready(tmp_path, WANTED)


def test_a_python_that_is_too_old_for_a_tool_is_told_as_such(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = ProblemError(Problem("Python", "Python 3.9.2", "3.10 or newer", "install a newer one"))
    monkeypatch.setattr(venv, "python_problem", lambda: old.problems[0])
    assert venv.ensure_tools(tmp_path, WANTED, PINS, runner=Host())
    with pytest.raises(ProblemError, match=re.escape(str(old))):
        venv.ensure_tools(tmp_path, ["hub==3"], PINS, runner=Host(fails="pip"))


def test_an_index_that_pip_does_not_trust_is_told_as_such(tmp_path: pathlib.Path) -> None:
    # Output of pip 26.0.
    noise = "WARNING: The repository located at 192.0.2.1 is not a trusted or secure host and is being ignored."
    with pytest.raises(
        ProblemError,
        match=(
            r"llama_cpp_index_url: expected wheels of cmake==1, ninja==2, found a package index over plain HTTP.*"
            r"PIP_TRUSTED_HOST"
        ),
    ):
        venv.ensure_tools(tmp_path, WANTED, PINS, variable="llama_cpp_index_url", runner=Host(fails="pip", noise=noise))


def test_a_python_that_makes_no_environments(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ProblemError, match=r"Python: expected .*, found .* from .* -m venv"):
        venv.ensure_tools(tmp_path, WANTED, PINS, runner=Host(fails="venv"))


def test_what_an_index_does_not_have_breaks_nothing(tmp_path: pathlib.Path) -> None:
    host = Host()
    venv.ensure_tools(tmp_path, WANTED, PINS, runner=host)
    with pytest.raises(ProblemError, match="No matching distribution"):
        venv.ensure_tools(tmp_path, ["cache==4"], PINS, runner=Host(fails="pip"))
    assert venv.tools_ready(tmp_path, WANTED)
    assert not venv.tools_ready(tmp_path, ["cache==4"])


def test_a_pip_that_broke_off_leaves_no_stamp(tmp_path: pathlib.Path) -> None:
    venv.ensure_tools(tmp_path, WANTED, PINS, runner=Host())
    with pytest.raises(ProblemError, match="No space left"):
        venv.ensure_tools(
            tmp_path, ["cache==4"], PINS, runner=FakeRunner(Result(1, "", "ERROR: No space left on device"))
        )
    assert not venv.tools_ready(tmp_path, WANTED)


def test_nothing_is_installed_without_a_sum(tmp_path: pathlib.Path) -> None:
    host = Host()
    venv.ensure_tools(tmp_path, ["hub==3", "ninja==2"], PINS, runner=host)
    assert host.commands[-1][-3:] == [
        "--require-hashes",
        "--requirement",
        str(venv.folder(tmp_path) / "requirements.txt"),
    ]
    sums = {name: f"--hash=sha256:{sha256}" for name, sha256 in SUMS.items()}
    both = " \\\n    ".join(sorted([sums["hub"], sums["idna"]]))
    assert host.locks == [
        (
            f"hub==3 \\\n    {both}\nidna==5 ; python_full_version < '3.12' \\\n    {sums['idna']}\nninja==2 \\\n    "
            f"{sums['ninja']}\n"
        )
    ]


def test_what_the_lock_does_not_know_is_not_installed(tmp_path: pathlib.Path) -> None:
    with pytest.raises(KeyError):
        venv.ensure_tools(tmp_path, ["other==1"], PINS, runner=Host())
    assert not venv.tools_ready(tmp_path, ["other==1"])


# Output of pip 26.0.
OTHER_BYTES = """\
ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. \
If you have updated the package versions, please update the hashes.
    cache==4 from https://index/packages/cache-4-py3-none-any.whl (from -r requirements.txt (line 1)):
        Expected sha256 {wanted}
             Got        {got}

"""


def test_an_index_with_other_bytes_is_refused_and_breaks_nothing(tmp_path: pathlib.Path) -> None:
    venv.ensure_tools(tmp_path, WANTED, PINS, runner=Host())
    said = OTHER_BYTES.format(wanted=SUMS["cache"], got=SUMS["ninja"])
    with pytest.raises(ProblemError) as caught:
        venv.ensure_tools(
            tmp_path, ["cache==4"], PINS, variable="llama_cpp_index_url", runner=FakeRunner(Result(1, "", said))
        )
    assert str(caught.value) == (
        "llama_cpp_index_url: expected wheels as PyPI has them, found cache==4 with sha256 "
        f"{SUMS['ninja']}, which no wheel has that this version of llama-fleet pins. Fix: Name an "
        "index that mirrors PyPI unchanged."
    )
    assert venv.tools_ready(tmp_path, WANTED)
