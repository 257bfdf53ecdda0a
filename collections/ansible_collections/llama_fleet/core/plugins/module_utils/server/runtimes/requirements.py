# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Requirements that several runtimes have in common, checked before anything changes."""

from __future__ import annotations

import os
import re
import stat
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import engines as container_engines
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import limits as server_limits

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtime import Report
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

RUNTIME = "llama_server_runtime"
_IMAGE = "llama_server_image"
_IMAGE_NAME = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]*")


def no_limits(options: Options, name: str) -> list[Problem]:
    """Return a problem for each limit that is set, because the runtime ``name`` cannot keep any."""
    return [
        *server_limits.limit_problems(options),
        *(
            Problem(
                f"llama_server_{option}",
                f"{value} with llama_server_runtime {name}, which has no limits of its own",
                "a runtime that enforces it",
                "use systemd, quadlet or docker, or limit what runs llama-fleet",
            )
            for option, value in (("memory_max", options.memory_max), ("cpu_quota", options.cpu_quota))
            if value
        ),
    ]


def unwritable(folder: pathlib.Path, variable: str) -> list[Problem]:
    """Return the problem of a folder that our user can neither make nor write."""
    try:
        files.require_writable(folder, variable)
    except ProblemError as error:
        return list(error.problems)
    return []


def container(options: Options, name: str, euid: int) -> list[Problem]:
    """Return the problems of any container, here of the runtime ``name``: limits, rights, image name and files."""
    return [*server_limits.limit_problems(options), *_rights(name, euid), *_image_name(options), *_files(options)]


def _rights(name: str, euid: int) -> list[Problem]:
    if euid == 0:
        return []
    return [
        Problem(
            RUNTIME,
            f"{name}, and this user (uid {euid})",
            f"root for {name}",
            "run with become or sudo, or use process",
        )
    ]


def _image_name(options: Options) -> list[Problem]:
    if _IMAGE_NAME.fullmatch(options.image):
        return []
    fix = "use one of the distribution for which the release was built, such as docker.io/library/debian:trixie-slim"
    return [
        Problem(
            _IMAGE,
            repr(options.image) if options.image else "nothing",
            "the name of an image in which the release runs",
            fix,
        )
    ]


def _files(options: Options) -> list[Problem]:
    """Return the files that a container's user, who has no name on the host, cannot read at their paths."""
    problems = []
    for variable, path in [("llama_server_release", str(options.server)), *server_mounts.public(options)]:
        if ":" in path:
            problems.append(
                Problem(
                    variable,
                    path,
                    "a path without a colon, at which containers divide paths",
                    "rename it, or use systemd",
                )
            )
        elif os.path.isfile(path) and not os.stat(path).st_mode & stat.S_IROTH:
            problems.append(
                Problem(
                    variable,
                    f"{path}, which not every user may read",
                    "files that the container's user may read",
                    f"run chmod o+r {path}",
                )
            )
    return problems


def image(options: Options, engine: str, run: Runner, report: Report | None) -> list[Problem]:
    """Fetch the image if it is missing and ``report`` is given; return the problem if that fails."""
    if container_engines.image_is_here(engine, options.image, run) or report is None:
        return []
    report(f"fetching the image {options.image}")
    said = container_engines.pull(engine, options.image, run, lambda _line: None)
    if not said:
        return []
    return [
        Problem(
            _IMAGE,
            f"{options.image}, which cannot be fetched: {said}",
            "an image that is here or in a registry",
            f"see {engine} pull {options.image}",
        )
    ]
