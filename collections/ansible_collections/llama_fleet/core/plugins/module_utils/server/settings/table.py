# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The one table of what role variables mean to llama-server: names in its environment, flags, values, and when each is
set.

What is wanted is the same for every release; ``server_writing`` writes it as one release wants to read it.
"""

from __future__ import annotations

import dataclasses
import pathlib
import typing

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

# How a value is written where releases differ by more than names.
VALUE, SWITCH, CHOICE, LIMIT, FLASH = "value", "switch", "choice", "limit", "flash"
LAYERS, LOAD, LOG, REASONING, LORA, ORIGINS = "layers", "load", "log", "reasoning", "lora", "origins"
CUDA = "cuda"


@dataclasses.dataclass(frozen=True)
class Setting:
    """One option of the server: the role variable it comes from, its name in the environment and as a flag, what is
    wanted.
    """

    variable: str
    environment: str
    flag: str
    value: str
    kind: str = VALUE
    # Other long names, old and new.
    names: tuple[str, ...] = ()
    # Whether nobody has asked for anything special, so that a release that knows nothing of it will do.
    default: bool = False
    # Whether an instance is nothing without it.
    basic: bool = False


@dataclasses.dataclass(frozen=True)
class _Row:
    """Where a setting comes from. ``value`` gives None where nothing is to be set."""

    field: str
    environment: str
    names: tuple[str, ...]
    value: typing.Callable[[Options], str | None]
    kind: str = VALUE


def _plain(name: str) -> typing.Callable[[Options], str | None]:
    return lambda options: str(getattr(options, name))


def _named(name: str) -> typing.Callable[[Options], str | None]:
    """Set only where it is not empty."""
    return lambda options: str(getattr(options, name)) or None


def _switch(name: str) -> typing.Callable[[Options], str | None]:
    return lambda options: "1" if getattr(options, name) else "0"


def _on_gpu(value: typing.Callable[[Options], str | None]) -> typing.Callable[[Options], str | None]:
    """Set only where a GPU computes; a release for CPUs complains."""
    return lambda options: value(options) if options.backend == CUDA else None


def _alias(options: Options) -> str | None:
    return options.alias or pathlib.Path(options.model).name or None


def _total_context(options: Options) -> str:
    # The server divides its context among the slots; people mean what one request gets.
    return str(options.ctx_size * options.parallel)


def _shares(options: Options) -> str | None:
    return ",".join(f"{share:g}" for share in options.tensor_split) or None


def _template(is_file: bool) -> typing.Callable[[Options], str | None]:
    return lambda options: (
        options.chat_template if options.chat_template and options.chat_template.startswith("/") is is_file else None
    )


def _origins(options: Options) -> str:
    """Without a key any page that a browser shows could use the server; with one it has to have the key."""
    keyed = options.api_key or options.api_keys
    return ",".join(options.cors_origins) or ("*" if keyed and not options.allow else "localhost")


def adapters(options: Options) -> list[tuple[str, str]]:
    """Each LoRA adapter's path and scale, which is empty where a colon has nothing behind it."""
    return [
        (path, scale) if path else (scale, "1")
        for path, _colon, scale in (given.rpartition(":") for given in options.lora)
    ]


def _lora(options: Options) -> str | None:
    return ",".join(f"{path}:{scale}" for path, scale in adapters(options)) or None


