# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The Hub's Python client: the host's own, else one from a virtual environment of ours."""

from __future__ import annotations

import contextlib
import os
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.model.hub_transport import guarded
from ansible_collections.llama_fleet.core.plugins.module_utils.tools.import_or_install import borrower
from ansible_collections.llama_fleet.core.plugins.module_utils.tools.venv import HUB_CLIENT

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

_NAME = "huggingface_hub"


@contextlib.contextmanager
def hub_client(
    root: pathlib.Path, index_url: str, progress: Progress, keep: bool, endpoint: str
) -> typing.Iterator[typing.Any]:
    """The module huggingface_hub, which asks ``endpoint`` by the rules of ``hub_transport``.

    Where the host's Python has none it is installed below ``root``, or, without ``keep``, in a
    temporary folder that is gone afterwards: a plan must leave the host as it is.
    """
    # Read at the client's import, so they have to be there before it.
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    with (
        borrower(root, index_url, "gguf_model_index_url", progress, keep)(_NAME, HUB_CLIENT) as client,
        guarded(client, endpoint),
    ):
        yield client
