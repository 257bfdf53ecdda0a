# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A nvidia-smi that is a script, first on PATH."""

from __future__ import annotations

import os
import typing

if typing.TYPE_CHECKING:
    import pathlib

    import pytest


def put_smi(monkeypatch: pytest.MonkeyPatch, folder: pathlib.Path, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
