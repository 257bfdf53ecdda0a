# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Measure how fast an instance reads and writes for several parallel clients, in tokens per second of all together."""

from __future__ import annotations

import concurrent.futures
import json
import random
import time
import typing
import urllib.request

from ansible_collections.llama_fleet.core.plugins.module_utils import untrusted

_FIRST_WORD = 259  # after the special tokens and the bytes
_SHORT = 16  # tokens of a prompt that costs almost nothing
_TIME_LIMIT = 300.0
_COUNTED = untrusted.Record(
    {
        "timings": untrusted.Record(
            {"prompt_n": untrusted.Number(most=1 << 24), "predicted_n": untrusted.Number(most=1 << 24)}
        )
    }
)


def ask(url: str, vocabulary: int, clients: int, prompt: int, tokens: int) -> dict[str, typing.Any]:
    """Return the speeds of ``clients`` parallel clients: each reads its own prompt, then each generates tokens.

    The two are measured separately, because one would hide the other. The server counts tokens, the client seconds.
    """
    read = _wave(url, vocabulary, clients, prompt, 1, 1000)
    written = _wave(url, vocabulary, clients, _SHORT, tokens, 2000)
    return {
        "clients": clients,
        "prompt_tokens": prompt,
        "generated_tokens": tokens,
        "prompt_tokens_per_second": round(read.prompt / read.seconds, 1),
        "generated_tokens_per_second": round(written.generated / written.seconds, 1),
    }


class _Wave(typing.NamedTuple):
    prompt: int
    generated: int
    seconds: float


def _wave(url: str, vocabulary: int, clients: int, prompt: int, tokens: int, seed: int) -> _Wave:
    """Let all clients send one request each, with different prompts."""

    def one(number: int) -> dict[str, int]:
        source = random.Random(seed + number)
        words = [source.randrange(_FIRST_WORD, vocabulary) for _word in range(prompt)]
        question = {"prompt": words, "n_predict": tokens, "ignore_eos": True, "cache_prompt": False, "temperature": 0}
        request = urllib.request.Request(
            f"{url}/completion", json.dumps(question).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=_TIME_LIMIT) as answer:
            return typing.cast(
                "dict[str, int]", untrusted.parse(answer.read(untrusted.LONGEST + 1), _COUNTED, "the answer")["timings"]
            )

    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        counted = list(pool.map(one, range(clients)))
    seconds = max(time.monotonic() - began, 1e-6)
    return _Wave(sum(each["prompt_n"] for each in counted), sum(each["predicted_n"] for each in counted), seconds)
