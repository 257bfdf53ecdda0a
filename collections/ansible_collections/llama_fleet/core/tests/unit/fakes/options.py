# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Options of two instances as people have them: one on the CPU for this host only, one on GPUs for everybody who
has the key.
"""

from __future__ import annotations

import dataclasses
import pathlib

from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

CPU = Options(
    instance="default",
    state="started",
    runtime="systemd",
    release="/opt/llama-fleet/releases/b11434-0123456789ab",
    model="/var/lib/llama-fleet/models/ggml-org/tiny/0a1b2c/tiny-Q4_K_M.gguf",
    backend="cpu",
    host="127.0.0.1",
    port=8080,
    ctx_size=4096,
    parallel=16,
    max_tokens=2048,
    batch_size=2048,
    ubatch_size=512,
    threads=0,
    n_gpu_layers="auto",
    devices=(),
    alias="",
    extra_options={},
    prompt="",
    ready_timeout=600,
    root=pathlib.Path("/etc/llama-fleet"),
    runtime_root=pathlib.Path("/run/llama-fleet"),
    image="docker.io/library/debian:trixie-slim",
)
CUDA = dataclasses.replace(
    CPU,
    instance="big",
    backend="cuda",
    host="0.0.0.0",
    port=8443,
    model="/var/lib/llama-fleet/models/ggml-org/big/0a1b2c/big-Q8_0-00001-of-00002.gguf",
    mmproj="/var/lib/llama-fleet/models/ggml-org/big/0a1b2c/mmproj-big.gguf",
    lora=("/srv/lora/more polite.gguf:0.5",),
    tls_certificate="/etc/ssl/certs/big.pem",
    tls_key="/etc/ssl/private/big.key",
    load_mode="mlock",
    memory_max="24G",
    cpu_quota="250%",
    stop_timeout=30,
    api_key="s3cret",
)
