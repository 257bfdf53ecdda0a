# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What is wanted of one llama-server, and what that means as its environment and command line."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import secrets as server_secrets
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import table as server_settings
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import values as server_values
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.table import CUDA

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem

__all__ = ["CUDA", "Options", "cuda_devices", "files_wanted", "problems"]

INSTANCE_VARIABLE = "LLAMA_FLEET_INSTANCE"
GENERATION_VARIABLE = "LLAMA_FLEET_GENERATION"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
# What of the options is known to nobody who reads a manifest.
SECRET_FIELDS = ("api_key", "api_keys")


@dataclasses.dataclass(frozen=True)
class Options:
    """The role's variables, typed. Paths are absolute once ``problems`` has found none."""

    instance: str
    state: str
    runtime: str
    release: str
    model: str
    backend: str
    host: str
    port: int
    ctx_size: int
    parallel: int
    max_tokens: int
    batch_size: int
    ubatch_size: int
    threads: int
    n_gpu_layers: str
    devices: tuple[str, ...]
    alias: str
    extra_options: typing.Mapping[str, typing.Any]
    prompt: str
    ready_timeout: int
    root: pathlib.Path
    runtime_root: pathlib.Path
    api_key: str = dataclasses.field(default="", repr=False)
    split_mode: str = ""
    tensor_split: tuple[float, ...] = ()
    main_gpu: int = 0
    flash_attn: str = "auto"
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    load_mode: str = "auto"
    cache_ram: int = 8192
    kv_unified: bool = False
    mmproj: str = ""
    lora: tuple[str, ...] = ()
    chat_template: str = ""
    jinja: bool = True
    reasoning: str = "auto"
    embeddings: bool = False
    rerank: bool = False
    metrics: bool = True
    slots: bool = True
    api_keys: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    tls_certificate: str = ""
    tls_key: str = ""
    cors_origins: tuple[str, ...] = ()
    timeout: int = 3600
    log_level: str = "info"
    allow_unauthenticated: bool = False
    allow: tuple[str, ...] = ()
    image: str = ""
    memory_max: str = ""
    cpu_quota: str = ""
    drain_timeout: int = 30
    stop_timeout: int = 1
    to_generation: int = 0
    keep: int = 5
    min_speed_ratio: float = 0.0
    memory_check: bool = True

    @property
    def server(self) -> pathlib.Path:
        return pathlib.Path(self.release) / "bin" / "llama-server"

    @property
    def folder(self) -> pathlib.Path:
        return self.root / "instances" / self.instance

    @property
    def unit(self) -> str:
        return f"llama-fleet-{self.instance}.service"

    @property
    def key_file(self) -> pathlib.Path:
        return self.folder / "current" / "api-key"


def cuda_devices(listing: str) -> list[str]:
    """The names that ``llama-server --list-devices`` prints for NVIDIA GPUs."""
    return re.findall(r"^\s*(CUDA\d+):", listing, re.MULTILINE)


def problems(options: Options) -> list[Problem]:
    """Everything wrong with the options that needs no look at the host."""
    found = server_values.problems(options)
    return [
        *found,
        *(
            problem
            for problem in server_secrets.problems(options)
            if problem.subject not in {wrong.subject for wrong in found}
        ),
    ]


def files_wanted(options: Options) -> list[tuple[str, pathlib.Path]]:
    """Files beside the release and the model that the server reads, each with the role variable that names it."""
    template = options.chat_template if options.chat_template.startswith("/") else ""
    named = [
        ("chat_template", template),
        *((name, str(getattr(options, name))) for name in ("mmproj", "tls_certificate", "tls_key")),
    ]
    named += [("lora", path) for path, _scale in server_settings.adapters(options)]
    return [(f"llama_server_{name}", pathlib.Path(path)) for name, path in named if path]
