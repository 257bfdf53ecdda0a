# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The parameters of the module llama_server, and what they are as typed options."""

from __future__ import annotations

import dataclasses
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import extra as server_flags
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import CACHE_TYPES, Options

ARGUMENTS: dict[str, dict[str, typing.Any]] = {
    "instance": {"type": "str", "default": "default"},
    "state": {"type": "str", "choices": ["started", "stopped", "absent", "rolled_back"], "default": "started"},
    "runtime": {
        "type": "str",
        "choices": ["auto", "systemd", "quadlet", "docker", "process", "exec"],
        "default": "auto",
    },
    "image": {"type": "str", "default": ""},
    "memory_max": {"type": "str", "default": ""},
    "cpu_quota": {"type": "str", "default": ""},
    "drain_timeout": {"type": "int", "default": 30},
    "stop_timeout": {"type": "int", "default": 1},
    "release": {"type": "path", "default": ""},
    "model": {"type": "path", "default": ""},
    "backend": {"type": "str", "choices": ["cpu", "cuda"], "default": "cpu"},
    "host": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int", "default": 8080},
    "ctx_size": {"type": "int", "default": 4096},
    "parallel": {"type": "int", "default": 16},
    # Said in so many words, for Ansible takes "token" for a secret.
    "max_tokens": {"type": "int", "no_log": False, "default": 2048},
    "batch_size": {"type": "int", "default": 2048},
    "ubatch_size": {"type": "int", "default": 512},
    "threads": {"type": "int", "default": 0},
    "n_gpu_layers": {"type": "str", "default": "auto"},
    "devices": {"type": "list", "elements": "str", "default": []},
    "alias": {"type": "str", "default": ""},
    "api_key": {"type": "str", "no_log": True, "default": ""},
    "split_mode": {"type": "str", "choices": ["", "none", "layer", "row", "tensor"], "default": ""},
    "tensor_split": {"type": "list", "elements": "float", "default": []},
    "main_gpu": {"type": "int", "default": 0},
    "flash_attn": {"type": "str", "choices": ["auto", "on", "off"], "default": "auto"},
    "cache_type_k": {"type": "str", "choices": list(CACHE_TYPES), "default": "f16"},
    "cache_type_v": {"type": "str", "choices": list(CACHE_TYPES), "default": "f16"},
    "load_mode": {
        "type": "str",
        "choices": ["auto", "mmap", "mlock", "mmap+mlock", "direct", "none"],
        "default": "auto",
    },
    "cache_ram": {"type": "int", "default": 8192},
    "kv_unified": {"type": "bool", "default": False},
    "mmproj": {"type": "path", "default": ""},
    "lora": {"type": "list", "elements": "str", "default": []},
    "chat_template": {"type": "str", "default": ""},
    "jinja": {"type": "bool", "default": True},
    "reasoning": {"type": "str", "choices": ["auto", "on", "off"], "default": "auto"},
    "embeddings": {"type": "bool", "default": False},
    "rerank": {"type": "bool", "default": False},
    "metrics": {"type": "bool", "default": True},
    "slots": {"type": "bool", "default": True},
    "api_keys": {"type": "list", "elements": "str", "no_log": True, "default": []},
    "tls_certificate": {"type": "path", "default": ""},
    "tls_key": {"type": "path", "no_log": False, "default": ""},
    "cors_origins": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "int", "default": 3600},
    "log_level": {"type": "str", "choices": ["error", "warning", "info", "debug"], "default": "info"},
    "allow_unauthenticated": {"type": "bool", "default": False},
    "allow": {"type": "list", "elements": "str", "choices": ["router", "tools", "agent", "mcp", "rpc"], "default": []},
    "extra_options": {"type": "dict", "default": {}},
    "prompt": {"type": "str", "default": ""},
    "ready_timeout": {"type": "int", "default": 0},
    "to_generation": {"type": "int", "default": 0},
    "keep": {"type": "int", "default": 5},
    "min_speed_ratio": {"type": "float", "default": 0.0},
    "memory_check": {"type": "bool", "default": True},
    "root": {"type": "path", "default": "/etc/llama-fleet"},
    "runtime_root": {"type": "path", "default": "/run/llama-fleet"},
}


def options_of(params: typing.Mapping[str, typing.Any]) -> Options:
    """The module's parameters, typed."""
    values = {field.name: params[field.name] for field in dataclasses.fields(Options)}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    values["root"] = pathlib.Path(params["root"])
    values["runtime_root"] = pathlib.Path(params["runtime_root"])
    mode, rest = server_flags.translated(params["extra_options"])
    if not mode or params["load_mode"] in ("auto", mode):
        values.update(load_mode=mode or params["load_mode"], extra_options=rest)
    return Options(**values)


def notes(params: typing.Mapping[str, typing.Any]) -> list[str]:
    """What was read as something else than it says."""
    mode, _rest = server_flags.translated(params["extra_options"])
    if not mode or params["load_mode"] not in ("auto", mode):
        return []
    return [
        (
            f"llama_server_extra_options: what it says of memory is taken as llama_server_load_mode: {mode}; set that "
            f"instead."
        )
    ]
