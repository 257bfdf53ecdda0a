# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Check everything about an instance that can be checked before it starts, while an older one may still serve."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.shards import parse_shard
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands, ports, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store as release_store
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.unit_file import CONFIGURATION
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import extra as server_flags
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import flag_kinds as server_kinds
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import router as server_router
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import secrets as server_secrets
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import (
    Options,
    cuda_devices,
    files_wanted,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.table import CUDA, Setting

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner

_MAGIC = b"GGUF"
# Seconds for llama-server to read its configuration and list its devices, which takes it one or two.
TEST_LIMIT = 120.0


def release_problems(options: Options, may_be_missing: bool) -> list[Problem]:
    """Return a problem if the release has no executable server."""
    variable, wanted, fix = "llama_server_release", "a release of llama.cpp", "use llama_cpp_result.path"
    if not options.release:
        return [] if may_be_missing else [Problem(variable, "nothing", "the folder of a release", fix)]
    if options.server.is_file():
        if os.access(options.server, os.X_OK):
            return []
        return [Problem(variable, f"{options.server}, which cannot be executed", wanted)]
    return [] if may_be_missing else [Problem(variable, f"no bin/llama-server in {options.release}", wanted, fix)]


def shards(model: pathlib.Path) -> list[pathlib.Path]:
    """Return all files of a model, given its first."""
    shard = parse_shard(model.name)
    return [model.with_name(name) for name in shard.names] if shard else [model]


def model_problems(options: Options, may_be_missing: bool) -> list[Problem]:
    """Return the problems of the model's files: missing shards, or files that are not GGUF."""
    variable = "llama_server_model"
    routed = server_router.router_problems(options, may_be_missing)
    if routed or not options.model:
        return routed or (
            [] if may_be_missing or server_router.is_wanted(options) else [server_router.no_model(options)]
        )
    model = pathlib.Path(options.model)
    if not model.exists() and may_be_missing:
        return []
    shard = parse_shard(model.name)
    if shard and shard.number != 1:
        files, first = f"part {shard.number} of {shard.count}", model.with_name(shard.name(1))
        return [Problem(variable, files, "the model's first file", f"use {first}")]
    missing = [file.name for file in shards(model) if not file.is_file()]
    if missing:
        files = f"no file {', '.join(missing)} in {model.parent}"
        return [Problem(variable, files, "every file of the model", "fetch the model again")]
    for path in shards(model):
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return [Problem(variable, f"{path}, which is no GGUF file", "a GGUF file", "fetch the model again")]
    return []


def file_problems(options: Options, may_be_missing: bool) -> list[Problem]:
    """Return the problems of the files that the server reads besides its model, including its certificate."""
    wanted = [
        *files_wanted(options),
        *(("llama_server_extra_options", path) for path in server_kinds.files_read(options)),
    ]
    missing = [
        Problem(variable, f"no file {path}", "a file of this host")
        for variable, path in wanted
        if not may_be_missing and not path.is_file()
    ]
    reported = {problem.subject for problem in missing}
    if not all(path.is_file() for variable, path in wanted if "_tls_" in variable):
        return missing
    tls = server_secrets.tls_problems(options, time.time())
    return missing + [problem for problem in tls if problem.subject not in reported]


def model_size(model: str) -> int:
    """Return the size of all files of a model in bytes."""
    return sum(shard.stat().st_size for shard in shards(pathlib.Path(model)) if shard.is_file())


def host_problems(
    options: Options, own: typing.Collection[int], own_now: typing.Callable[[], typing.Collection[int]]
) -> list[Problem]:
    """Return the problems of address and port.

    ``own`` are the process ids of this instance, which frees its port for its successor; ``own_now`` reads them again.
    """
    if not ports.is_local_address(options.host):
        fix = "use 127.0.0.1, or 0.0.0.0 for every address"
        return [Problem("llama_server_host", options.host, "an address of this host", fix)]
    others = [
        listener for listener in ports.listeners(options.port, options.host, likely=own) if listener.pid not in own
    ]
    if others:  # after a killed run systemd may have started one of ours since, and others may have ended
        now = own_now()
        others = [
            listener
            for listener in others
            if listener.pid not in now and (not listener.pid or processes.find(listener.pid))
        ]
    if not others:
        return []
    holder = next((listener.pid for listener in others if listener.pid), 0)
    who = f"pid {holder} ({processes.name(holder)})" if holder else "a process of another user"
    occupied = f"port {options.port}, on which {who} listens"
    return [Problem("llama_server_port", occupied, "a free port", "choose another port or stop that process")]


def configuration_problems(folder: str = CONFIGURATION) -> list[Problem]:
    """Return a problem if llama-server's system-wide config.ini exists, because no flag turns it off."""
    path = pathlib.Path(folder) / "config.ini"
    if not path.exists():
        return []
    fix = "remove it and use llama_server_extra_options"
    return [Problem(str(path), "a configuration that changes every llama-server here", "no such file", fix)]


def read_flags(options: Options, run: Runner) -> server_flags.Flags | None:
    """Return the release's flags from its manifest or its --help; None if there is no release or no usable help.

    A server that cannot print its flags fails the configuration test later.
    """
    if not options.release or not options.server.is_file():
        return None
    manifest = release_store.read_manifest(pathlib.Path(options.release)) or {}
    recorded = server_flags.from_manifest(manifest)
    if recorded is not None:
        return recorded
    done = run([str(options.server), "--help"], timeout=60)
    flags = dataclasses.replace(
        server_flags.parse_help(done.stdout or done.stderr), build=str(manifest.get("build", ""))
    )
    return flags if flags.get("port") else None


def devices(options: Options, run: Runner) -> tuple[list[str], list[Problem]]:
    """Return the devices to compute on: the requested ones, every NVIDIA GPU, or none."""
    if options.devices or options.backend != CUDA:
        return list(options.devices), []
    if not options.release or not options.server.is_file():
        return [], []
    done = run([str(options.server), "--list-devices"], timeout=TEST_LIMIT)
    listed = cuda_devices(done.stdout + done.stderr)
    if listed:
        return listed, []
    if done.code == commands.TIMED_OUT:
        return [], [_no_answer("the question for its devices")]
    no_device, wanted = "cuda, but the release sees no CUDA device", "a working GPU and driver"
    return [], [Problem("llama_server_backend", no_device, wanted, "see nvidia-smi, or use cpu")]


def config_test(
    command: typing.Sequence[str], variables: typing.Mapping[str, str], known: typing.Iterable[Setting], run: Runner
) -> Problem | None:
    """Let the server itself check the configuration, without loading the model; return its error as a problem."""
    done = run([*command, "--list-devices"], env=variables, cwd="/", timeout=TEST_LIMIT)
    if done.ok:
        return None
    if done.code == commands.TIMED_OUT:
        return _no_answer("its configuration test")
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    error = next(
        (line for line in lines if "error" in line.lower()), lines[-1] if lines else f"exit status {done.code}"
    )
    if done.code in (126, 127) or done.code < 0:
        failure, wanted = f"a llama-server that does not start: {error}", "a release that runs on this host"
        return Problem("llama_server_release", failure, wanted, "build it on this host")
    subject = next(
        (setting.variable for setting in known if setting.environment in error or f"--{setting.flag} " in error),
        server_flags.VARIABLE,
    )
    return Problem(subject, f"options that llama-server refuses: {error}", "options that this release accepts")


def _no_answer(question: str) -> Problem:
    """Return the problem of a server that hangs. No option is to blame: only a driver or a disk can cause that."""
    silence = f"no answer to {question} within {TEST_LIMIT:g} s, which is no fault of the options"
    wanted = "one that reads its configuration and lists its devices, which takes seconds"
    fix = (
        "check the host's driver and disk: see whether nvidia-smi answers and what dmesg says, and restart the "
        "host if the driver does not come back"
    )
    return Problem("llama-server", silence, wanted, fix)
