# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Provide the Hub's Python client: the host's own, or one in a virtual environment of the collection."""

from __future__ import annotations

import contextlib
import os
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.model.hub_transport import guarded
from ansible_collections.llama_fleet.core.plugins.module_utils.tools.hub_pins import PINS
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
    """Yield the module huggingface_hub, whose requests to ``endpoint`` follow the rules of ``hub_transport``.

    If the host's Python lacks it, it is installed below ``root``, or without ``keep`` in a temporary folder, so that
    a plan leaves the host unchanged.
    """
    # The client reads these when it is imported.
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    with (
        borrower(root, index_url, "gguf_model_index_url", progress, PINS, keep)(_NAME, HUB_CLIENT) as client,
        guarded(client, endpoint),
    ):
        yield client
