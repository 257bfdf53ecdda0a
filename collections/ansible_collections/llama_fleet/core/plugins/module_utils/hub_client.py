# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The Hub's Python client: the host's own, else one from a virtual environment of ours."""

from __future__ import annotations

import contextlib
import importlib
import os
import pathlib
import sys
import tempfile
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import tools_venv
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

_NAME = "huggingface_hub"


@contextlib.contextmanager
def hub_client(root: pathlib.Path, index_url: str, progress: Progress, keep: bool) -> typing.Iterator[typing.Any]:
    """The module huggingface_hub.

    Where the host's Python has none it is installed below ``root``, or, without ``keep``, in a
    temporary folder that is gone afterwards: a plan must leave the host as it is.
    """
    # Read at the client's import, so they have to be there before it.
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    with contextlib.ExitStack() as stack:
        if not _importable():
            place = root
            if not keep and not tools_venv.tools_ready(root, tools_venv.HUB_CLIENT):
                place = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llama-fleet-")))
            tools_venv.ensure_tools(place, tools_venv.HUB_CLIENT, index_url, "gguf_model_index_url", progress)
            packages = _site_packages(place)
            sys.path.append(str(packages))
            stack.callback(sys.path.remove, str(packages))
            importlib.invalidate_caches()
        yield importlib.import_module(_NAME)


def _importable() -> bool:
    try:
        importlib.import_module(_NAME)
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
    raise ProblemError(Problem(str(place), f"an environment of {found}", f"one of {version}, which runs this module", "remove that folder; it is made again"))
