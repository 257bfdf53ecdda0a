# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Python packages that the standard library lacks: the host's own, else from a virtual environment of ours."""

from __future__ import annotations

import contextlib
import importlib
import sys
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.scratch import scratch
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv as tools_venv

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

# Lends the module of this name; the requirements are what brings it where the host has none.
Borrow = typing.Callable[[str, typing.Sequence[str]], typing.ContextManager[typing.Any]]


def borrower(root: pathlib.Path, index_url: str, variable: str, progress: Progress, keep: bool = True) -> Borrow:
    """A Borrow that installs what is missing below ``root``; ``variable`` is what a problem with the index names.

    Without ``keep`` it installs into a temporary folder that is gone afterwards: a plan must leave
    the host as it is.
    """

    @contextlib.contextmanager
    def borrow(name: str, requirements: typing.Sequence[str]) -> typing.Iterator[typing.Any]:
        with contextlib.ExitStack() as stack:
            if not _importable(name):
                place = root
                if not keep and not tools_venv.tools_ready(root, requirements):
                    place = stack.enter_context(scratch())
                tools_venv.ensure_tools(place, requirements, index_url, variable, progress)
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
    """Where this Python finds the environment's packages; those of another version must not be loaded."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    place = tools_venv.folder(root) / "lib" / version / "site-packages"
    if place.is_dir():
        return place
    found = ", ".join(sorted(path.name for path in (tools_venv.folder(root) / "lib").glob("python*"))) or "no Python"
    place = tools_venv.folder(root)
    raise ProblemError(
        Problem(
            str(place),
            f"an environment of {found}",
            f"one of {version}, which runs this module",
            "remove that folder; it is made again",
        )
    )
