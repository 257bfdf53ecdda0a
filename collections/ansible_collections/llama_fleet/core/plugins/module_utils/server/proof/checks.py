# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What can be proved of an instance before it is started, while an older one may still serve."""

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
# Seconds that llama-server has for what takes it one or two: to read its configuration and to list its devices.
TEST_LIMIT = 120.0


def release_problems(options: Options, may_be_missing: bool) -> list[Problem]:
    """Whether there is a server to start."""
    if not options.release:
        return (
            []
            if may_be_missing
            else [Problem("llama_server_release", "nothing", "the folder of a release", "use llama_cpp_result.path")]
        )
    if options.server.is_file():
        if os.access(options.server, os.X_OK):
            return []
        return [
            Problem("llama_server_release", f"{options.server}, which cannot be executed", "a release of llama.cpp")
        ]
    if may_be_missing:
        return []
    return [
        Problem(
            "llama_server_release",
            f"no bin/llama-server in {options.release}",
            "a release of llama.cpp",
            "use llama_cpp_result.path",
        )
    ]


def shards(model: pathlib.Path) -> list[pathlib.Path]:
    """Return all files of a model, given its first."""
    shard = parse_shard(model.name)
    return [model.with_name(name) for name in shard.names] if shard else [model]


def model_problems(options: Options, may_be_missing: bool) -> list[Problem]:
    """Whether the model's files are there, and look like GGUF."""
    variable = "llama_server_model"
    routed = server_router.problems(options, may_be_missing)
    if routed or not options.model:
        return routed or (
            [] if may_be_missing or server_router.is_wanted(options) else [server_router.no_model(options)]
        )
    model = pathlib.Path(options.model)
    if not model.exists() and may_be_missing:
        return []
    shard = parse_shard(model.name)
    if shard and shard.number != 1:
        found, first = f"part {shard.number} of {shard.count}", model.with_name(shard.name(1))
        return [Problem(variable, found, "the model's first file", f"use {first}")]
    missing = [file.name for file in shards(model) if not file.is_file()]
    if missing:
        return [
            Problem(
                variable,
                f"no file {', '.join(missing)} in {model.parent}",
                "every file of the model",
                "fetch the model again",
            )
        ]
    for path in shards(model):
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return [Problem(variable, f"{path}, which is no GGUF file", "a GGUF file", "fetch the model again")]
    return []


def file_problems(options: Options, may_be_missing: bool) -> list[Problem]:
    """Whether what the server reads beside its model is there, and its certificate can be used."""
    wanted = files_wanted(options)
    missing = (
        []
        if may_be_missing
        else [
            Problem(variable, f"no file {path}", "a file of this host")
            for variable, path in wanted
            if not path.is_file()
        ]
    )
    told = {problem.subject for problem in missing}
    if not all(path.is_file() for variable, path in wanted if "_tls_" in variable):
        return missing
    return missing + [
        problem for problem in server_secrets.tls_problems(options, time.time()) if problem.subject not in told
    ]


def model_size(model: str) -> int:
    return sum(shard.stat().st_size for shard in shards(pathlib.Path(model)) if shard.is_file())


def host_problems(
    options: Options, own: typing.Collection[int], own_now: typing.Callable[[], typing.Collection[int]]
) -> list[Problem]:
    """Address and port;

    ``own`` are the pids of this very instance, which makes room for itself, and ``own_now`` asks for them again.
    """
    if not ports.is_local_address(options.host):
        return [
            Problem(
                "llama_server_host",
                options.host,
                "an address of this host",
                "use 127.0.0.1, or 0.0.0.0 for every address",
            )
        ]
    others = [
        listener for listener in ports.listeners(options.port, options.host, likely=own) if listener.pid not in own
    ]
    if others:  # systemd may have begun one of ours since, after a run that was killed, and another may have ended
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
    return [
        Problem(
            "llama_server_port",
            f"port {options.port}, on which {who} listens",
            "a free port",
            "choose another port or stop that process",
        )
    ]


def configuration_problems(folder: str = CONFIGURATION) -> list[Problem]:
    """llama-server reads this file before everything else, and no flag turns that off."""
    path = pathlib.Path(folder) / "config.ini"
    if not path.exists():
        return []
    return [
        Problem(
            str(path),
            "a configuration that changes every llama-server here",
            "no such file",
            "remove it and use llama_server_extra_options",
        )
    ]


def read_flags(options: Options, run: Runner) -> server_flags.Flags | None:
    """The release's flags, out of its manifest or its help;

    None where there is no release yet. A server that cannot tell them fails the config test.
    """
    if not options.release or not options.server.is_file():
        return None
    manifest = release_store.read_manifest(pathlib.Path(options.release)) or {}
    told = server_flags.from_manifest(manifest)
    if told is not None:
        return told
    done = run([str(options.server), "--help"], timeout=60)
    flags = dataclasses.replace(
        server_flags.parse_help(done.stdout or done.stderr), build=str(manifest.get("build", ""))
    )
    return flags if flags.get("port") else None


def devices(options: Options, run: Runner) -> tuple[list[str], list[Problem]]:
    """The devices to compute on: those asked for, every NVIDIA GPU, or none."""
    if options.devices or options.backend != CUDA:
        return list(options.devices), []
    if not options.release or not options.server.is_file():
        return [], []
    done = run([str(options.server), "--list-devices"], timeout=TEST_LIMIT)
    found = cuda_devices(done.stdout + done.stderr)
    if found:
        return found, []
    if done.code == commands.TIMED_OUT:
        return [], [_no_answer("the question for its devices")]
    return [], [
        Problem(
            "llama_server_backend",
            "cuda, but the release sees no CUDA device",
            "a GPU and a driver that work",
            "see nvidia-smi, or use cpu",
        )
    ]


def config_test(
    command: typing.Sequence[str], variables: typing.Mapping[str, str], known: typing.Iterable[Setting], run: Runner
) -> Problem | None:
    """Let the server itself read the configuration, without the model: it knows best."""
    done = run([*command, "--list-devices"], env=variables, cwd="/", timeout=TEST_LIMIT)
    if done.ok:
        return None
    if done.code == commands.TIMED_OUT:
        return _no_answer("its configuration test")
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    said = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else f"exit status {done.code}")
    if done.code in (126, 127) or done.code < 0:
        return Problem(
            "llama_server_release",
            f"a llama-server that does not start: {said}",
            "a release that runs on this host",
            "build it on this host",
        )
    subject = next(
        (setting.variable for setting in known if setting.environment in said or f"--{setting.flag} " in said),
        server_flags.VARIABLE,
    )
    return Problem(subject, f"what llama-server refuses: {said}", "options that this release accepts")


def _no_answer(question: str) -> Problem:
    """Blame no option: a llama-server that only reads its configuration and lists its devices hangs in a driver or
    on a disk, and nowhere else.
    """
    return Problem(
        "llama-server",
        f"no answer to {question} within {TEST_LIMIT:g} s, which says nothing of the options",
        "one that reads its configuration and lists its devices, which takes seconds",
        (
            "check the host's driver and disk: see whether nvidia-smi answers and what dmesg says, and restart the "
            "host if the driver does not come back"
        ),
    )
