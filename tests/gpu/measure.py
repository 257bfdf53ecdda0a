# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""``tests/gpu/run`` tests and measures this host's GPU in phases, from a folder that tests/gpu/collect has filled."""

from __future__ import annotations

import argparse
import datetime as dt
import math
import os
import pathlib
import signal
import sys
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import untrusted
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Many, Record, Table, Text
from tests.gpu import frame, gpus, journal, phases, recorded
from tests.gpu.parcel import NAME, altered
from tests.gpu.session import CPU, GPU, RECORDED, FailedError, NotHereError, Run, shapes

FAILED, WRONG_USE, NO_GPU, UNFINISHED = 1, 2, 3, 4
CPU_SECONDS = {"cuda": 4500, "cpu": 950}  # measured seconds of a build
MANY, FEW = {"prompt": 512, "tokens": 128, "rounds": 5}, {"prompt": 64, "tokens": 16, "rounds": 2}
TRAINED = 8192  # tokens; the context of the models
_BESIDE = 64  # tokens of a slot besides prompt and answer
# Everything that tests/gpu/collect writes and a phase may use; other keys are ignored.
_PARCEL = Record(
    {"source": Text(most=1000), "pythons": Many(Text(r"3\.\d{1,2}"), most=20)},
    {
        "toolkit": Text(most=40),
        "release": Text(most=1000),
        "packages": Many(Text(untrusted.NAME), most=50),
        "toolkit_libraries": Many(Text(most=200), most=50),
        "sums": Table(Text(untrusted.SHA256), most=1000),
    },
)


def main() -> int:
    began = time.monotonic()
    try:
        return _main(began)
    except gpus.NoGpuError as reason:
        sys.stderr.write(f"tests/gpu/run: no NVIDIA GPU can be used here: {reason}\n")
        return NO_GPU
    except (FailedError, NotHereError, untrusted.ShapeError, OSError) as reason:
        sys.stderr.write(f"tests/gpu/run: {reason}\n")
        return FAILED


def _main(began: float) -> int:
    given = _given()
    work = given.work.resolve()
    mode = CPU if given.cpu else RECORDED if given.recorded else GPU
    seen = gpus.look() if mode == GPU else []
    try:
        parcel = untrusted.parse((given.folder / NAME).read_bytes(), _PARCEL, str(given.folder / NAME))
    except OSError:
        sys.stderr.write(
            f"tests/gpu/run: {given.folder} is not complete; run tests/gpu/collect {given.folder} where there is a "
            f"package index\n"
        )
        return WRONG_USE
    if wrong := altered(given.folder, parcel):
        raise FailedError(f"{given.folder / wrong[0]} is not what was collected; collect it again")
    signal.signal(signal.SIGTERM, _end)
    work.mkdir(parents=True, exist_ok=True)
    if mode == RECORDED:
        recorded.install(work)
        seen = gpus.look()
    run = _run(given, mode, work, parcel, began)
    notes = journal.Journal(work)
    if before := {record["run"]["mode"] for record in notes.records() if "run" in record} - {mode}:
        sys.stderr.write(
            f"tests/gpu/run: {notes.path} is of a run with mode {', '.join(before)}; choose another --work\n"
        )
        return WRONG_USE
    notes.write({"run": _described(run, seen, given.budget)})
    chosen = [phase for phase in phases.ALL if not given.phase or phase.name in given.phase]
    outcomes = frame.go(chosen, run)
    sys.stdout.write("".join(f"{name:10} {outcome}\n" for name, outcome in outcomes.items()) + f"{notes.path}\n")
    if journal.FAILED in outcomes.values():
        return FAILED
    return UNFINISHED if {journal.ENDED, journal.SKIPPED} & set(outcomes.values()) else 0


def _run(given: argparse.Namespace, mode: str, work: pathlib.Path, parcel: dict[str, typing.Any], began: float) -> Run:
    names = given.shape or (["1b", "8b"] if mode == GPU else ["small"])
    return Run(
        folder=given.folder.resolve(),
        work=work,
        root=given.root.resolve() if given.root else work / "opt",
        mode=mode,
        models=tuple(shapes(given.quant)[name] for name in names),
        prompt=given.prompt,
        tokens=given.tokens,
        rounds=given.rounds,
        port=given.port,
        parcel=parcel,
        wanted=_wanted(given, mode, parcel),
        compiler_cache=str(given.compiler_cache.resolve()) if given.compiler_cache else "",
        cmake_options=dict(given.cmake_option),
        deadline=began + given.budget - frame.RESERVE if given.budget else math.inf,
    )


