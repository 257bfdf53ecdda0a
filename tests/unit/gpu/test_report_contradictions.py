# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""tests/gpu/report: each value that contradicts the code fails with one sentence."""

from __future__ import annotations

import typing

import pytest

from tests.gpu import report
from tests.unit.gpu.report_case import Lines, good, set_instance, set_memory, start, write

if typing.TYPE_CHECKING:
    import pathlib


def set_speed(lines: Lines, **values: typing.Any) -> None:
    lines[6]["values"].update(values)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda lines: set_memory(lines, error_percent=-10.1, planned_mib=8980),
            "the memory plan of 8b-Q8_0 is off by -10.1 % (more than 10 %): 8980 MiB planned, 9980 MiB taken",
        ),
        (
            lambda lines: set_memory(lines, error_percent=10.1, planned_mib=10988),
            "the memory plan of 8b-Q8_0 is off by +10.1 % (more than 10 %): 10988 MiB planned, 9980 MiB taken",
        ),
        (
            lambda lines: set_memory(lines, error_percent=None, taken_mib=0),
            "what 8b-Q8_0 takes of the GPU could not be measured, so its plan of 9900 MiB is not proved",
        ),
        (lambda lines: set_instance(lines, device="cpu"), "8b-Q8_0 computes on cpu, and the code takes it for a GPU's"),
        (
            lambda lines: set_instance(lines, opened=[]),
            "the server of 8b-Q8_0 has no device node of NVIDIA's open, which its gate asks for",
        ),
        (
            lambda lines: lines[4]["values"]["nodes"].update({"/dev/nvidia-caps/nvidia-cap1": "nv-caps"}),
            "the unit of 8b-Q8_0 has no DeviceAllow for /dev/nvidia-caps/nvidia-cap1 (of the driver nv-caps)",
        ),
        (lambda lines: lines[0]["run"].update(gpus=[]), "no GPU was visible to a run that is said to have one"),
        (
            lambda lines: lines[5].update(outcome="failed", reason="it computes on cpu,\nnot on a GPU"),
            "the phase instance failed: it computes on cpu, not on a GPU",
        ),
        (
            lambda lines: set_speed(lines, generated_tokens_per_second=111.9),
            (
                "llama-server generates 111.9 tokens/s of 8b-Q8_0 with flash attention on and a cache of f16, "
                "less than "
                "0.7 of llama-bench's 160"
            ),
        ),
        (
            lambda lines: set_speed(lines, prompt_tokens_per_second=4749.0),
            (
                "llama-server reads 4749 tokens/s of 8b-Q8_0 with flash attention on and a cache of f16, less than "
                "0.5 of "
                "llama-bench's 9500"
            ),
        ),
    ],
)
def test_each_contradiction_fails_with_one_sentence(
    tmp_path: pathlib.Path, spoil: typing.Callable[[Lines], None], sentence: str
) -> None:
    lines = good()
    spoil(lines)
    done = start(write(tmp_path, lines))
    assert done.returncode == report.CONTRADICTED
    assert done.stderr == f"tests/gpu/report: results.jsonl: {sentence}\n"
