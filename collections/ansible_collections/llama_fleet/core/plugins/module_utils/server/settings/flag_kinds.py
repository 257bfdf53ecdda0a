# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Classify llama-server's flags: owned by a role variable, opening the host, writing, running or ending something."""

from __future__ import annotations

import pathlib
import re

from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import table as server_settings
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

# Flags of releases before the load mode. All of them mean the same.
LOADING = ("mlock", "mmap", "direct-io")
# A flag that a role variable sets must not be set a second time.
MANAGED = server_settings.managed(Options)
MANAGED["llama_server_load_mode"] += LOADING
_OWNERS = {name: variable for variable, names in MANAGED.items() for name in names}
# Flags that open the host to everyone who reaches the port, or give work to other hosts; allowed only by name.
ALLOWED = {
    "router": r"models-.*",
    "tools": r"tools|tools-runtime",
    "agent": r"agent",
    "mcp": r"(ui-|webui-)?mcp-.*",
    "rpc": r"rpc",
    "slots": r"slot-save-path",
}
# Flags that are never allowed, by the reason that messages give.
REFUSED = {
    "gives files of the host to any client": r"path|media-path",
    "writes files of its own": r"log-file|lookup-cache-dynamic",
    "runs other programs": r"video-ffmpeg-dir",
    "serves another model, or fetches one": r"(?!spec-default).+-default|fim-.*|hf-repo-.*|spec-draft-hf",
    # They print something and end, or hide the output.
    "ends the server, or hides its output": r"help|usage|version|cache-list|completion-bash|list-devices|log-disable",
}
# They read a file that the operator names, once, and give it to no client.
READ = (
    r"grammar-file|json-schema-file|(ui|webui)-config-file|control-vector|control-vector-scaled|"
    r"lookup-cache-static|spec-draft-model|model-draft"
)
# They only change how a model computes or answers.
PLAIN = (
    r"adaptive-(decay|target)|dry-.*|dynatemp-.*|mirostat(-ent|-lr)?|xtc-.*",
    r"top-.*|typical|typical-p|min-p|temp|temperature|seed",
    r"samplers|sampler-seq|sampling-seq|backend-sampling|repeat-.*",
    r"presence-penalty|frequency-penalty|logit-bias|ignore-eos|escape",
    r"grammar|json-schema|reverse-prompt|special|spm-infill|keep|pooling",
    r"embd-normalize|prefill-assistant|skip-chat-parsing",
    r"chat-template-kwargs|reasoning-.*|rope-.*|yarn-.*|override-kv",
    r"override-tensor|lora-init-without-apply|control-vector-layer-range",
    r"spec-(default|type|synth-.*|ngram-.*)|spec-draft-(?!hf$|model$).*",
    r"(cpu-.*|prio|poll|threads|device|cache-type-[kv])(-batch)?-draft",
    r"(gpu-layers|n-gpu-layers|n-cpu-moe|threads-batch|override-tensor)-draft",
    r"draft|draft-(max|min|n|n-min|p-min|p-split)",
    r"cpu-(mask|range|strict)(-batch)?|cpu-moe|n-cpu-(moe|ffn)",
    r"prio(-batch)?|poll(-batch)?|threads-(batch|http)|numa|perf|warmup|repack|host",
    r"kv-offload|op-offload|fit|fit-(ctx|target)|lazy-mode|check-tensors",
    r"swa-full|swa-checkpoints|ctx-checkpoints|checkpoint-min-step",
    r"cache-(idle-slots|prompt|reuse)|context-shift|cont-batching",
    r"defrag-thold|slot-prompt-similarity|sleep-idle-seconds|sse-ping-interval",
    r"mmproj-(device|offload)|image-(max|min)-tokens|mtmd-batch-max-tokens|video-(fps|timestamp-interval)",
    r"log-(colors|jsonl|prefix|timestamps)|ui|webui|(ui|webui)-config|tags",
    r"api-prefix|cors-(credentials|headers|methods)|props",
)
# Names of values in --help that are files, folders or addresses.
_PLACE = re.compile(r"FNAME|FILE|PATH|DIR|URL|SERVERS|COMMAND", re.IGNORECASE)


def files_read(options: Options) -> list[pathlib.Path]:
    """Return the absolute paths of the files that ``extra_options`` tell the server to read."""
    paths: list[pathlib.Path] = []
    for key, value in options.extra_options.items():
        name = str(key).lstrip("-").lower().replace("_", "-").removeprefix("llama-arg-")
        if not re.fullmatch(READ, name):
            continue
        for each in value if isinstance(value, (list, tuple)) else [value]:
            # Some take several files with their scales, as in "/a.gguf:0.5,/b.gguf".
            words = str(each).split(",") if "control-vector" in name else [str(each)]
            paths += [pathlib.Path(re.sub(r":-?[0-9.]+$", "", word)) for word in words if word.startswith("/")]
    return paths


def owner(name: str) -> str:
    """Return the role variable that sets the flag ``name`` (long, without hyphens), or an empty string."""
    return _OWNERS.get(name, "")


def way_in(name: str) -> str:
    """Return the word of ``llama_server_allow`` that the flag needs, or an empty string."""
    return next((what for what, pattern in ALLOWED.items() if re.fullmatch(pattern, name)), "")


def reason_against(name: str, value: str = "") -> str:
    """Return the reason why the flag is not allowed, or an empty string; ``value`` is its value's name in --help.

    An unclassified flag is allowed only if its value is no file, folder or address.
    """
    known = next((reason for reason, pattern in REFUSED.items() if re.fullmatch(pattern, name)), "")
    if known or not _PLACE.search(value) or re.fullmatch(READ, name) or owner(name) or way_in(name):
        return known
    return "may open files or addresses, and is newer than this llama-fleet"


def is_classified(name: str) -> bool:
    """Return whether the flag has been classified."""
    return bool(
        owner(name)
        or way_in(name)
        or reason_against(name)
        or re.fullmatch(READ, name)
        or any(re.fullmatch(pattern, name) for pattern in PLAIN)
    )
