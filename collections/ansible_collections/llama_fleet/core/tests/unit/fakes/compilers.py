# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A fake GCC and a repository, and the requests that plans of releases are made for."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import (
    ARGUMENTS,
    Request,
    parse_request,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.tools.compiler import BuildHost
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.build_plan import BuildPlan


READY = BuildHost("/usr/bin/c++", openssl=True, missing=())
COMMIT = "0123456789abcdef0123456789abcdef01234567"
URL = "https://example.com/llama.cpp"


class Compilers(FakeRunner):
    """A fake GCC of ``version``, a toolkit and a repository with one tag; apt fails if told to."""

    def __init__(self, version: str = "12.2.0", apt: int = 0) -> None:
        super().__init__()
        self.version = version
        self.apt = apt

    def answer(self, command: list[str]) -> Result:
        if command[0] == "apt-get":
            return Result(self.apt, "", "E: no network")
        if command[-1] == "--version":
            return Result(0, "release 13.0, V13.0.88", "")
        if command[0] == "git":
            return Result(0, f"{COMMIT}\trefs/tags/b77\n", "")
        return Result(0, "", f"Target: x86_64-linux-gnu\ngcc version {self.version}\n")


def request_of(**parameters: typing.Any) -> Request:
    return parse_request({**{name: option.get("default") for name, option in ARGUMENTS.items()}, **parameters})


class WithStable(Compilers):
    """A repository in which a stable version and a nightly build are the same commit."""

    def answer(self, command: list[str]) -> Result:
        tags = f"{COMMIT}\trefs/tags/b77\n{COMMIT}\trefs/tags/v0.8.0\n"
        return Result(0, tags, "") if command[0] == "git" else super().answer(command)


def result(plan: BuildPlan) -> dict[str, typing.Any]:
    """Return what a module reports of a plan, as far as it is handed on."""
    revision = {"commit": plan.revision.commit, "build": plan.revision.build, "nightly": plan.revision.nightly}
    return {**revision, "fingerprint_parts": plan.parts, "would_compile": plan.would_compile}
