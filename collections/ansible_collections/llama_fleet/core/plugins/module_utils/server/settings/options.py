# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Options of one llama-server instance, and the environment and command line that they become."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import runtimes
from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import (
    directory,
    integer,
    mapping,
    number,
    numbers,
    optional_path,
    secret,
    secrets,
    switch,
    text,
    texts,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import secrets as server_secrets
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import table
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import values as server_values
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.table import (
    CHOICE,
    CUDA,
    FLASH,
    LAYERS,
    LIMIT,
    LOAD,
    LOG,
    LORA,
    ORIGINS,
    REASONING,
    flag,
    owned,
)

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem

__all__ = ["CUDA", "Options", "cuda_devices", "files_wanted", "option_problems"]

INSTANCE_VARIABLE = "LLAMA_FLEET_INSTANCE"
GENERATION_VARIABLE = "LLAMA_FLEET_GENERATION"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
# Options that no manifest may show.
SECRET_FIELDS = ("api_key", "api_keys")


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of one instance. Paths are absolute once ``option_problems`` has returned none.

    Each is declared here only: type, default, choices, range, and how it reaches llama-server. The order of those with
    a flag is the order on the command line.
    """

    instance: str = text("default")
    state: str = text("started", ("started", "stopped", "absent", "rolled_back"))
    runtime: str = text(runtimes.AUTO, runtimes.choices())
    image: str = text()
    memory_max: str = text()
    cpu_quota: str = text()
    drain_timeout: int = integer(30, 0, 86400)
    stop_timeout: int = integer(1, 1, 3600)
    release: str = optional_path()
    backend: str = text("cpu", ("cpu", CUDA))
    host: str = flag(text("127.0.0.1"), "LLAMA_ARG_HOST", "host", basic=True)
    port: int = flag(integer(8080, 1, 65535), "LLAMA_ARG_PORT", "port", basic=True, beside=("reuse-port",))
    model: str = flag(
        optional_path(),
        "LLAMA_ARG_MODEL",
        "model",
        basic=True,
        beside=("model-url", "docker-repo", "hf-repo", "hf-file", "hf-token", "offline"),
    )
    alias: str = flag(text(), "LLAMA_ARG_ALIAS", "alias", value=table.alias, basic=True)
    ctx_size: int = flag(
        integer(4096, 0, wanted="a number of tokens, or 0 for the context that the model was trained with"),
        "LLAMA_ARG_CTX_SIZE",
        "ctx-size",
        value=table.total_context,
        basic=True,
        beside=("kv-unified-per-slot",),
    )
    # LLAMA_MAX_SEQ is built in.
    parallel: int = flag(
        integer(16, 1, 256, wanted="a number of slots from 1 to 256, such as 4, which is llama-server's automatic one"),
        "LLAMA_ARG_N_PARALLEL",
        "parallel",
        basic=True,
    )
    max_tokens: int = flag(
        integer(2048, 1, also=(-1,), wanted="a number of tokens, or -1 for no limit"),
        "LLAMA_ARG_N_PREDICT",
        "n-predict",
        "predict",
        basic=True,
    )
    batch_size: int = flag(integer(2048, 1), "LLAMA_ARG_BATCH", "batch-size", basic=True)
    ubatch_size: int = flag(integer(512, 1), "LLAMA_ARG_UBATCH", "ubatch-size", basic=True)
    threads: int = flag(integer(0, 0, 4096), "LLAMA_ARG_THREADS", "threads", basic=True)
    n_gpu_layers: str = flag(
        text("auto"), "LLAMA_ARG_N_GPU_LAYERS", "n-gpu-layers", "gpu-layers", kind=LAYERS, on_gpu=True, basic=True
    )
    devices: tuple[str, ...] = flag(texts(), "LLAMA_ARG_DEVICE", "device", basic=True)
    split_mode: str = flag(
        text("", ("", "none", "layer", "row", "tensor")),
        "LLAMA_ARG_SPLIT_MODE",
        "split-mode",
        kind=CHOICE,
        on_gpu=True,
    )
    tensor_split: tuple[float, ...] = flag(
        numbers(), "LLAMA_ARG_TENSOR_SPLIT", "tensor-split", value=table.shares, on_gpu=True
    )
    main_gpu: int = flag(integer(0, 0, 1023), "LLAMA_ARG_MAIN_GPU", "main-gpu", on_gpu=True)
    flash_attn: str = flag(text("auto", ("auto", "on", "off")), "LLAMA_ARG_FLASH_ATTN", "flash-attn", kind=FLASH)
    cache_type_k: str = flag(text("f16", CACHE_TYPES), "LLAMA_ARG_CACHE_TYPE_K", "cache-type-k", kind=CHOICE)
    cache_type_v: str = flag(text("f16", CACHE_TYPES), "LLAMA_ARG_CACHE_TYPE_V", "cache-type-v", kind=CHOICE)
    load_mode: str = flag(
        text("auto", ("auto", "mmap", "mlock", "mmap+mlock", "direct", "none")),
        "LLAMA_ARG_LOAD_MODE",
        "load-mode",
        kind=LOAD,
    )
    cache_ram: int = flag(integer(8192, -1), "LLAMA_ARG_CACHE_RAM", "cache-ram", kind=LIMIT)
    kv_unified: bool = flag(switch(False), "LLAMA_ARG_KV_UNIFIED", "kv-unified")
    mmproj: str = flag(optional_path(), "LLAMA_ARG_MMPROJ", "mmproj", beside=("mmproj-url", "mmproj-auto"))
    # llama-server has no environment variable for LoRA; this key only matches its error output.
    lora: tuple[str, ...] = flag(texts(), "--lora-scaled", "lora-scaled", "lora", value=table.lora, kind=LORA)
    # What the model's stage provides beside the model.
    adapters: tuple[str, ...] = texts()
    draft: str = flag(optional_path(), "LLAMA_ARG_SPEC_DRAFT_MODEL", "spec-draft-model", "model-draft", owns=False)
    draft_type: str = flag(text(), "LLAMA_ARG_SPEC_TYPE", "spec-type", value=table.draft_type, kind=LIMIT, owns=False)
    jinja: bool = flag(switch(True), "LLAMA_ARG_JINJA", "jinja")
    chat_template: str = flag(
        flag(text(), "LLAMA_ARG_CHAT_TEMPLATE", "chat-template", value=table.template_text),
        "LLAMA_ARG_CHAT_TEMPLATE_FILE",
        "chat-template-file",
        value=table.template_file,
    )
    reasoning: str = flag(text("auto", ("auto", "on", "off")), "LLAMA_ARG_REASONING", "reasoning", kind=REASONING)
    embeddings: bool = flag(switch(False), "LLAMA_ARG_EMBEDDINGS", "embeddings", "embedding")
    rerank: bool = flag(switch(False), "LLAMA_ARG_RERANKING", "rerank", "reranking")
    metrics: bool = flag(switch(True), "LLAMA_ARG_ENDPOINT_METRICS", "metrics")
    slots: bool = flag(switch(True), "LLAMA_ARG_ENDPOINT_SLOTS", "slots")
    api_key: str = owned(secret(), "api-key", "api-key-file")
    api_keys: tuple[str, ...] = secrets()
    tls_certificate: str = flag(optional_path(), "LLAMA_ARG_SSL_CERT_FILE", "ssl-cert-file")
    tls_key: str = flag(optional_path(), "LLAMA_ARG_SSL_KEY_FILE", "ssl-key-file")
    cors_origins: tuple[str, ...] = flag(
        texts(), "LLAMA_ARG_CORS_ORIGINS", "cors-origins", value=table.origins, kind=ORIGINS
    )
    timeout: int = flag(integer(3600, 1, 604800), "LLAMA_ARG_TIMEOUT", "timeout")
    log_level: str = flag(
        text("info", ("error", "warning", "info", "debug")),
        "LLAMA_ARG_LOG_VERBOSITY",
        "verbosity",
        "log-verbosity",
        kind=LOG,
        beside=("verbose", "log-verbose", "log-prompts-dir"),
    )
    allow_unauthenticated: bool = switch(False)
    allow: tuple[str, ...] = texts(("router", "tools", "agent", "mcp", "rpc", "slots"))
    extra_options: typing.Mapping[str, typing.Any] = mapping()
    prompt: str = text()
    ready_timeout: int = integer(0, 0, 86400)
    to_generation: int = integer(0, 0)
    keep: int = integer(5, 1, 1000)
    min_speed_ratio: float = number(0.0, 0, 1, "a share from 0 to 1, such as 0.8")
    memory_check: bool = switch(True)
    root: pathlib.Path = directory("/etc/llama-fleet")
    runtime_root: pathlib.Path = directory("/run/llama-fleet")
    state_root: pathlib.Path = directory("/var/lib/llama-fleet/instances")

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
    """Return the names that ``llama-server --list-devices`` prints for NVIDIA GPUs."""
    return re.findall(r"^\s*(CUDA\d+):", listing, re.MULTILINE)


def option_problems(options: Options) -> list[Problem]:
    """Return the problems of the options that can be found without the host."""
    values = server_values.value_problems(options)
    return [
        *values,
        *(
            problem
            for problem in server_secrets.secret_problems(options)
            if problem.subject not in {wrong.subject for wrong in values}
        ),
    ]


def files_wanted(options: Options) -> list[tuple[str, pathlib.Path]]:
    """Files beside the release and the model that the server reads, each with the role variable that names it."""
    template = options.chat_template if options.chat_template.startswith("/") else ""
    named = [
        ("chat_template", template),
        *((name, str(getattr(options, name))) for name in ("mmproj", "draft", "tls_certificate", "tls_key")),
    ]
    named += [("lora", path) for path, _scale in table.adapters(options)]
    return [(f"llama_server_{name}", pathlib.Path(path)) for name, path in named if path]
