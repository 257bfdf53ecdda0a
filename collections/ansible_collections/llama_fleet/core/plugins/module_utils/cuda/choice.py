# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Choose a host's CUDA toolkit: an installed one that works, otherwise one from wheels."""

from __future__ import annotations

import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import wheels
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda.plan import (
    OLDEST_DRIVER,
    PATH_VARIABLE,
    SPACE,
    VERSION_VARIABLE,
    WHOLE,
    Toolkit,
    ToolkitHost,
    ToolkitPlan,
    Trial,
    UnfitError,
    Wanted,
    architecture_problems,
    examine,
    has_compiler,
    search,
    unfit_for,
    unfit_release,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda.releases import RELEASES, Release
from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import (
    Problem,
    ProblemError,
    one_of,
    raise_if_any,
)


def make_plan(
    wanted: Wanted, host: ToolkitHost, compiler_later: bool = False, refusal: Trial = lambda _toolkit: ""
) -> ToolkitPlan:
    """Choose the toolkit: the given one, then one the collection installed, then the newest on the host, then wheels.

    A toolkit of the host counts only if ``refusal`` returns no reason against it, and if it has the wanted version.
    With ``compiler_later`` a missing C++ compiler is not a problem. Raises ProblemError if no toolkit is possible.
    """
    problems = architecture_problems(wanted)
    if not (compiler_later or has_compiler(host)):
        fix = "install one (Debian and Ubuntu: apt-get install g++)"
        problems.append(Problem("compiler", "no g++ on the host", "a C++ compiler, which nvcc needs", fix))
    raise_if_any(problems)
    if wanted.path:
        return ToolkitPlan(_given(wanted, host), "found")
    release = choose(wanted)
    if release and not unfit_release(release, wanted) and wheels.installed(release, wanted.root):
        target = wheels.folder_of(wanted.root, release)
        nvcc = wheels.manifest_of(target).get("nvcc", "")
        return ToolkitPlan(Toolkit(target, release.version, nvcc), "installed")
    newest, reasons = search(wanted, host, refusal)
    if newest:
        return ToolkitPlan(newest, "found")
    if release is None:
        raise ProblemError(_no_such_version(wanted, reasons))
    target = wheels.folder_of(wanted.root, release)
    raise_if_any(install_problems(release, target, wanted, host, reasons))
    return ToolkitPlan(Toolkit(target, release.version), "installed", release)


def choose(wanted: Wanted) -> Release | None:
    """Return the release to install: of the wanted version, else the newest that fits, else the newest.

    Return None if there are no wheels of the wanted version.
    """
    if wanted.version:
        return RELEASES.get(wanted.version)
    releases = list(RELEASES.values())
    return next((release for release in releases if not unfit_release(release, wanted)), releases[0])


def _no_such_version(wanted: Wanted, reasons: typing.Sequence[str]) -> Problem:
    """Return the problem of a version that neither the host nor the wheels have; ``reasons`` as in ``search``."""
    unknown = f"'{wanted.version}', and {_on_the_host(reasons)}"
    fix = (
        f"correct it, install that toolkit on the host, or leave it empty for the newest that the driver runs; "
        f"{PATH_VARIABLE} names a toolkit by its folder"
    )
    return Problem(VERSION_VARIABLE, unknown, f"{one_of(RELEASES)}, or the version of a toolkit on the host", fix)


def _on_the_host(reasons: typing.Sequence[str]) -> str:
    return f"no fitting toolkit on the host ({'; '.join(reasons)})" if reasons else "no toolkit on the host"


def install_problems(
    release: Release, target: pathlib.Path, wanted: Wanted, host: ToolkitHost, reasons: typing.Sequence[str]
) -> list[Problem]:
    """List everything that would stop an installation; ``reasons`` say why no toolkit of the host fits."""
    state = _on_the_host(reasons)
    problems = _release_problems(release, wanted, state)
    machines = release.wheels[0].sha256
    if host.machine not in machines:
        fix = f"install a toolkit and name its folder in {PATH_VARIABLE}"
        problems.append(Problem("machine", f"{host.machine} and {state}", one_of(sorted(machines)), fix))
    space = files.space_problem(target, SPACE, "cuda_toolkit_root")
    return problems + ([space] if space else [])


def _release_problems(release: Release, wanted: Wanted, state: str) -> list[Problem]:
    """Return why ``release`` cannot serve the driver and the GPUs: at most one problem."""
    unfit = unfit_release(release, wanted)
    oldest = min(OLDEST_DRIVER.values())
    if wanted.driver and wanted.driver < oldest:
        fix = "upgrade the driver; 580 or newer runs CUDA 13"
        return [Problem("NVIDIA driver", f"version {wanted.driver_version}", f"{oldest} or newer", fix)]
    if not unfit:
        return []
    if not unfit_for(release.version, release.architectures, wanted):
        unfit_wheels = f"'{wanted.version}', and {state}; wheels of {unfit}"
        fix = "leave it empty, or name architectures that end in -real"
        return [Problem(VERSION_VARIABLE, unfit_wheels, "a version whose PTX the driver compiles", fix)]
    fix = (
        f"install one of CUDA 12 from NVIDIA's packages (its wheels have no nvcc) and name its folder in "
        f"{PATH_VARIABLE}"
    )
    if wanted.driver and wanted.driver < release.oldest_driver:
        fix += f", or upgrade the driver to {release.oldest_driver} or newer"
    unfit_wheels = f"{state}, and wheels only of {unfit}"
    return [Problem(PATH_VARIABLE, unfit_wheels, "a toolkit that fits the driver and the GPUs", fix)]


def _given(wanted: Wanted, host: ToolkitHost) -> Toolkit:
    try:
        return examine(pathlib.Path(wanted.path), wanted, host)
    except UnfitError as reason:
        fix = "correct it, or leave it empty to have one found or installed"
        raise ProblemError(Problem(PATH_VARIABLE, str(reason), f"{WHOLE} that the driver runs", fix)) from reason
