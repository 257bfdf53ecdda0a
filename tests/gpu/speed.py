# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Measure how long an instance takes to become ready, and how fast it reads and writes."""

from __future__ import annotations

import json
import pathlib
import random
import statistics
import subprocess
import threading
import time
import typing
import urllib.error
import urllib.request

_FIRST_WORD = 259  # after the special tokens and the bytes


class Readiness:
    """A watch that notes when ``/health`` of a starting instance is first ok."""

    def __init__(self, url: str) -> None:
        self.at = 0.0  # seconds since boot, as processes' start times are
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> typing.Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            try:
                with urllib.request.urlopen(f"{self._url}/health", timeout=5):
                    self.at = time.clock_gettime(time.CLOCK_BOOTTIME)
                    return
            except OSError:
                continue

    def seconds_of(self, pid: int) -> float | None:
        """Return the seconds from the process's start to the first answer; None if unknown."""
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            return None
        took = self.at - int(fields[19]) / 100  # the kernel counts hundredths of seconds for user space
        return round(took, 2) if self.at and took > 0 else None


def ask(url: str, vocabulary: int, prompt: int, tokens: int, rounds: int) -> dict[str, typing.Any]:
    """Return medians of the speeds that the server measures over ``rounds`` new random prompts."""
    answers = []
    for seed in range(rounds + 1):
        source = random.Random(seed)
        words = [source.randrange(_FIRST_WORD, vocabulary) for _word in range(prompt)]
        question = {"prompt": words, "n_predict": tokens, "ignore_eos": True, "cache_prompt": False, "temperature": 0}
        request = urllib.request.Request(
            f"{url}/completion", json.dumps(question).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=1800) as answer:
            answers.append(json.load(answer)["timings"])
    counted = answers[1:]  # the first one warms up
    return {
        "prompt_tokens": counted[0]["prompt_n"],
        "generated_tokens": counted[0]["predicted_n"],
        "rounds": rounds,
        "prompt_tokens_per_second": round(statistics.median(timing["prompt_per_second"] for timing in counted), 1),
        "generated_tokens_per_second": round(
            statistics.median(timing["predicted_per_second"] for timing in counted), 1
        ),
    }


def bench(
    release: pathlib.Path,
    model: pathlib.Path,
    prompt: int,
    tokens: int,
    rounds: int,
    gpu: bool,
    options: typing.Sequence[str] = (),
) -> dict[str, float]:
    """Measure the same without a server, with llama-bench; name the GPU, so that the CPU cannot silently replace it."""
    where = ["-ngl", "99", "-dev", "CUDA0"] if gpu else ["-ngl", "0"]
    command = [
        str(release / "bin/llama-bench"),
        "-m",
        str(model),
        "-p",
        str(prompt),
        "-n",
        str(tokens),
        "-r",
        str(rounds),
        "-o",
        "json",
        *where,
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=3600)
    speeds = {"prompt" if test["n_prompt"] else "generated": float(test["avg_ts"]) for test in json.loads(done.stdout)}
    return {f"{kind}_tokens_per_second": round(speed, 1) for kind, speed in speeds.items()}
