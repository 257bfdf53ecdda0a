# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Predict how much memory a model takes before it is downloaded.

Runs the release's own ``llama-fit-params`` on sparse files that hold only the model's headers, because only llama.cpp
knows what its architectures allocate. The context length is per slot, so the program is asked for slots times context
and divides that among its slots as llama-server does. With ``--fit-print on`` it writes one line per device to stdout,

    CUDA0 4403 512 560
    Host 281 0 24

with the MiB of the model, its context and its compute buffers when all layers are on the GPUs. ``Host``, always last,
is the RAM, and the only line on a host without a GPU. Errors are on stderr, in lines such as
``0.00.107.759 E llama_model_load: error loading model: unknown model architecture: 'x'``.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import tempfile
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.shards import Shard
from ansible_collections.llama_fleet.core.plugins.module_utils.host.disk import disk_problems
from ansible_collections.llama_fleet.core.plugins.module_utils.host.scratch import scratch
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import flags

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.reader import Content
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result, Runner

HOST = "Host"
PROGRAM = "llama-fit-params"
MARGIN_MIB = 1024  # MiB that llama-server itself leaves free on each device
TIME_LIMIT = 180.0  # seconds; mostly for a first start of CUDA, because a model takes less than one
_LINE = re.compile(r"(\S+) (\d{1,12}) (\d{1,12}) (\d{1,12}) ?")
_STAMP = re.compile(r"^[\d.]+ [A-Z] ")
_ERROR = re.compile(r"^[\d.]+ E |\berror\b", re.IGNORECASE | re.MULTILINE)
_TRIES = 5
_NOT_RUN = (124, 127)  # ended by the time limit, or never started


@dataclasses.dataclass(frozen=True)
class DeviceMemory:
    """The memory of a model on one device, in MiB. ``name`` is llama.cpp's: ``CUDA0``, or ``Host`` for the RAM."""

    name: str
    model_mib: int
    context_mib: int
    compute_mib: int

    @property
    def total_mib(self) -> int:
        return self.model_mib + self.context_mib + self.compute_mib


@dataclasses.dataclass(frozen=True)
class MemoryPlan:
    """The memory of a model on every device."""

    devices: tuple[DeviceMemory, ...]

    @property
    def total_mib(self) -> int:
        return sum(device.total_mib for device in self.devices)

    @property
    def decisive_mib(self) -> int:
        """Return the MiB that must fit: on the GPUs if there are any, else on the host."""
        gpus = [device for device in self.devices if device.name != HOST]
        return sum(device.total_mib for device in gpus or self.devices)


def plan_memory(
    run: Runner,
    release: pathlib.Path,
    shards: typing.Sequence[tuple[Content, int]],
    ctx_size: int,
    parallel: int,
    work: pathlib.Path,
    variable: str = "gguf_model_release",
) -> MemoryPlan:
    """Return the memory plan of a model with ``parallel`` slots of ``ctx_size`` tokens each, both at least 1.

    ``shards`` holds the header bytes (Header.content) and the full size in bytes of every file. ``work`` is an existing
    folder for temporary sparse files. Messages name the release's ``variable``. Raises ProblemError.
    """
    program = release / "bin" / PROGRAM
    if not os.access(program, os.X_OK):
        raise ProblemError(
            Problem(variable, f"no bin/{PROGRAM} in {release}", "a release of llama.cpp", "use llama_cpp_result.path")
        )
    with tempfile.TemporaryDirectory(prefix=".memory-plan-", dir=work) as folder:
        paths = _sparse_files(pathlib.Path(folder), shards)
        sizes = ["-c", str(ctx_size * parallel), "-np", str(parallel)]
        command = [str(program), "-m", str(paths[0]), *sizes, "--fit-print", "on"]
        # Backends are also loaded from the working directory, so it must be one of ours.
        result = _run_until_explained(run, [*_clean(os.environ), *command], folder)
    if not result.ok:
        raise ProblemError(_failed_plan(variable, release, result))
    return MemoryPlan(parse_plan(result.stdout, variable))


