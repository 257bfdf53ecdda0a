# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Take llama-server's own arguments as variables, and refuse the names of variables that other images read."""

from collections.abc import Iterator, Mapping, MutableMapping

from llama_fleet import settings

# Arguments of llama-server by the role variable that sets the same.
_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "gguf_model_source": ("--model", "-m", "--hf-repo", "-hf", "-hfr"),
    "llama_server_host": ("--host",),
    "llama_server_port": ("--port",),
    "llama_server_ctx_size": ("--ctx-size", "-c"),
    "llama_server_max_tokens": ("--n-predict", "--predict", "-n"),
    "llama_server_parallel": ("--parallel", "-np"),
    "llama_server_batch_size": ("--batch-size", "-b"),
    "llama_server_ubatch_size": ("--ubatch-size", "-ub"),
    "llama_server_threads": ("--threads", "-t"),
    "llama_server_n_gpu_layers": ("--n-gpu-layers", "--gpu-layers", "-ngl"),
    "llama_server_alias": ("--alias", "-a"),
}
# Names of other images, whose values would be lost without a word, and the name here.
OTHERS: Mapping[str, str] = {
    "API_KEY": "LLAMA_API_KEY",
    "CONTEXT_SIZE": "CTX_SIZE",
    "CTX": "CTX_SIZE",
    "GPU_LAYERS": "N_GPU_LAYERS",
    "HF_FILE": "MODEL=owner/repo/file.gguf",
    "HF_REPO": "MODEL",
    "MODEL_FILE": "MODEL",
    "MODEL_NAME": "MODEL",
    "MODEL_PATH": "MODEL",
    "NGL": "N_GPU_LAYERS",
    "NUM_CTX": "CTX_SIZE",
    "NUM_GPU": "N_GPU_LAYERS",
    "NUM_THREADS": "THREADS",
    "N_BATCH": "BATCH_SIZE",
    "N_CTX": "CTX_SIZE",
    "N_PARALLEL": "PARALLEL",
    "N_THREADS": "THREADS",
    "OLLAMA_MODEL": "MODEL",
}


def refused(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each variable of another image that is set."""
    for name, ours in OTHERS.items():
        if environment.get(name):
            yield f"{name}: expected a variable of this image, found one of another. Fix: Use {ours}."


def taken(
    arguments: MutableMapping[str, object], catalogue: settings.Catalogue, problems: list[str]
) -> dict[str, object]:
    """Remove the arguments that are variables from ``arguments``, and return these. Append each mistake."""
    values: dict[str, object] = {}
    for name, flags in _ARGUMENTS.items():
        for flag in [flag for flag in flags if flag in arguments]:
            text = arguments.pop(flag)
            try:
                value = catalogue.variables[name].parse(text) if isinstance(text, str) else None
            except ValueError:
                value = None
            if value is None:
                problems.append(f"{flag}: expected {catalogue.variables[name].accepted}, found {_shown(text)}.")
            elif values.get(name, value) != value:
                problems.append(f"{flag}: expected it once among the container's arguments, found another one as well.")
            else:
                values[name] = value
    return values


def _shown(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) else "no value" if value is True else "several values"
