# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A stand-in for the play that asks hosts for their instances."""

import signal
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server.status import verdict
from llama_fleet.errors import RunInterruptedError
from llama_fleet.run import runner
from llama_fleet.run.events import Failure, Listener, Outcome, Remark

Facts = dict[str, typing.Any]
GENERATION: Facts = {
    "number": 4,
    "good": True,
    "created": "2026-11-22T09:00:00Z",
    "build": "b2",
    "model": "m-Q4_K_M.gguf",
    "current": True,
    "speed": 41.26,
}


def facts(**more: typing.Any) -> Facts:
    return {
        "instance": "chat",
        "state": "running",
        "generation": 4,
        "good": True,
        "generations": [{**GENERATION, "number": 3, "good": False, "current": False, "speed": 0.0}, GENERATION],
        "runtime": "systemd",
        "release": "/opt/r",
        "build": "b2",
        "model": "/var/m-Q4_K_M.gguf",
        "quant": "Q4_K_M",
        "endpoint": "http://127.0.0.1:8080",
        "device": "CUDA0",
        "pid": 7,
        "memory_mib": 1536,
        "gpu_memory_mib": 512,
        "uptime_seconds": 90061,
        "slots": 4,
        "slots_busy": 1,
        "requests_deferred": 0,
        "tokens_predicted": 1234567,
        "tokens_per_second": 41.26,
        "prompt_tokens_per_second": 310.5,
        "drift": [],
        "unknown": [],
        "log": "journalctl",
        **more,
    }


class Hosts:
    """Stands in for the play."""

    def __init__(self) -> None:
        self.instances: dict[str, list[Facts]] = {"localhost": [facts()]}
        self.failures: list[Failure] = []
        self.requests: list[runner.Request] = []
        self.calls_until_interrupted = 0

    def __call__(self, request: runner.Request, listener: Listener) -> Outcome:
        self.requests.append(request)
        if len(self.requests) == self.calls_until_interrupted:
            raise RunInterruptedError(signal.SIGINT)
        listener(Remark("low space", warning=True))
        for failure in self.failures:
            listener(failure)
        results = {
            host: {"llama_server_info": {"instances": found, "errors": verdict.errors(found)}}
            for host, found in self.instances.items()
        }
        return Outcome(
            calls=len(results), seconds=1.0, failures=self.failures, results=typing.cast("typing.Any", results)
        )
