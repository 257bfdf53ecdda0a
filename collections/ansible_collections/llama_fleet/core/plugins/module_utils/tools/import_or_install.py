# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Import Python packages outside the standard library: the host's own, or else from a virtual environment."""

from __future__ import annotations

import contextlib
import importlib
import sys
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.scratch import scratch
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

# Lends the module with this name; the requirements are installed if the host does not have it.
Borrow = typing.Callable[[str, typing.Sequence[str]], typing.ContextManager[typing.Any]]


def borrower(
    root: pathlib.Path, index_url: str, variable: str, progress: Progress, pins: venv.Pins, keep: bool = True
) -> Borrow:
    """Return a Borrow that installs missing packages of ``pins`` below ``root``; index problems name ``variable``.

    Without ``keep`` it installs into a temporary folder, because a plan must not change the host.
    """

    @contextlib.contextmanager
    def borrow(name: str, requirements: typing.Sequence[str]) -> typing.Iterator[typing.Any]:
        with contextlib.ExitStack() as stack:
            if not _importable(name):
                place = root
                if not keep and not venv.tools_ready(root, requirements):
                    place = stack.enter_context(scratch())
                venv.ensure_tools(place, requirements, pins, index_url, variable, progress)
                packages = str(_site_packages(place))
                sys.path.append(packages)
                stack.callback(sys.path.remove, packages)
                importlib.invalidate_caches()
            yield importlib.import_module(name)

    return borrow


def _importable(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def _site_packages(root: pathlib.Path) -> pathlib.Path:
    """Return the environment's package folder for this Python; raise ProblemError if it was made for another one."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    place = venv.folder(root) / "lib" / version / "site-packages"
    if place.is_dir():
        return place
    versions = ", ".join(sorted(path.name for path in (venv.folder(root) / "lib").glob("python*"))) or "no Python"
    place = venv.folder(root)
    raise ProblemError(
        Problem(
            str(place),
            f"an environment for {versions}",
            f"one for {version}, which runs this module",
            "remove that folder; the next run makes it again",
        )
    )
