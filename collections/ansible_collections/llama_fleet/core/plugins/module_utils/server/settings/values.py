# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Check the values of an instance's options without looking at the host or the release."""

from __future__ import annotations

import math
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import LARGEST, range_problems
from ansible_collections.llama_fleet.core.plugins.module_utils.host.systemd_text import is_one_line
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import router as server_router
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import state_folder, workers
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import table as server_settings
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.instance_name import (
    ACCEPTED,
    is_instance_name,
)

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_ORIGIN = re.compile(
    r"\*|localhost|[a-z][a-z0-9+.-]*://[A-Za-z0-9.-]+(:\d{1,5})?|https?://\[[0-9A-Fa-f:.]+\](:\d{1,5})?"
)
# Types of the V cache that do not need flash attention.
_WHOLE = ("f32", "f16", "bf16")
_PATHS = ("release", "model", "root", "runtime_root", "state_root", "mmproj", "draft", "tls_certificate", "tls_key")


def value_problems(options: Options) -> list[Problem]:
    """Return a problem for each option whose value is out of range or malformed."""
    return [
        *_names(options),
        *_numbers(options),
        *_devices(options),
        *_model(options),
        *_origins(options),
        *_texts(options),
        *state_folder.folder_problems(options),
    ]


def _names(options: Options) -> typing.Iterator[Problem]:
    if not is_instance_name(options.instance):
        yield Problem("llama_server_instance", repr(options.instance), ACCEPTED)
    if not _HOST.fullmatch(options.host) or options.host.endswith(".sock"):
        wanted = "an IP address or a host name of this host, such as 127.0.0.1 or 0.0.0.0"
        yield Problem("llama_server_host", repr(options.host), wanted)


def _numbers(options: Options) -> typing.Iterator[Problem]:
    yield from range_problems(type(options), "llama_server", vars(options))
    if 0 < options.batch_size < options.ubatch_size:
        wanted = f"at most llama_server_batch_size, which is {options.batch_size}"
        yield Problem("llama_server_ubatch_size", str(options.ubatch_size), wanted)
    if options.ctx_size == 0 and server_router.is_wanted(options):
        wanted = "a number of tokens for the models of a router"
        yield Problem("llama_server_ctx_size", "0, the context of one model", wanted)
    if options.ctx_size > 0 and options.parallel > 0 and options.ctx_size * options.parallel > LARGEST:
        context = f"{options.ctx_size} for each of {options.parallel} slots"
        yield Problem("llama_server_ctx_size", context, f"at most {LARGEST} tokens in all")


def _devices(options: Options) -> typing.Iterator[Problem]:
    if not re.fullmatch(r"auto|all|\d{1,6}", options.n_gpu_layers):
        fix = "write all" if options.n_gpu_layers == "-1" else ""
        yield Problem("llama_server_n_gpu_layers", repr(options.n_gpu_layers), "a number of layers, auto or all", fix)
    yield from _device_names(options)
    yield from workers.device_problems(options)
    if options.devices and options.main_gpu >= len(options.devices):
        wanted = f"at most {len(options.devices) - 1}, because llama_server_devices are counted from 0"
        yield Problem("llama_server_main_gpu", str(options.main_gpu), wanted)
    if options.tensor_split and not (
        all(math.isfinite(share) and share >= 0 for share in options.tensor_split) and any(options.tensor_split)
    ):
        wanted = "shares of 0 or more, not all of them 0, such as [3, 1]"
        yield Problem("llama_server_tensor_split", str(list(options.tensor_split)), wanted)
    if options.cache_type_v not in _WHOLE and options.flash_attn == "off":
        wanted, fix = f"one of {', '.join(_WHOLE)} without flash attention", "set llama_server_flash_attn to auto or on"
        yield Problem("llama_server_cache_type_v", options.cache_type_v, wanted, fix)


def _device_names(options: Options) -> typing.Iterator[Problem]:
    variable, is_uuid = "llama_server_devices", server_settings.is_uuid
    for device in options.devices:
        if not re.fullmatch(r"[A-Za-z0-9:_-]+", device):
            yield Problem(variable, repr(device), "names such as CUDA0")
        elif options.backend == server_settings.CUDA and not (
            device.startswith("CUDA") or is_uuid(device) or workers.is_device(device)
        ):
            wanted = "CUDA devices such as CUDA0, or UUIDs, because llama_server_backend is cuda"
            yield Problem(variable, device, wanted)
        elif options.backend != server_settings.CUDA and is_uuid(device):
            yield Problem(variable, device, "no GPU, because llama_server_backend is cpu", "use cuda, or leave it out")
    if len({is_uuid(device) for device in options.devices}) > 1:
        wanted = "either UUIDs or names such as CUDA0"
        yield Problem(variable, ", ".join(options.devices), wanted, "run 'nvidia-smi -L' to list the UUIDs")


def _model(options: Options) -> typing.Iterator[Problem]:
    if options.embeddings and options.rerank:
        both, fix = "true beside llama_server_embeddings", "run an instance for each"
        yield Problem("llama_server_rerank", both, "one of the two", fix)
    if options.draft and server_settings.flag_names(options) & {"spec-draft-model", "model-draft"}:
        second, fix = f"a draft model beside {options.draft}", "leave one of them out"
        yield Problem("llama_server_extra_options", second, "no other than gguf_model_draft provides", fix)
    if not re.fullmatch(r"[a-z0-9-]{0,40}", options.draft_type):
        yield Problem("llama_server_draft_type", repr(options.draft_type), "a name such as draft-simple")
    for given, (path, scale) in zip((*options.lora, *options.adapters), server_settings.adapters(options)):
        if not re.fullmatch(r"/[^,:]+", path) or not is_one_line(path):
            wanted = "an absolute path without commas and colons, and a colon and a scale if it is not 1"
            yield Problem("llama_server_lora", repr(given), wanted)
        elif not re.fullmatch(r"-?(\d{1,9}(\.\d{0,9})?|\.\d{1,9})", scale):
            yield Problem("llama_server_lora", repr(given), "a number after the colon, such as 0.5")


def _origins(options: Options) -> typing.Iterator[Problem]:
    variable = "llama_server_cors_origins"
    if len(options.cors_origins) > 1:
        # The server would send all of them in one header, which no browser accepts.
        count, wanted = f"{len(options.cors_origins)} origins", "one, because the server can send a browser only one"
        yield Problem(variable, count, wanted, "name one, or * for all")
        return
    for origin in options.cors_origins:
        if not _ORIGIN.fullmatch(origin):
            wanted = "an origin such as https://chat.example without a path, localhost or *"
            yield Problem(variable, repr(origin), wanted)


def _texts(options: Options) -> typing.Iterator[Problem]:
    texts = {name: str(getattr(options, name)) for name in ("alias", "chat_template", *_PATHS)}
    for name, value in texts.items():
        if not is_one_line(value):
            yield Problem(f"llama_server_{name}", "a newline or a control character", "printable text on one line")
    if re.fullmatch(r"[ ,]+", options.alias):
        wanted, fix = "a name, or several separated by commas", "leave it empty to name the model after its file"
        yield Problem("llama_server_alias", repr(options.alias), wanted, fix)
    for name in _PATHS:
        if texts[name] and not texts[name].startswith("/"):
            yield Problem(f"llama_server_{name}", texts[name], "an absolute path")
    for name in ("release", "root", "state_root"):
        if re.search(r"[^\w./+@=,: -]", texts[name], re.ASCII):
            yield Problem(f"llama_server_{name}", repr(texts[name]), "a path of letters, digits and ._/+@=,:- only")
