# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Phase 7: the cost of a run with nothing to do: module calls, seconds and CPU seconds of the whole command."""

from __future__ import annotations

import contextlib
import re
import resource
import subprocess
import sys
import time
import typing

from tests.gpu.frame import Phase
from tests.gpu.parcel import ROOT
from tests.gpu.session import FailedError, Run

if typing.TYPE_CHECKING:
    from tests.gpu.journal import Values

MOST_CALLS = 8  # module calls of a run that changes nothing
ROUNDS = 3
_BESIDE = 20
_SUMMARY = re.compile(r"^changed=(\d+) in .+, (\d+) module calls$", re.MULTILINE)


def run(run: Run) -> typing.Iterator[Values]:
    run.install_ansible()
    try:
        yield {"run": "the first", **_once(run)}
        for number in range(ROUNDS if run.gpu else 1):
            found = _once(run)
            yield {"run": f"nothing to do, {number + 1}", **found}
            if found["changed"] or found["module_calls"] > MOST_CALLS:
                told = f"changed {found['changed']} and made {found['module_calls']} module calls"
                raise FailedError(f"a run with nothing to do {told}; it may change nothing and make {MOST_CALLS}")
    finally:
        with contextlib.suppress(FailedError):  # another error is being reported
            _command(run, "down", [])


def _once(run: Run) -> dict[str, typing.Any]:
    """Run ``llama-fleet up`` and return its output and cost."""
    before, began = _cpu(), time.monotonic()
    said = _command(run, "up", [*options(run), str(run.model_file(run.models[0]))])
    took = time.monotonic() - began
    summary = _SUMMARY.search(said)
    if summary is None:
        raise FailedError(f"'llama-fleet up' told no summary: {said[-500:]}")
    return {
        "changed": int(summary[1]),
        "module_calls": int(summary[2]),
        "seconds": round(took, 1),
        "cpu_seconds": round(_cpu() - before, 1),
    }


def options(run: Run) -> list[str]:
    """Return the options of ``llama-fleet up`` for this run's release, with the instance as a process."""
    given = {
        "port": run.port + _BESIDE,
        "prompt": "",
        "runtime": "process",
        "nvidia-driver-gpu": "required" if run.gpu else "none",
        "llama-cpp-source": run.source,
        "llama-cpp-root": run.root,
        "cuda-toolkit-root": run.root,
        "cuda-toolkit-path": run.toolkit(),
        "llama-cpp-cmake-options": ",".join(f"{name}={value}" for name, value in run.cmake_options.items()),
    }
    words = [word for name, value in given.items() if value or name == "prompt" for word in (f"--{name}", str(value))]
    return ["--detach", "--no-llama-cpp-install-packages", *words]


def _command(run: Run, name: str, arguments: list[str]) -> str:
    environment = run.environment()
    environment |= {
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'collections'}:{run.site}",
        "PATH": f"{run.site / 'bin'}:{environment['PATH']}",
    }
    command = [sys.executable, "-m", "llama_fleet", name, "--prefix", str(run.work / "noop"), *arguments]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise FailedError(
            f"'llama-fleet {name}' ended with {done.returncode}: {(done.stdout + done.stderr).strip()[-1000:]}"
        )
    return done.stdout


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


PHASE = Phase("no-op", run, 45, needs=("release",))
