# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What is wanted of one llama-server, and what that means as its environment and command line."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
from ansible_collections.llama_fleet.core.plugins.module_utils.systemd_text import is_one_line

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server_flags import Flags

CUDA = "cuda"
# Nothing is there: a stray config.ini in somebody's home must not change the server.
NO_CONFIGURATION = "/nonexistent"
INSTANCE_VARIABLE = "LLAMA_FLEET_INSTANCE"
GENERATION_VARIABLE = "LLAMA_FLEET_GENERATION"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LARGEST = 2**31 - 1


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


@dataclasses.dataclass(frozen=True)
class Setting:
    """One option of the server: the role variable it comes from, its name in the environment and as a flag."""

    variable: str
    environment: str
    flag: str
    value: str


def settings(options: Options, threads: int, devices: typing.Sequence[str]) -> list[Setting]:
    """Every setting that is always made, so that no default of a release ever decides."""
    found = [
        Setting("llama_server_host", "LLAMA_ARG_HOST", "host", options.host),
        Setting("llama_server_port", "LLAMA_ARG_PORT", "port", str(options.port)),
        Setting("llama_server_model", "LLAMA_ARG_MODEL", "model", options.model),
        Setting("llama_server_alias", "LLAMA_ARG_ALIAS", "alias", options.alias or pathlib.Path(options.model).name),
        # The server divides its context among the slots; people mean what one request gets.
        Setting("llama_server_ctx_size", "LLAMA_ARG_CTX_SIZE", "ctx-size", str(options.ctx_size * options.parallel)),
        Setting("llama_server_parallel", "LLAMA_ARG_N_PARALLEL", "parallel", str(options.parallel)),
        Setting("llama_server_max_tokens", "LLAMA_ARG_N_PREDICT", "n-predict", str(options.max_tokens)),
        Setting("llama_server_batch_size", "LLAMA_ARG_BATCH", "batch-size", str(options.batch_size)),
        Setting("llama_server_ubatch_size", "LLAMA_ARG_UBATCH", "ubatch-size", str(options.ubatch_size)),
        Setting("llama_server_threads", "LLAMA_ARG_THREADS", "threads", str(threads)),
        # A device that is named and missing ends the server; left out, it would silently compute on the CPU.
        Setting("llama_server_devices", "LLAMA_ARG_DEVICE", "device", ",".join(devices) or "none"),
    ]
    if options.backend == CUDA:
        found.append(Setting("llama_server_n_gpu_layers", "LLAMA_ARG_N_GPU_LAYERS", "n-gpu-layers", options.n_gpu_layers))
    return found


def split(found: typing.Iterable[Setting], flags: Flags | None) -> tuple[dict[str, str], list[str]]:
    """Settings as environment where the release has a variable for them, as command line where it has not."""
    known = flags.environments if flags else None
    variables, words = {"XDG_CONFIG_HOME": NO_CONFIGURATION}, []
    for setting in found:
        if known is None or setting.environment in known:
            variables[setting.environment] = setting.value
        else:
            words += [f"--{setting.flag}", setting.value]
    return variables, words


def cuda_devices(listing: str) -> list[str]:
    """The names that ``llama-server --list-devices`` prints for NVIDIA GPUs."""
    return re.findall(r"^\s*(CUDA\d+):", listing, re.MULTILINE)


def problems(options: Options) -> list[Problem]:
    """Everything wrong with the options that needs no look at the host."""
    return [*_names(options), *_numbers(options), *_texts(options)]


def _names(options: Options) -> typing.Iterator[Problem]:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", options.instance):
        yield Problem("llama_server_instance", repr(options.instance), "1 to 40 lower-case letters, digits and hyphens, no hyphen first or last")
    if not re.fullmatch(r"auto|all|\d{1,6}", options.n_gpu_layers):
        yield Problem("llama_server_n_gpu_layers", repr(options.n_gpu_layers), "a number of layers, auto or all")
    for device in options.devices:
        if not re.fullmatch(r"[A-Za-z0-9:_-]+", device):
            yield Problem("llama_server_devices", repr(device), "names such as CUDA0")
        elif options.backend == CUDA and not device.startswith("CUDA"):
            yield Problem("llama_server_devices", device, "CUDA devices such as CUDA0, for llama_server_backend is cuda")
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", options.host) or options.host.endswith(".sock"):
        yield Problem("llama_server_host", repr(options.host), "an IP address or a host name of this host, such as 127.0.0.1 or 0.0.0.0")


def _numbers(options: Options) -> typing.Iterator[Problem]:
    ranges = (
        ("port", options.port, 1, 65535),
        ("ctx_size", options.ctx_size, 1, _LARGEST),
        ("parallel", options.parallel, 1, 1024),
        ("batch_size", options.batch_size, 1, _LARGEST),
        ("ubatch_size", options.ubatch_size, 1, _LARGEST),
        ("threads", options.threads, 0, 4096),
        ("ready_timeout", options.ready_timeout, 1, 86400),
    )
    for name, value, low, high in ranges:
        if not low <= value <= high:
            yield Problem(f"llama_server_{name}", str(value), f"a number from {low} to {high}")
    if options.max_tokens != -1 and not 1 <= options.max_tokens <= _LARGEST:
        yield Problem("llama_server_max_tokens", str(options.max_tokens), "a number of tokens, or -1 for no limit")
    if 0 < options.batch_size < options.ubatch_size:
        yield Problem("llama_server_ubatch_size", str(options.ubatch_size), f"at most llama_server_batch_size, which is {options.batch_size}")
    if options.ctx_size > 0 and options.parallel > 0 and options.ctx_size * options.parallel > _LARGEST:
        yield Problem("llama_server_ctx_size", f"{options.ctx_size} for each of {options.parallel} slots", f"at most {_LARGEST} tokens in all")


def _texts(options: Options) -> typing.Iterator[Problem]:
    texts = {
        "alias": options.alias,
        "api_key": options.api_key,
        "release": options.release,
        "model": options.model,
        "root": str(options.root),
        "runtime_root": str(options.runtime_root),
    }
    for name, value in texts.items():
        if not is_one_line(value):
            yield Problem(f"llama_server_{name}", "a newline or a control character", "printable text on one line")
    if options.api_key.startswith("#") or options.api_key != options.api_key.strip():
        yield Problem("llama_server_api_key", "a key that begins with # or has spaces around it", "a key that a key file can hold")
    for name in ("release", "model", "root", "runtime_root"):
        if texts[name] and not texts[name].startswith("/"):
            yield Problem(f"llama_server_{name}", texts[name], "an absolute path")
    for name in ("release", "root"):
        if re.search(r"[^\w./+@=,: -]", texts[name], re.ASCII):
            yield Problem(f"llama_server_{name}", repr(texts[name]), "a path of letters, digits and ._/+@=,:- only")