_ROWS = (
    _Row("host", "LLAMA_ARG_HOST", ("host",), _plain("host")),
    _Row("port", "LLAMA_ARG_PORT", ("port",), _plain("port")),
    _Row("model", "LLAMA_ARG_MODEL", ("model",), _named("model")),
    _Row("alias", "LLAMA_ARG_ALIAS", ("alias",), _alias),
    _Row("ctx_size", "LLAMA_ARG_CTX_SIZE", ("ctx-size",), _total_context),
    _Row("parallel", "LLAMA_ARG_N_PARALLEL", ("parallel",), _plain("parallel")),
    _Row("max_tokens", "LLAMA_ARG_N_PREDICT", ("n-predict", "predict"), _plain("max_tokens")),
    _Row("batch_size", "LLAMA_ARG_BATCH", ("batch-size",), _plain("batch_size")),
    _Row("ubatch_size", "LLAMA_ARG_UBATCH", ("ubatch-size",), _plain("ubatch_size")),
    _Row(
        "n_gpu_layers",
        "LLAMA_ARG_N_GPU_LAYERS",
        ("n-gpu-layers", "gpu-layers"),
        _on_gpu(_plain("n_gpu_layers")),
        LAYERS,
    ),
    _Row("split_mode", "LLAMA_ARG_SPLIT_MODE", ("split-mode",), _on_gpu(_named("split_mode")), CHOICE),
    _Row("tensor_split", "LLAMA_ARG_TENSOR_SPLIT", ("tensor-split",), _on_gpu(_shares)),
    _Row("main_gpu", "LLAMA_ARG_MAIN_GPU", ("main-gpu",), _on_gpu(_plain("main_gpu"))),
    _Row("flash_attn", "LLAMA_ARG_FLASH_ATTN", ("flash-attn",), _plain("flash_attn"), FLASH),
    _Row("cache_type_k", "LLAMA_ARG_CACHE_TYPE_K", ("cache-type-k",), _plain("cache_type_k"), CHOICE),
    _Row("cache_type_v", "LLAMA_ARG_CACHE_TYPE_V", ("cache-type-v",), _plain("cache_type_v"), CHOICE),
    _Row("load_mode", "LLAMA_ARG_LOAD_MODE", ("load-mode",), _plain("load_mode"), LOAD),
    _Row("cache_ram", "LLAMA_ARG_CACHE_RAM", ("cache-ram",), _plain("cache_ram"), LIMIT),
    _Row("kv_unified", "LLAMA_ARG_KV_UNIFIED", ("kv-unified",), _switch("kv_unified"), SWITCH),
    _Row("mmproj", "LLAMA_ARG_MMPROJ", ("mmproj",), _named("mmproj")),
    # It has no variable; this finds it in what the server says.
    _Row("lora", "--lora-scaled", ("lora-scaled", "lora"), _lora, LORA),
    _Row("jinja", "LLAMA_ARG_JINJA", ("jinja",), _switch("jinja"), SWITCH),
    _Row("chat_template", "LLAMA_ARG_CHAT_TEMPLATE", ("chat-template",), _template(False)),
    _Row("chat_template", "LLAMA_ARG_CHAT_TEMPLATE_FILE", ("chat-template-file",), _template(True)),
    _Row("reasoning", "LLAMA_ARG_REASONING", ("reasoning",), _plain("reasoning"), REASONING),
    _Row("embeddings", "LLAMA_ARG_EMBEDDINGS", ("embeddings", "embedding"), _switch("embeddings"), SWITCH),
    _Row("rerank", "LLAMA_ARG_RERANKING", ("rerank", "reranking"), _switch("rerank"), SWITCH),
    _Row("metrics", "LLAMA_ARG_ENDPOINT_METRICS", ("metrics",), _switch("metrics"), SWITCH),
    _Row("slots", "LLAMA_ARG_ENDPOINT_SLOTS", ("slots",), _switch("slots"), SWITCH),
    _Row("tls_certificate", "LLAMA_ARG_SSL_CERT_FILE", ("ssl-cert-file",), _named("tls_certificate")),
    _Row("tls_key", "LLAMA_ARG_SSL_KEY_FILE", ("ssl-key-file",), _named("tls_key")),
    _Row("cors_origins", "LLAMA_ARG_CORS_ORIGINS", ("cors-origins",), _origins, ORIGINS),
    _Row("timeout", "LLAMA_ARG_TIMEOUT", ("timeout",), _plain("timeout")),
    _Row("log_level", "LLAMA_ARG_LOG_VERBOSITY", ("verbosity", "log-verbosity"), _plain("log_level"), LOG),
)

# Flags beside those of the table that would set one of its variables behind its back.
_BESIDE = {
    "model": ("model-url", "docker-repo", "hf-repo", "hf-file", "hf-token", "offline"),
    "port": ("reuse-port",),
    "ctx_size": ("kv-unified-per-slot",),
    "threads": ("threads",),
    "devices": ("device",),
    "mmproj": ("mmproj-url", "mmproj-auto"),
    "api_key": ("api-key", "api-key-file"),
    "log_level": ("verbose", "log-verbose", "log-prompts-dir"),
}


def managed() -> dict[str, tuple[str, ...]]:
    """The long names that each role variable sets."""
    found: dict[str, tuple[str, ...]] = {}
    for field, names in [*((row.field, row.names) for row in _ROWS), *_BESIDE.items()]:
        variable = f"llama_server_{field}"
        found[variable] = (*found.get(variable, ()), *names)
    return found


def is_uuid(device: str) -> bool:
    """Whether a device is named as the driver names a whole GPU or a slice of one, and not as llama-server does."""
    return device.startswith(("GPU-", "MIG-"))


def visible_gpus(options: Options) -> dict[str, str]:
    """The variable by which CUDA shows the server no GPUs and slices but those named by their UUIDs, in their order."""
    named = [device for device in options.devices if is_uuid(device)]
    return {"CUDA_VISIBLE_DEVICES": ",".join(named)} if named else {}


def settings(options: Options, threads: int, devices: typing.Sequence[str]) -> list[Setting]:
    """Every setting that is made, so that no default of a release ever decides where we have a value."""
    # Of those that CUDA shows, the server sees the first as CUDA0.
    names = [f"CUDA{number}" if is_uuid(device) else device for number, device in enumerate(devices)]
    found = [
        Setting("llama_server_threads", "LLAMA_ARG_THREADS", "threads", str(threads), basic=True),
        # A device that is named and missing ends the server; left out, it would silently compute on the CPU.
        Setting("llama_server_devices", "LLAMA_ARG_DEVICE", "device", ",".join(names) or "none", basic=True),
    ]
    defaults = {field.name: field.default for field in dataclasses.fields(options)}
    for row in _ROWS:
        value = row.value(options)
        if value is not None:
            default = defaults[row.field]
            same, basic = getattr(options, row.field) == default, default is dataclasses.MISSING
            found.append(
                Setting(
                    f"llama_server_{row.field}",
                    row.environment,
                    row.names[0],
                    value,
                    row.kind,
                    row.names[1:],
                    same,
                    basic,
                )
            )
    return found
