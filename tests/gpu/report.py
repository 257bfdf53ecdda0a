# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""``tests/gpu/report`` prints the results of ``tests/gpu/run`` as Markdown tables, and each contradiction."""

from __future__ import annotations

import argparse
import pathlib
import re
import subprocess
import sys
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from tests.gpu import contradictions, journal, results
from tests.gpu.parcel import ROOT
from tests.gpu.phases import speeds

if typing.TYPE_CHECKING:
    from tests.gpu.results import Results, Values

CONTRADICTED, WRONG_USE = 1, 2
BENCHMARKS = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- tests/gpu/report --write: from here -->", "<!-- tests/gpu/report --write: to here -->"
TITLE = "## On a GPU"
_COMMAND = "    tests/gpu/run FOLDER; tests/gpu/report --write /tmp/llama-fleet-gpu/results.jsonl"
_WITHOUT = {
    "cpu": "**Without a GPU: a try of the run itself on a CPU, which says nothing of any GPU.**",
    "recorded": (
        "**Without a GPU: a try of the run itself with a recorded GPU's answers, which says nothing of any GPU.**"
    ),
}
_NOT_DONE = {journal.ENDED: "ended by the budget", journal.SKIPPED: "not begun", journal.FAILED: "FAILED"}


def main(arguments: typing.Sequence[str] | None = None) -> int:
    given = _arguments().parse_args(arguments)
    try:
        found = [results.read(path) for path in given.files]
    except (results.ResultsError, OSError) as error:
        sys.stderr.write(f"tests/gpu/report: {error}\n")
        return WRONG_USE
    wrong = [f"{one.name}: {sentence}" for one in found for sentence in contradictions.told(one)]
    text = section(found, _commit())
    sys.stdout.write(text)
    for one in found:
        if one.cut:
            sys.stderr.write(
                f"tests/gpu/report: {one.name}: {one.cut} of its lines is cut off, as a run leaves it that is killed; "
                f"the rest counts\n"
            )
    for sentence in wrong:
        sys.stderr.write(f"tests/gpu/report: {sentence}\n")
    if given.write and not _write(given.write, text, found, wrong):
        return WRONG_USE
    return CONTRADICTED if wrong else 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests/gpu/report", description=__doc__)
    parser.add_argument(
        "files", type=pathlib.Path, nargs="+", metavar="FILES", help="results.jsonl of a run, or of several"
    )
    parser.add_argument(
        "--write",
        type=pathlib.Path,
        nargs="?",
        const=BENCHMARKS,
        metavar="FILE",
        help=f"put the tables there ({BENCHMARKS.name})",
    )
    return parser


def _write(path: pathlib.Path, text: str, found: typing.Sequence[Results], wrong: typing.Sequence[str]) -> bool:
    """Put the tables between the marks of ``path``; refuse results without a GPU or with contradictions."""
    try:
        old = path.read_text(encoding="utf-8")
    except OSError as error:
        sys.stderr.write(f"tests/gpu/report: {error}\n")
        return False
    if wrong:
        sys.stderr.write(
            f"tests/gpu/report: {path.name} stays as it is, for of what is told above something has to be mended "
            f"first\n"
        )
        return True
    if path == BENCHMARKS and not all(one.on_gpu for one in found):
        sys.stderr.write(f"tests/gpu/report: {path.name} is for figures of GPUs, and {_names(found)} has none\n")
        return False
    new = replaced(old, text)
    if new is None:
        sys.stderr.write(
            f"tests/gpu/report: {path.name} has not one line {BEGIN} and one line {END} after it; add them where the "
            f"tables belong\n"
        )
        return False
    files.write_atomic(path, new)
    return True


def _names(found: typing.Sequence[Results]) -> str:
    return ", ".join(one.name for one in found if not one.on_gpu)


def replaced(old: str, text: str) -> str | None:
    """Return ``old`` with ``text`` between the marks; None unless each mark is there once, in order."""
    pattern = re.compile(f"^{re.escape(BEGIN)}\n.*?^{re.escape(END)}$", re.DOTALL | re.MULTILINE)
    if old.count(BEGIN) != 1 or old.count(END) != 1 or not pattern.search(old):
        return None
    return pattern.sub(lambda _found: f"{BEGIN}\n{text}{END}", old)


def section(found: typing.Sequence[Results], commit: str) -> str:
    """Return all tables, each file's below the machine it was measured on."""
    parts = [TITLE]
    for one in found:
        parts += [
            about(one, commit),
            *filter(
                None,
                [
                    _WITHOUT.get(one.run["mode"], ""),
                    memory(one),
                    speed(one),
                    ups(one),
                    starts(one),
                    phases(one),
                    _not_seen(one),
                ],
            ),
        ]
    return "\n\n".join([*parts, _COMMAND]) + "\n"


