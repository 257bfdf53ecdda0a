# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Share fixtures of the tests of the README; LLAMA_FLEET_TEST_CACHE holds what tests/run has made."""

import os
import pathlib
import re
import shutil

import pytest

CACHE = pathlib.Path(os.environ.get("LLAMA_FLEET_TEST_CACHE", ""))


@pytest.fixture(scope="session")
def readme_hub(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Make the content of a Hub that has the README's model, with the bytes of another small model."""
    root = tmp_path_factory.mktemp("hub")
    repo = root / "repos" / "ggml-org" / "gemma-3-1b-it-GGUF"
    repo.mkdir(parents=True)
    for shard in (CACHE / "hub" / "repos").glob("*/*/*.gguf"):
        shutil.copy(shard, repo / re.sub(r".*(-\d{5}-of-\d{5}\.gguf)", r"gemma-3-1b-it-Q4_K_M\1", shard.name))
    return root
