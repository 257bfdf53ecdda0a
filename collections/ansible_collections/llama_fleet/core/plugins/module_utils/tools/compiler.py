# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Find and install the compiler, headers and libraries that a host needs to build or run C++ programs."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, one_of
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import packages as debian

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner

can_install = debian.can_install
_COMPILERS = ("c++", "g++", "clang++")
# Missing item → the Debian package that provides it.
_PACKAGES = {
    "compiler": "g++",
    "git": "git",
    "openssl": "libssl-dev",
    "libgomp.so.1": "libgomp1",
    "libssl.so.3": "libssl3",
    "libstdc++.so.6": "libstdc++6",
}
# Shared libraries that binaries built on another machine load from the host.
_LIBRARIES = ("libgomp.so.1", "libssl.so.3", "libstdc++.so.6")


@dataclasses.dataclass(frozen=True)
class BuildHost:
    """The build tools of a host. ``compiler`` is a path, or empty if missing; ``missing`` names keys of _PACKAGES."""

    compiler: str
    openssl: bool
    missing: tuple[str, ...]

    @property
    def required(self) -> tuple[str, ...]:
        """Return the missing items that a build cannot do without."""
        return tuple(name for name in self.missing if name != "openssl")


def observe(needs_git: bool) -> BuildHost:
    """Inspect this host without running any command."""
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), "") or ""
    openssl = _has_openssl_headers()
    present = {
        "compiler": bool(compiler),
        "git": not needs_git or shutil.which("git") is not None,
        "openssl": openssl,
    }
    return BuildHost(compiler, openssl, tuple(name for name, there in present.items() if not there))


def _has_openssl_headers() -> bool:
    places = ["/usr/include", "/usr/local/include", *map(str, pathlib.Path("/usr/include").glob("*-linux-gnu"))]
    return any(os.path.exists(f"{place}/openssl/ssl.h") for place in places)


def missing_libraries(beside: typing.Container[str] = (), root: pathlib.Path = pathlib.Path("/")) -> tuple[str, ...]:
    """List the libraries that foreign binaries need and that are neither on the host nor ``beside`` them.

    ``packages`` names the packages that provide them.
    """
    places = [root / folder for folder in ("lib", "lib64", "usr/lib", "usr/lib64", "usr/local/lib")]
    places += [place for folder in ("lib", "usr/lib") for place in (root / folder).glob("*-linux-gnu")]
    return tuple(
        name for name in _LIBRARIES if name not in beside and not any((place / name).exists() for place in places)
    )


def packages(names: typing.Iterable[str]) -> list[str]:
    """Return the Debian packages that provide ``names``."""
    return [_PACKAGES[name] for name in names]


def missing_problem(names: typing.Sequence[str], variable: str) -> Problem:
    """Return the problem for missing ``names`` that are not going to be installed."""
    if shutil.which("apt-get") is None:
        fix = "install them"
    elif os.geteuid() != 0:
        fix = "install them, or use become or sudo"
    else:
        fix = f"install them, or set {variable} to true"
    wanted = " ".join(packages(names))
    return Problem(
        "compiler" if "compiler" in names else wanted,
        f"no {one_of(packages(names))}",
        f"the packages {wanted}",
        fix,
    )


def install(names: typing.Sequence[str], run: Runner) -> None:
    """Install the packages of ``names`` in one step. Raises ProblemError."""
    debian.install(packages(names), "compiler", run)


def compiler_version(compiler: str, run: Runner) -> str:
    """Return the version, distribution patch level and target of a GCC or Clang, on one line. Raises ProblemError."""
    shown = run([compiler, "-v"], timeout=60)
    text = shown.stdout + shown.stderr
    version = re.search(r"^(?!Configured).*\b(gcc|clang) version .*$", text, re.MULTILINE)
    target = re.search(r"^Target: (.*)$", text, re.MULTILINE)
    if not shown.ok or version is None:
        raise ProblemError(
            Problem(
                "compiler", f"{compiler}, which does not report its version", "a working GCC or Clang", "install g++"
            )
        )
    return " ".join(filter(None, [version.group().strip(), target.group(1).strip() if target else ""]))


def toolkit_version(toolkit: str, variable: str, run: Runner) -> str:
    """Return the version of the CUDA toolkit's compiler, for example 13.0.88. Raises ProblemError."""
    nvcc = f"{toolkit}/bin/nvcc"
    shown = run([nvcc, "--version"], timeout=60)
    version = re.search(r"\bV([0-9]+(?:\.[0-9]+)+)", shown.stdout)
    if not shown.ok or version is None:
        raise ProblemError(
            Problem(variable, f"'{toolkit}', whose bin/nvcc does not run", "the folder of a CUDA toolkit")
        )
    return version.group(1)
