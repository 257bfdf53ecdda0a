# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""How much memory a model takes, before it is there, and which of several fits.

The release's own ``llama-fit-params`` tells, on sparse files that hold the header and nothing else, for only llama.cpp
knows what its architectures allocate. Context is counted per slot, so the program is asked for slots times context; it
divides that among its slots as llama-server does. With ``--fit-print on`` it writes one line a device to stdout,

    CUDA0 4403 512 560
    Host 281 0 24

which are MiB of the model, its context and its computations when every layer is on the GPUs, and ``Host``, always last,
is the RAM. A host without a GPU has that line alone. What goes wrong is on stderr, in lines such as
``0.00.107.759 E llama_model_load: error loading model: unknown model architecture: 'x'``.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import tempfile
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.download import disk_problems
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.shards import Shard
from ansible_collections.llama_fleet.core.plugins.module_utils.host import memory as build_jobs
from ansible_collections.llama_fleet.core.plugins.module_utils.host.scratch import scratch
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import observe as nvidia
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import flags as release_flags

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.header import Content
    from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import Candidate
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result, Runner

HOST = "Host"
PROGRAM = "llama-fit-params"
MARGIN_MIB = 1024  # what llama-server itself leaves free of each device
_TIME_LIMIT = 180.0  # seconds; a first start of CUDA takes most of it, a model less than one
_MIB = 1 << 20
_LINE = re.compile(r"(\S+) (\d{1,12}) (\d{1,12}) (\d{1,12}) ?")
_STAMP = re.compile(r"^[\d.]+ [A-Z] ")
_ERROR = re.compile(r"^[\d.]+ E |\berror\b", re.IGNORECASE | re.MULTILINE)
_TRIES = 5
_NOT_RUN = (124, 127)  # it ended by the time limit or never started


@dataclasses.dataclass(frozen=True)
class DeviceMemory:
    """What a model takes of one device, in MiB. ``name`` is llama.cpp's: ``CUDA0``, or ``Host`` for the RAM."""

    name: str
    model_mib: int
    context_mib: int
    compute_mib: int

    @property
    def total_mib(self) -> int:
        return self.model_mib + self.context_mib + self.compute_mib


@dataclasses.dataclass(frozen=True)
class MemoryPlan:
    """What a model takes of every device."""

    devices: tuple[DeviceMemory, ...]

    @property
    def total_mib(self) -> int:
        return sum(device.total_mib for device in self.devices)

    @property
    def decisive_mib(self) -> int:
        """What has to fit: the GPUs' part where there are GPUs, else the host's."""
        gpus = [device for device in self.devices if device.name != HOST]
        return sum(device.total_mib for device in gpus or self.devices)


@dataclasses.dataclass(frozen=True)
class Available:
    """Memory that is free. ``what`` says which, for messages: ``free on 2 GPUs`` or ``free RAM``."""

    mib: int
    what: str
    devices: int = 1

    @property
    def margin_mib(self) -> int:
        """What is to stay free of it."""
        return MARGIN_MIB * self.devices


@dataclasses.dataclass(frozen=True)
class Considered:
    """One candidate and whether it fits.

    ``mib`` is None where its files alone are too big, so that it was not planned.
    """

    label: str
    size: int
    mib: int | None
    fits: bool

    def __str__(self) -> str:
        return f"{self.label}: {f'{self.mib} MiB' if self.mib is not None else f'files of {self.size // _MIB} MiB'}"


@dataclasses.dataclass(frozen=True)
class Fitting:
    """The candidate that was chosen, its plan, and all that were looked at on the way, the largest first."""

    candidate: Candidate
    plan: MemoryPlan
    considered: tuple[Considered, ...]


