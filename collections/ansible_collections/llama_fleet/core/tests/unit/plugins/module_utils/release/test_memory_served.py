# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the arguments of the release's program when it plans the memory of a server."""

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import memory_plan
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

HELP = """\
-fa,   --flash-attn [on|off|auto]       set Flash Attention use
                                        (env: LLAMA_ARG_FLASH_ATTN)
--swa-full                              use full-size SWA cache
-ot,   --override-tensor <pattern>=<type>,...
                                        override tensor buffer type
"""
COMMAND = [
    "/r/bin/llama-server",
    "--metrics",
    "--swa-full",
    "--override-tensor",
    "a=CPU",
    "--threads-http",
    "4",
    "--flash-attn",
    "on",
    "--api-key-file",
    "/k",
]
VARIABLES = {"LLAMA_ARG_MODEL": "/m.gguf", "LLAMA_ARG_CTX_SIZE": "8192", "LLAMA_ARG_PORT": "8080"}
RELEASE = pathlib.Path("/r")


def test_it_is_given_the_options_that_it_knows_and_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_ARG_CTX_SIZE", "1")
    monkeypatch.setenv("LLAMA_ARG_STRAY", "1")
    run = FakeRunner(Result(0, HELP, ""), Result(0, "Host 92 90 106 \n", ""))
    assert memory_plan.plan_served(run, RELEASE, COMMAND, VARIABLES, "llama_server_release").total_mib == 288
    program = "/r/bin/llama-fit-params"
    words = [program, "--swa-full", "--override-tensor", "a=CPU", "--flash-attn", "on", "--fit-print", "on"]
    assert run.commands == [[program, "--help"], ["env", "-u", "LLAMA_ARG_STRAY", *words]]
    assert {name: run.environments[1][name] for name in VARIABLES} == VARIABLES
    assert run.environments[1]["XDG_CONFIG_HOME"] == run.settings[1]["cwd"], "no user's configuration"
    assert not pathlib.Path(str(run.settings[1]["cwd"])).exists()


def test_why_it_could_not_is_told() -> None:
    run = FakeRunner(Result(0, HELP, ""), Result(1, "", "0.00.1 E load: error loading model: missing tensor 'x'\n"))
    with pytest.raises(
        ProblemError,
        match=(
            r"llama_server_release: expected .*, found llama-fit-params of /r, which failed: load: error "
            r"loading model: missing tensor"
        ),
    ):
        memory_plan.plan_served(run, RELEASE, COMMAND, VARIABLES, "llama_server_release")
