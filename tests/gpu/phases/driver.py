# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Phase 1: nvidia_driver_info against nvidia-smi and NVML on this host, and what doctor reports."""

from __future__ import annotations

import typing

from tests.gpu import driver, gpus, recorded
from tests.gpu.frame import Phase
from tests.gpu.session import CPU, RECORDED, FailedError, Run

if typing.TYPE_CHECKING:
    from tests.gpu.journal import Values


def run(run: Run) -> typing.Iterator[Values]:
    if run.mode != CPU:
        report = driver.examine(recorded.root(run) if run.mode == RECORDED else None)
        yield {"seen": gpus.look(), "driver": report}
        if report["wrong"]:
            raise FailedError("nvidia_driver_info: " + "; ".join(report["wrong"]))
    model = run.model_file(run.models[0])
    checks = run.play(
        "tests/gpu/doctor.yml",
        {"nvidia_driver_gpu": "none" if run.mode == CPU else "required", "gguf_model_source": str(model)},
    )["checks"]
    yield {"doctor": [{name: check[name] for name in ("code", "severity", "subject", "found")} for check in checks]}
    errors = [f"{check['subject']}: {check['found']}" for check in checks if check["severity"] == "error"]
    # A recorded GPU has no device nodes on the real host, which is reported.
    if errors and run.mode != RECORDED:
        raise FailedError("doctor: " + "; ".join(errors))


PHASE = Phase("driver", run, 20)
