# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Share fixtures of the tests of the image: a Hub, and the image, built once.

LLAMA_FLEET_TEST_CACHE holds what tests/run has made.
"""

from __future__ import annotations

import typing

import pytest

from tests.hub import Hub
from tests.image import containers


@pytest.fixture(scope="session")
def hub() -> typing.Iterator[Hub]:
    with Hub(containers.CACHE / "hub") as hub:
        yield hub


@pytest.fixture(scope="session")
def image(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> str:
    return containers.build(hub, tmp_path_factory.mktemp("image"))
