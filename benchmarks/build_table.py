# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""``python benchmarks/build_table.py FIGURES`` prints the ``--json`` output of build.py as a table with its goals."""

from __future__ import annotations

import json
import pathlib
import statistics
import sys
import typing

Cases = dict[str, dict[str, typing.Any]]


def about(figures: dict[str, typing.Any]) -> str:
    machine = figures["machine"]
    words = [
        (
            f"{machine['date']}, {machine['cores']} cores of {machine['processor']}, load {machine['load']:.1f} "
            f"before, "
            f"{figures['compiler_cache']}"
        )
    ]
    words.append(f"{figures['source']}, next {figures['next_source']}")
    if figures["cmake_options"]:
        words.append(f"with {' '.join(figures['cmake_options'])}")
    if figures["cured"]:
        words.append(
            f"compiled for a second time with {' '.join(figures['cured'])}, for the first build did not run on this "
            f"machine"
        )
    return "\n".join(words)


def table(cases: Cases) -> str:
    lines = ["| | seconds, best | median | CPU-s, best | median | CPU against cold |", "|---|---|---|---|---|---|"]
    for case in cases.values():
        wall, cpu = case["wall"], case["cpu"]
        share = f"{statistics.median(cpu) / median(cases, 'cold', 'cpu'):.1%}" if "cold" in cases else ""
        lines.append(
            f"| {case['title']} | {min(wall):.2f} | {statistics.median(wall):.2f} | {min(cpu):.2f} | "
            f"{statistics.median(cpu):.2f} | {share} |"
        )
    return "\n".join(lines)


def median(cases: Cases, name: str, kind: str) -> float:
    return float(statistics.median(cases[name][kind]))


def verdicts(cases: Cases) -> list[str]:
    """Compare the medians with the goals; only for what was measured."""
    lines = []
    if "warm" in cases:
        lines.append(
            f"warm: {median(cases, 'warm', 'cpu') / median(cases, 'cold', 'cpu'):.1%} of the CPU seconds of cold "
            f"(wanted: at most 15 %)"
        )
    for name, wanted in (("noop", 1), ("unpack", 3)):
        if name in cases:
            lines.append(f"{name}: {median(cases, name, 'wall'):.2f} s (wanted: at most {wanted} s)")
    if "naive" in cases and "noop" in cases:
        lines.append(
            f"every start of a container without a cache: {median(cases, 'naive', 'wall'):.0f} s against "
            f"{median(cases, 'noop', 'wall'):.2f} s"
        )
    if "cuda-native" in cases and "cuda-default" in cases:
        times = median(cases, "cuda-default", "cpu") / median(cases, "cuda-native", "cpu")
        lines.append(f"CUDA: the default list takes {times:.1f}x the CPU seconds of one architecture")
    else:
        lines.append("CUDA: not measured")
    return lines


def main() -> int:
    figures = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    print("\n".join([about(figures), "", table(figures["cases"]), "", *verdicts(figures["cases"])]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
