# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.planning import plan
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import RefusedError

Values = dict[str, typing.Any]
PROBLEM = {"subject": "gguf_model_source", "found": "nothing", "wanted": "a model", "fix": ""}
RELEASE: Values = {"path": "/r", "would_change": False}
MODEL: Values = {"path": "/m", "mmproj": "", "would_change": False}


class Stages:
    """Stand-ins for all stages, which note their parameters."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **results: object) -> None:
        self.given: dict[str, Values] = {}
        self.checks: set[bool] = set()
        for role, result in results.items():
            monkeypatch.setitem(plan.STEPS, role, dataclasses.replace(plan.STEPS[role], run=self._stage(role, result)))

    def _stage(self, role: str, result: object) -> typing.Callable[[plan.Planned], Values]:
        def run(caller: plan.Planned) -> Values:
            self.given[role] = caller.params
            self.checks.add(caller.check_mode)
            caller.warn(f"{role} warns")
            if isinstance(result, Exception):
                raise result
            return typing.cast("Values", result)

        return run


def stages(monkeypatch: pytest.MonkeyPatch, backend: str = "cpu", **results: object) -> Stages:
    driver = {"backend": backend, "cuda_architectures": [], "driver": {}}
    return Stages(
        monkeypatch,
        **{
            "nvidia_driver": driver,
            "cuda_toolkit": {"path": "/t", "version": "13.0"},
            "llama_cpp": RELEASE,
            "gguf_model": MODEL,
            "llama_server": {"ready": True, "diff": {"after": "long"}},
            **results,
        },
    )


def given(**server: object) -> dict[str, Values]:
    arguments: dict[str, Values] = {role: {} for role in plan.STEPS}
    arguments["llama_cpp"] = {"source": "pypi:x==1"}
    arguments["gguf_model"] = {"source": "a/b"}
    instance = {"instance": "chat", "runtime": "auto", "root": "/etc/x", "ctx_size": 512, "parallel": 1}
    arguments["llama_server"] = {**instance, **server}
    return arguments


@pytest.mark.parametrize("check_mode", [False, True])
def test_each_stage_plans_with_the_results_of_those_before(monkeypatch: pytest.MonkeyPatch, check_mode: bool) -> None:
    seen, warnings = stages(monkeypatch), list[str]()
    result = plan.plan_instance(given(port="8081"), check_mode, warnings.append)
    assert list(seen.given) == ["nvidia_driver", "llama_cpp", "gguf_model", "llama_server"]
    assert warnings == [f"{role} warns" for role in seen.given]
    assert seen.checks == {check_mode}
    assert all(parameters["plan_only"] for role, parameters in seen.given.items() if role != "nvidia_driver")
    server = seen.given["llama_server"]
    # The types and the defaults are those of the module.
    assert (server["release"], server["model"], server["port"], server["state"]) == ("/r", "/m", 8081, "started")
    assert (result["is_settled"], result["has_work"], result["cuda_toolkit"]) == (True, False, {})
    assert result["llama_server"] == {"ready": True}


@pytest.mark.parametrize("would_change", [False, True])
def test_a_release_alone_is_planned_without_model_and_server(
    monkeypatch: pytest.MonkeyPatch, would_change: bool
) -> None:
    seen = stages(monkeypatch, llama_cpp={**RELEASE, "would_change": would_change})
    result = plan.plan_instance(given(), False, str, ["nvidia_driver", "cuda_toolkit", "llama_cpp"])
    assert list(seen.given) == ["nvidia_driver", "llama_cpp"]
    assert (result["gguf_model"], result["llama_server"]) == ({}, {})
    assert (result["is_settled"], result["has_work"]) == (not would_change, would_change)


def test_a_toolkit_is_planned_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = stages(monkeypatch, backend="cuda")
    plan.plan_instance(given(), False, str)
    assert list(seen.given) == list(plan.STEPS)
    assert seen.given["llama_cpp"]["cuda_toolkit"] == "/t"


@pytest.mark.parametrize("role", ["llama_cpp", "gguf_model"])
def test_an_instance_below_which_something_changes_is_not_settled(monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    result = {"llama_cpp": RELEASE, "gguf_model": MODEL}[role]
    stages(monkeypatch, **{role: {**result, "would_change": True}})
    planned = plan.plan_instance(given(), False, str)
    assert (planned["is_settled"], planned["has_work"]) == (False, True)


def test_an_instance_that_is_not_to_run_has_a_server_only(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = stages(monkeypatch, llama_server={"ready": False})
    result = plan.plan_instance({"llama_server": given(state="absent")["llama_server"]}, False, str)
    assert list(seen.given) == ["llama_server"]
    assert (result["is_settled"], result["has_work"]) == (False, False)


def test_the_first_stage_that_fails_ends_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = stages(monkeypatch, gguf_model=ProblemError(Problem("gguf_model_source", "nothing", "a model")))
    result = plan.plan_instance(given(), False, str)
    assert list(seen.given)[-1] == "gguf_model"
    message = "gguf_model_source: expected a model, found nothing."
    assert result["failed"] == {"msg": message, "problems": [PROBLEM]}
    assert (result["llama_cpp"], result["gguf_model"]["failed"]) == (RELEASE, True)
    assert (result["is_settled"], result["llama_server"]) == (False, {})


def test_a_refusal_keeps_what_the_stage_has_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = RefusedError("no GPU", {"gpus": [], "problems": [{"code": "no_device"}]})
    stages(monkeypatch, nvidia_driver=refusal)
    result = plan.plan_instance(given(), False, str)
    assert result["failed"] == {"msg": "no GPU", "problems": [{"code": "no_device"}]}
    assert (result["nvidia_driver"]["gpus"], result["nvidia_driver"]["failed"]) == ([], True)


def test_what_the_module_would_refuse_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = stages(monkeypatch)
    result = plan.plan_instance(given(port="many"), False, str)
    assert "llama_server" not in seen.given
    assert result["failed"]["problems"][0]["subject"] == "llama_server"


@pytest.mark.parametrize(
    ("asks", "release", "ends"),
    [
        (True, {"would_compile": True, "would_change": True, "path": ""}, True),
        (True, {"would_change": True, "path": ""}, True),
        (True, RELEASE, False),
        (False, {"would_compile": True, "would_change": True, "path": "/r"}, False),
    ],
)
def test_a_release_that_needs_an_answer_first_ends_the_plan(
    monkeypatch: pytest.MonkeyPatch, asks: bool, release: Values, ends: bool
) -> None:
    seen, arguments = stages(monkeypatch, llama_cpp=release), given()
    arguments["llama_cpp"]["asks_first"] = asks
    result = plan.plan_instance(arguments, False, lambda _warning: None)
    assert ("gguf_model" not in seen.given, "failed" in result) == (ends, False)
    assert result["has_work"] is (ends or release["would_change"])


@pytest.mark.parametrize("fails", [False, True])
def test_a_release_that_instances_share_is_planned_once(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    seen = stages(monkeypatch)
    runs: list[str] = []
    step = plan.STEPS["llama_cpp"]

    def counted(caller: plan.Planned) -> typing.Mapping[str, typing.Any]:
        runs.append(caller.params["source"])
        if fails:
            raise ProblemError(Problem("compiler", "none", "one"))
        return step.run(caller)

    monkeypatch.setitem(plan.STEPS, "llama_cpp", plan.Step(step.spec, counted))
    releases: plan.Releases = {}
    other = {**given(), "llama_cpp": {"source": "pypi:y==1"}}
    results = [plan.plan_instance(each, False, str, releases=releases) for each in (given(), given(port="8082"), other)]
    assert runs == ["pypi:x==1", "pypi:y==1"]
    assert results[0]["llama_cpp"] == results[1]["llama_cpp"]
    assert ["failed" in each for each in results] == [fails] * 3
    assert ("llama_server" in seen.given) == (not fails)