def about(found: Results, commit: str) -> str:
    """Return where and when it was: machine, driver, GPUs, date and versions."""
    run = found.run
    gpus = [
        f"{gpu['name']} ({gpu['memory.total']} MiB)" if gpu.get("memory.total") else gpu["name"]
        for gpu in run.get("gpus", [])
    ]
    drivers = sorted({gpu["driver_version"] for gpu in run.get("gpus", [])})
    words = [
        "`tests/gpu/run`",
        run["date"][:10],
        ", ".join(gpus) or "no GPU",
        f"driver {', '.join(drivers)}" if drivers else "",
        f"{run['cores']} cores" if "cores" in run else "",
        f"{run['memory_bytes'] >> 30} GiB of RAM" if "memory_bytes" in run else "",
        " ".join(run[name] for name in ("machine", "kernel") if name in run),
        f"llama.cpp {found.build}" if found.build else "",
        f"commit {commit}" if commit else "",
    ]
    return f"{', '.join(filter(None, words))}."


def memory(found: Results) -> str:
    """Return the table of the instances; empty without any."""
    rows = []
    for one in found.instances.values():
        plan, model = one["memory"], one["model"]
        error = "not measured" if plan["error_percent"] is None else f"{plan['error_percent']:+.1f} %"
        ready = "" if one["ready_seconds"] is None else f"{one['ready_seconds']:.1f}"
        size = f"{model['parameters'] / 1e9:.2f} G, {model['bytes'] / 1e9:.2f} GB"
        mib = (str(plan[name]) for name in ("planned_mib", "taken_mib", "cuda_context_mib"))
        rows.append([model["shape"], size, one["device"], f"{one['slots']} x {one['context']}", *mib, error, ready])
    heads = [
        "model",
        "parameters, file",
        "device",
        "slots x tokens",
        "MiB planned",
        "MiB taken",
        "of it CUDA's own",
        "the plan's error",
        "seconds to ready",
    ]
    return table(heads, rows)


def speed(found: Results) -> str:
    """Return the table of speeds, a line for each case of the server; empty without any."""
    rows = []
    for case in found.cases:
        others = [
            each
            for each in found.cases
            if each["by"] == speeds.BENCH and results.key({**case, "by": speeds.BENCH}) == results.key(each)
        ]
        if case["by"] == speeds.SERVER or not _served(case, found.cases):
            rows.append(
                [
                    *_case(case),
                    *_speeds(case if case["by"] == speeds.SERVER else None),
                    *_speeds(others[0] if others else None),
                ]
            )
    heads = [
        "model",
        "flash attention",
        "cache",
        "clients",
        "prompt, tokens/s",
        "generation",
        "llama-bench: prompt",
        "generation",
    ]
    return table(heads, rows)


def _served(case: Values, cases: typing.Sequence[Values]) -> bool:
    """Return whether a server's case stands beside this case of llama-bench."""
    return any(
        each["by"] == speeds.SERVER and results.key({**case, "by": speeds.SERVER}) == results.key(each)
        for each in cases
    )


def _case(case: Values) -> list[str]:
    return [case["model"], case["flash_attn"], case["cache_type"], str(case["clients"])]


def _speeds(case: Values | None) -> list[str]:
    return [f"{case[f'{kind}_tokens_per_second']:.1f}" if case else "" for kind in ("prompt", "generated")]


def ups(found: Results) -> str:
    """Return the table of the cost of ``llama-fleet up``; empty if it was not measured."""
    rows = [
        [name, str(one["changed"]), str(one["module_calls"]), f"{one['seconds']:.1f}", f"{one['cpu_seconds']:.1f}"]
        for name, one in found.ups.items()
    ]
    return table(["llama-fleet up", "changed", "module calls", "seconds", "CPU-s"], rows)


def starts(found: Results) -> str:
    """Return the table of the image's entrypoint; empty if it was not measured."""
    return table(
        ["the image's entrypoint", "seconds to ready"],
        [[name, f"{one['ready_seconds']:.2f}"] for name, one in found.starts.items()],
    )


def phases(found: Results) -> str:
    """Return the table of the phases and how they ended."""
    rows = [[name, _outcome(one), f"{one['seconds']:.1f}"] for name, one in found.outcomes.items()]
    return table(["phase", "outcome", "seconds"], rows)


def _outcome(one: Values) -> str:
    told = _NOT_DONE.get(one["outcome"], str(one["outcome"]))
    return told if one["outcome"] == journal.DONE or not one["reason"] else f"{told}: {results.plain(one['reason'])}"


def _not_seen(found: Results) -> str:
    seen = dict.fromkeys(what for each in found.not_seen.values() for what in each)
    return f"Not seen: {'; '.join(seen)}." if seen else ""


def table(heads: typing.Sequence[str], rows: typing.Sequence[typing.Sequence[str]]) -> str:
    """Return a Markdown table; empty without rows."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if rows else ""


def _commit() -> str:
    """Return the project's commit, if this is a checkout and git is installed."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    raise SystemExit(main())
