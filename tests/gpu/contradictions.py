# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Report where the results of a run contradict what the code assumes about GPUs, one sentence each."""

from __future__ import annotations

import typing

from tests.gpu import results, taken
from tests.gpu.phases import speeds

if typing.TYPE_CHECKING:
    from tests.gpu.results import Results, Values

PLAN_PERCENT = 10.0  # largest error of the memory plan
# The share of llama-bench's speed that a server with one client must reach. The server also samples, answers over HTTP
# and has more slots, which costs more of a prompt that a GPU reads in hundredths of a second.
GENERATION_SHARE, PROMPT_SHARE = 0.7, 0.5


def told(found: Results) -> list[str]:
    """Return all contradictions. A run without a GPU is not checked for those about GPUs."""
    sentences = [
        f"the phase {name} failed: {reason or 'it did not say why'}" for name, reason in results.failed(found).items()
    ]
    if not found.on_gpu:
        return sentences
    sentences += [] if found.run.get("gpus") else ["no GPU was visible to a run that is said to have one"]
    for name, one in found.instances.items():
        sentences += [*_device(name, one), *_memory(name, one["memory"]), *_nodes(name, one)]
    return sentences + [sentence for case in found.cases for sentence in _slow(case, found.cases)]


def _device(name: str, one: Values) -> list[str]:
    wrong = (
        []
        if one["device"].startswith("CUDA")
        else [f"{name} computes on {one['device']}, and the code takes it for a GPU's"]
    )
    return wrong + (
        []
        if one.get("opened")
        else [f"the server of {name} has no device node of NVIDIA's open, which its gate asks for"]
    )


def _memory(name: str, memory: Values) -> list[str]:
    error = memory["error_percent"]
    if error is None:
        return [
            (
                f"what {name} takes of the GPU could not be measured, so its plan of {memory['planned_mib']} MiB "
                f"is not "
                f"proved"
            )
        ]
    if abs(error) <= PLAN_PERCENT:
        return []
    net = memory["taken_mib"] - memory["cuda_context_mib"]
    return [
        (
            f"the memory plan of {name} is off by {error:+.1f} % (more than {PLAN_PERCENT:g} %): "
            f"{memory['planned_mib']} "
            f"MiB planned, {net} MiB taken"
        )
    ]


def _nodes(name: str, one: Values) -> list[str]:
    missing = [
        (node, driver)
        for node, driver in one.get("nodes", {}).items()
        if driver and not taken.is_allowed(node, driver, one.get("allowed", []))
    ]
    which = ", ".join(f"{node} (of the driver {driver})" for node, driver in missing)
    return [f"the unit of {name} has no DeviceAllow for {which}"] if missing else []


def _slow(case: Values, cases: typing.Sequence[Values]) -> list[str]:
    """Report a server that is much slower than llama-bench in the same case.

    Both use the same release, so something of llama-fleet's costs the speed.
    """
    if case["by"] != speeds.SERVER or case["clients"] != 1:
        return []
    alike = [
        each
        for each in cases
        if each["by"] == speeds.BENCH
        and all(each[name] == case[name] for name in ("model", "flash_attn", "cache_type"))
    ]
    sentences = []
    for bench in alike:
        for kind, what, share in (("prompt", "reads", PROMPT_SHARE), ("generated", "generates", GENERATION_SHARE)):
            ours, theirs = case[f"{kind}_tokens_per_second"], bench[f"{kind}_tokens_per_second"]
            if ours < share * theirs:
                way = f"{case['model']} with flash attention {case['flash_attn']} and a cache of {case['cache_type']}"
                sentences.append(
                    f"llama-server {what} {ours:g} tokens/s of {way}, less than {share:g} of llama-bench's {theirs:g}"
                )
    return sentences
