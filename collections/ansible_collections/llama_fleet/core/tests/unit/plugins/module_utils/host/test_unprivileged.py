# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import handover, unprivileged

needs_root = pytest.mark.skipif(not handover.may_become_others(), reason="needs root, which may become another user")
USER = 60_600


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN",
        "GITHUB_TOKEN",
        "LLAMA_API_KEY",
        "LLAMA_SERVER_API_KEYS",
        "AWS_SECRET_ACCESS_KEY",
        "PGPASSWORD",
        "SSH_AUTH_SOCK",
    ],
)
def test_secrets_stay_out_of_an_environment(name: str) -> None:
    kept = {
        "PATH": "/bin",
        "CXXFLAGS": "-O2",
        "CUDA_HOME": "/c",
        "http_proxy": "http://p",
        "CCACHE_DIR": "/d",
        "TOKENIZERS": "x",
    }
    expected = {key: value for key, value in kept.items() if key != "TOKENIZERS"}
    assert unprivileged.without_secrets({**kept, name: "s"}) == expected


@needs_root
def test_become_gives_up_everything() -> None:
    code = (
        f"import pathlib, sys; sys.path.insert(0, {str(pathlib.Path(__file__).resolve().parents[8])!r})\n"
        "from ansible_collections.llama_fleet.core.plugins.module_utils.host import unprivileged\n"
        f"unprivileged.become({USER})\n"
        "print(pathlib.Path('/proc/self/status').read_text())\n"
    )
    status = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    fields = {name: values.split() for name, _colon, values in (line.partition(":") for line in status.splitlines())}
    assert (fields["Uid"], fields["Gid"]) == ([str(USER)] * 4, [str(USER)] * 4)
    assert {int(fields[name][0], 16) for name in ("CapEff", "CapPrm", "CapInh")} == {0}
