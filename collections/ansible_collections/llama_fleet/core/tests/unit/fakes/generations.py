# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The content of a generation for tests."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Content

CONTENT = Content(
    runtime="systemd",
    release="/opt/llama-fleet/releases/b11434-0123456789ab",
    release_fingerprint="f" * 64,
    model="/m/tiny.gguf",
    model_size=1,
    options={"port": 8080},
    variables={"LLAMA_ARG_PORT": "8080"},
    command=("/opt/llama-fleet/releases/b11434-0123456789ab/bin/llama-server",),
    files={"unit": "[Unit]\n"},
)


def content(**changes: typing.Any) -> Content:
    return dataclasses.replace(CONTENT, **changes)