def plan_memory(
    run: Runner,
    release: pathlib.Path,
    shards: typing.Sequence[tuple[Content, int]],
    ctx_size: int,
    parallel: int,
    work: pathlib.Path,
    variable: str = "gguf_model_release",
) -> MemoryPlan:
    """What the model takes with ``parallel`` slots of ``ctx_size`` tokens each, both at least 1.

    ``shards`` holds the header's bytes (Header.content) and the full size of every file. ``work`` is an existing folder
    for sparse files, which are gone afterwards. ``variable`` names the release in messages.
    """
    program = release / "bin" / PROGRAM
    if not os.access(program, os.X_OK):
        raise ProblemError(
            Problem(variable, f"no bin/{PROGRAM} in {release}", "a release of llama.cpp", "use llama_cpp_result.path")
        )
    with tempfile.TemporaryDirectory(prefix=".memory-plan-", dir=work) as folder:
        paths = _sparse_files(pathlib.Path(folder), shards)
        command = [
            str(program),
            "-m",
            str(paths[0]),
            "-c",
            str(ctx_size * parallel),
            "-np",
            str(parallel),
            "--fit-print",
            "on",
        ]
        # Backends are loaded from the working directory too, so it has to be one of ours.
        result = _run_until_told(run, [*_clean(os.environ), *command], folder)
    if not result.ok:
        raise ProblemError(
            Problem(
                variable,
                f"{PROGRAM} of {release}, which failed: {_first_error(result)}",
                "a release that can run this model",
            )
        )
    return MemoryPlan(parse_plan(result.stdout, variable))


def plan_served(
    run: Runner,
    release: pathlib.Path,
    command: typing.Sequence[str],
    variables: typing.Mapping[str, str],
    variable: str,
) -> MemoryPlan:
    """What a server with this command line and environment takes, its model's files being on the host.

    The program shares the server's options as far as they matter to memory; it is only given those that it knows.
    """
    program = release / "bin" / PROGRAM
    known = release_flags.parse_help(run([str(program), "--help"], cwd="/", timeout=_TIME_LIMIT).stdout).by_name
    words: list[str] = []
    taken = False
    for word in command[1:]:
        if word.startswith("--"):
            taken = word.partition("=")[0] in known
        words += [word] if taken else []
    stray = [name for name in os.environ if name not in variables]
    with scratch() as folder:
        folder.chmod(0o711)  # the program may be another user's, and only looks in here
        result = _run_until_told(
            run, [*_clean(stray), str(program), *words, "--fit-print", "on"], str(folder), variables
        )
    if not result.ok:
        raise ProblemError(
            Problem(
                variable,
                f"{PROGRAM} of {release}, which failed: {_first_error(result)}",
                "a release that can run this model",
            )
        )
    return MemoryPlan(parse_plan(result.stdout, variable))


def parse_plan(text: str, variable: str = "gguf_model_release") -> tuple[DeviceMemory, ...]:
    """The devices out of what ``llama-fit-params --fit-print on`` wrote to stdout."""
    matches = [(line, _LINE.fullmatch(line)) for line in text.splitlines() if line]
    devices = tuple(
        DeviceMemory(match[1], int(match[2]), int(match[3]), int(match[4])) for _line, match in matches if match
    )
    if len(devices) == len(matches) and [device.name == HOST for device in devices[-1:]] == [True]:
        return devices
    strange = next((line for line, match in matches if not match), text)
    wanted = "a line of three numbers for each device, the last for Host"
    raise ProblemError(
        Problem(variable, f"{PROGRAM} that writes {strange[:200]!r}", wanted, "use a release that this version knows")
    )


