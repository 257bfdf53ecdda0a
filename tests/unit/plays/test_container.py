# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The real play of a container's start, with stand-ins for the modules."""

import typing

import pytest

from llama_fleet.run import events
from tests.unit.plays.fleet import Fleet
from tests.unit.plays.test_instances import names

CPU: dict[str, typing.Any] = {"nvidia_driver_gpu": "none"}
ALONE: dict[str, object] = {"llama_fleet_release_only": True}


def test_one_call_plans_all_stages(fleet: Fleet) -> None:
    outcome = fleet.run("container", {"c": {"llama_cpp_source": "new", "gguf_model_source": "a/b"}})
    assert names(fleet.calls("c")) == ["plan_info", "cuda_toolkit", "llama_cpp_release", "gguf_model", "llama_server"]
    assert names(fleet.plans("c")) == [
        "nvidia_driver_info",
        "cuda_toolkit?",
        "llama_cpp_release?",
        "gguf_model?",
        "llama_server?",
    ]
    assert outcome.calls == 5
    server = fleet.calls("c")[-1]
    assert (server["release"], server["model"]) == ("/llama_cpp_release/cudanew", "/gguf_model/a/b")
    assert fleet.calls("c")[2]["cuda_toolkit"] == "/cuda_toolkit/"


def test_what_is_there_costs_one_call_and_that_of_the_server(fleet: Fleet) -> None:
    fleet.run("container", {"c": {**CPU, "llama_cpp_source": "there", "gguf_model_source": "there"}})
    assert names(fleet.calls("c")) == ["plan_info", "llama_server"]


@pytest.mark.parametrize(("source", "made"), [("new", ["llama_cpp_release"]), ("there", [])])
def test_a_release_alone_touches_neither_model_nor_server(fleet: Fleet, source: str, made: list[str]) -> None:
    outcome = fleet.run("container", {"c": {**CPU, "llama_cpp_source": source, "gguf_model_source": "missing"}}, ALONE)
    assert names(fleet.calls("c")) == ["plan_info", *made]
    assert names(fleet.plans("c")) == ["nvidia_driver_info", "llama_cpp_release?"]
    assert not outcome.failures
    assert sorted(outcome.results["c"]) == ["llama_cpp", "nvidia_driver"]


@pytest.mark.parametrize(
    ("variables", "role"),
    [({"llama_cpp_source": "missing"}, "llama_cpp"), ({"gguf_model_source": "missing"}, "gguf_model")],
)
def test_a_plan_that_fails_is_a_failure_of_its_stage(fleet: Fleet, variables: dict[str, str], role: str) -> None:
    outcome = fleet.run("container", {"c": {**CPU, "llama_cpp_source": "new", **variables}})
    (failure,) = outcome.failures
    assert (failure.role, failure.plan) == (role, True)
    assert failure.text == "gguf_model_source: expected a model, found nothing."
    assert [event for event in fleet.seen if isinstance(event, events.Failure)] == [failure]
    assert names(fleet.calls("c")) == ["plan_info"]