def _wanted(given: argparse.Namespace, mode: str, parcel: dict[str, typing.Any]) -> str:
    """Return what to provide: the packed release if there is one and no time to compile and still do the rest."""
    takes = CPU_SECONDS["cuda" if mode == GPU else "cpu"] / len(os.sched_getaffinity(0))
    small = given.way == "packed" or (given.way == "auto" and given.budget and given.budget < 2 * takes)
    source = parcel["release"] if small and "release" in parcel else parcel["source"]
    return str(source).replace("{folder}", str(given.folder.resolve()))


def _described(run: Run, seen: list[dict[str, str]], budget: float) -> dict[str, typing.Any]:
    """Return what a report says about place and time of the run."""
    return {
        "mode": run.mode,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "budget": budget,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "machine": os.uname().machine,
        "kernel": os.uname().release,
        "gpus": seen,
        "models": [model.name for model in run.models],
        "source": run.wanted,
    }


def _end(number: int, _frame: object) -> typing.NoReturn:
    raise SystemExit(128 + number)


def _given() -> argparse.Namespace:
    parser = _arguments()
    given = parser.parse_args()
    # Without a GPU only the run itself is tested, so few tokens suffice.
    for name, few in FEW.items():
        setattr(given, name, getattr(given, name) or (few if given.cpu or given.recorded else MANY[name]))
    if given.prompt + given.tokens + _BESIDE > TRAINED:
        parser.error(
            f"--prompt and --tokens are {given.prompt} and {given.tokens}, and the models have a context of {TRAINED} "
            f"with {_BESIDE} to spare"
        )
    return given


def _number(least: float, most: float, kind: typing.Callable[[str], float] = int) -> typing.Callable[[str], float]:
    """Return an argument type: a number from ``least`` to ``most``."""

    def number(text: str) -> float:
        value = kind(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not a number from {least:g} to {most:g}")
        return value

    return number


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _told(name: str) -> str:
    return (
        f"{'of each speed' if name == 'rounds' else 'tokens to generate' if name == 'tokens' else 'tokens'} "
        f"({MANY[name]}, without a GPU {FEW[name]})"
    )


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests/gpu/run", description=__doc__)
    parser.add_argument("folder", type=pathlib.Path, help="what tests/gpu/collect has filled")
    without = parser.add_mutually_exclusive_group()
    without.add_argument("--cpu", action="store_true", help="do the same without a GPU, to try the run itself")
    without.add_argument(
        "--recorded", action="store_true", help="the same, with a recorded GPU's answers where only those are wanted"
    )
    parser.add_argument(
        "--way",
        choices=["auto", "compile", "packed"],
        default="auto",
        help="to the release; auto: the packed one if the budget is small",
    )
    parser.add_argument(
        "--budget", type=_number(0, 86400, float), default=0, metavar="SECONDS", help="end by then; call again to go on"
    )
    parser.add_argument(
        "--phase", action="append", choices=[phase.name for phase in phases.ALL], help="only this one; may be repeated"
    )
    parser.add_argument(
        "--shape",
        action="append",
        choices=list(shapes("Q8_0")),
        help="of the models; without a GPU the small one, else 1b and 8b",
    )
    _add_amounts(parser)
    _add_folders(parser)
    return parser


def _add_amounts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quant", choices=["Q8_0", "Q4_K"], default="Q8_0")
    parser.add_argument("--prompt", type=_number(1, TRAINED), help=_told("prompt"))
    parser.add_argument("--tokens", type=_number(1, TRAINED), help=_told("tokens"))
    parser.add_argument("--rounds", type=_number(1, 100), help=_told("rounds"))
    parser.add_argument("--port", type=_number(1024, 65000), default=8189)


def _add_folders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--work",
        type=pathlib.Path,
        default=pathlib.Path("/tmp/llama-fleet-gpu"),
        help="for all that the run makes, results.jsonl among it",
    )
    parser.add_argument("--root", type=pathlib.Path, help="of toolkit and releases (default: below the work folder)")
    parser.add_argument("--compiler-cache", type=pathlib.Path, help="a cache that earlier builds have filled")
    parser.add_argument("--cmake-option", type=_option, action="append", default=[], metavar="NAME=VALUE")


if __name__ == "__main__":
    raise SystemExit(main())