def memory_available(
    run: Runner, release: pathlib.Path | None = None, root: pathlib.Path = pathlib.Path("/")
) -> Available:
    """Free memory of all GPUs together, else of the host; for a ``release`` that sees no GPU that of the host."""
    folders = tuple(os.environ.get("PATH", "").split(os.pathsep)) + nvidia.MORE_FOLDERS
    gpus = nvidia.observe(nvidia.Host(run, root, folders)).gpus
    free = sum(gpu.memory_free_mib for gpu in gpus)
    if free and (release is None or _sees_gpu(run, release)):
        return Available(free, f"free on {len(gpus)} GPUs" if len(gpus) > 1 else "free on the GPU", len(gpus))
    ram = build_jobs.memory_available(root)
    if not ram:
        raise ProblemError(
            Problem("memory", "no MemAvailable in /proc/meminfo", "the host's free memory", "say how much there is")
        )
    return Available(ram // _MIB, "free RAM")


def choose_fitting(
    candidates: typing.Sequence[Candidate],
    available_mib: int,
    plan_of: typing.Callable[[Candidate], MemoryPlan],
    where: str,
    margin_mib: int = MARGIN_MIB,
) -> Fitting:
    """The largest of ``candidates`` that leaves ``margin_mib`` of ``available_mib`` free; raises with every one of them
    where none does.

    Candidates with shards missing are left out, and drafts where there is anything else. ``where`` names the listing.
    """
    whole = [candidate for candidate in candidates if not candidate.missing]
    models = [candidate for candidate in whole if not candidate.draft] or whole
    room = available_mib - margin_mib
    considered: list[Considered] = []
    for candidate in sorted(models, key=lambda candidate: (-candidate.size, candidate.rank, candidate.path)):
        label = candidate.quant or candidate.path
        # Beside GPUs the token embeddings stay in RAM, hardly ever more than a quarter of a model.
        if candidate.size * 3 // 4 > room * _MIB:
            considered.append(Considered(label, candidate.size, None, fits=False))
            continue
        plan = plan_of(candidate)
        considered.append(Considered(label, candidate.size, plan.decisive_mib, plan.decisive_mib <= room))
        if considered[-1].fits:
            return Fitting(candidate, plan, tuple(considered))
    found = (
        f"no model in {where} that fits into {available_mib} MiB of which {margin_mib} are to stay free "
        f"({'; '.join(map(str, considered)) or 'none at all'})"
    )
    fix = "take a smaller model, a shorter context or fewer slots, or name a quant to have it whether it fits or not"
    raise ProblemError(Problem("gguf_model_quant", found, "one that fits", fix))


def _sparse_files(folder: pathlib.Path, shards: typing.Sequence[tuple[Content, int]]) -> list[pathlib.Path]:
    """Files that look whole to llama.cpp, which reads nothing behind their headers."""
    names = Shard("model", 1, len(shards), ".gguf").names if len(shards) > 1 else ("model.gguf",)
    paths = [folder / name for name in names]
    for path, (content, size) in zip(paths, shards):
        with disk_problems(path), path.open("wb") as file:
            file.write(content)
            file.truncate(size)
    return paths


def _clean(environment: typing.Iterable[str]) -> list[str]:
    """A prefix for a command, so that it does not see the caller's LLAMA_ARG_* settings."""
    stray = sorted(name for name in environment if name.startswith("LLAMA_ARG_"))
    return ["env", *(word for name in stray for word in ("-u", name))] if stray else []


def _run_until_told(
    run: Runner, command: typing.Sequence[str], folder: str, variables: typing.Mapping[str, str] | None = None
) -> Result:
    """Run the program, and where it fails without a word on the reason, again: its log is a thread's, which its end
    may outrun.
    """
    for _try in range(_TRIES):
        environment = {**(variables or {}), "GGML_NO_BACKTRACE": "1", "XDG_CONFIG_HOME": folder}
        result = run(command, env=environment, cwd=folder, timeout=_TIME_LIMIT)
        if result.ok or result.code in _NOT_RUN or _ERROR.search(result.stderr):
            break
    return result


def _first_error(result: Result) -> str:
    """The program's first word on what went wrong: of its own, else of the exception that ended it, else how it
    ended.
    """
    lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
    if result.code in _NOT_RUN and lines:
        return lines[-1][:300]
    errors = [line for line in lines if _ERROR.search(line)] or [line for line in lines if line.startswith("what():")]
    return (
        _STAMP.sub("", errors[0])[:300]
        if errors
        else f"{'signal' if result.code < 0 else 'exit status'} {abs(result.code)}"
    )


def _sees_gpu(run: Runner, release: pathlib.Path) -> bool:
    """Whether the release can use a GPU; a line such as ``  CUDA0:

    NVIDIA H200 (143771 MiB, 143000 MiB free)`` names each.
    """
    result = run([str(release / "bin" / PROGRAM), "--list-devices"], cwd="/", timeout=_TIME_LIMIT)
    return re.search(r"^ +\S+: .*\bMiB\b", result.stdout, re.MULTILINE) is not None