def plan_served(
    run: Runner,
    release: pathlib.Path,
    command: typing.Sequence[str],
    variables: typing.Mapping[str, str],
    variable: str,
) -> MemoryPlan:
    """Return the memory plan of a server with this command line and environment, whose model files exist.

    The program shares the memory options of the server; options it does not know are left out. Raises ProblemError.
    """
    program = release / "bin" / PROGRAM
    known = flags.parse_help(run([str(program), "--help"], cwd="/", timeout=TIME_LIMIT).stdout).by_name
    words: list[str] = []
    taken = False
    for word in command[1:]:
        if word.startswith("--"):
            taken = word.partition("=")[0] in known
        words += [word] if taken else []
    stray = [name for name in os.environ if name not in variables]
    with scratch() as folder:
        folder.chmod(0o711)  # the program may run as another user, who must be able to enter it
        result = _run_until_explained(
            run, [*_clean(stray), str(program), *words, "--fit-print", "on"], str(folder), variables
        )
    if not result.ok:
        raise ProblemError(_failed_plan(variable, release, result))
    return MemoryPlan(parse_plan(result.stdout, variable))


def parse_plan(text: str, variable: str = "gguf_model_release") -> tuple[DeviceMemory, ...]:
    """Parse the stdout of ``llama-fit-params --fit-print on`` into devices. Raises ProblemError."""
    matches = [(line, _LINE.fullmatch(line)) for line in text.splitlines() if line]
    devices = tuple(
        DeviceMemory(match[1], int(match[2]), int(match[3]), int(match[4])) for _line, match in matches if match
    )
    if len(devices) == len(matches) and [device.name == HOST for device in devices[-1:]] == [True]:
        return devices
    strange = next((line for line, match in matches if not match), text)
    wanted = "a line with three numbers for each device, the last for Host"
    raise ProblemError(
        Problem(variable, f"{PROGRAM} that writes {strange[:200]!r}", wanted, "use a release that this version knows")
    )


def _sparse_files(folder: pathlib.Path, shards: typing.Sequence[tuple[Content, int]]) -> list[pathlib.Path]:
    """Make files that look complete to llama.cpp, which reads only their headers."""
    names = Shard("model", 1, len(shards), ".gguf").names if len(shards) > 1 else ("model.gguf",)
    paths = [folder / name for name in names]
    for path, (content, size) in zip(paths, shards):
        with disk_problems(path), path.open("wb") as file:
            file.write(content)
            file.truncate(size)
    return paths


def _clean(environment: typing.Iterable[str]) -> list[str]:
    """Return a command prefix that hides the caller's LLAMA_ARG_* settings."""
    stray = sorted(name for name in environment if name.startswith("LLAMA_ARG_"))
    return ["env", *(word for name in stray for word in ("-u", name))] if stray else []


def _run_until_explained(
    run: Runner, command: typing.Sequence[str], folder: str, variables: typing.Mapping[str, str] | None = None
) -> Result:
    """Run the program, and again if it fails without an error message.

    A thread writes its log, and the program may end before it.
    """
    for _try in range(_TRIES):
        environment = {**(variables or {}), "GGML_NO_BACKTRACE": "1", "XDG_CONFIG_HOME": folder}
        result = run(command, env=environment, cwd=folder, timeout=TIME_LIMIT)
        if result.ok or result.code in _NOT_RUN or _ERROR.search(result.stderr):
            break
    return result


def _failed_plan(variable: str, release: pathlib.Path, result: Result) -> Problem:
    failure = f"{PROGRAM} of {release}, which failed: {_first_error(result)}"
    return Problem(variable, failure, "a release that can run this model")


def _first_error(result: Result) -> str:
    """Return the program's first error message, else that of its exception, else its exit status."""
    lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
    if result.code in _NOT_RUN and lines:
        return lines[-1][:300]
    errors = [line for line in lines if _ERROR.search(line)] or [line for line in lines if line.startswith("what():")]
    return (
        _STAMP.sub("", errors[0])[:300]
        if errors
        else f"{'signal' if result.code < 0 else 'exit status'} {abs(result.code)}"
    )
