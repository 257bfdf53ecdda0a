# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A stand-in for the runs of a play, with one result."""

from llama_fleet.run import runner
from llama_fleet.run.events import Failure, Listener, Outcome

FOLDER = "/instances/small"
RESULT = {
    "answer": "Blue.",
    "endpoint": "http://127.0.0.1:9",
    "runtime": "process",
    "pid": 7,
    "log": "/log",
    "environment_file": f"{FOLDER}/generations/1/environment",
}


class Runs:
    """Stands in for the play."""

    def __init__(self, result: dict[str, object]) -> None:
        self.result = result
        self.requests: list[runner.Request] = []
        self.failures: list[Failure] = []
        self.untouched: list[str] = []

    def __call__(self, request: runner.Request, _listener: Listener) -> Outcome:
        self.requests.append(request)
        return Outcome(
            calls=7,
            seconds=5.1,
            failures=self.failures,
            results={"localhost": {"llama_server": self.result}},
            untouched=self.untouched,
        )
