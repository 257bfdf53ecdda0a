# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The real plays over several instances of a host, with stand-ins for the modules."""

import json
import typing

from llama_fleet.run import events
from tests.unit.plays.fleet import Call, Fleet

HOSTS: dict[str, dict[str, typing.Any]] = {
    "several": {
        "llama_server_api_key": "s3cr3t",
        "llama_server_instances": {
            "chat": {
                "gguf_model_source": "a/chat",
                "llama_server_port": 8081,
                "llama_server_devices": ["CUDA0"],
                "llama_server_ctx_size": 512,
            },
            "embed": {
                "nvidia_driver_gpu": "none",
                "gguf_model_source": "there",
                "llama_cpp_source": "there",
                "llama_server_api_key": "0ther",
                "llama_server_embeddings": True,
            },
            "old": {"llama_server_state": "absent", "llama_server_port": 8081},
        },
    },
    "single": {
        "llama_cpp_source": "there",
        "gguf_model_source": "there",
        "nvidia_driver_gpu": "none",
        "llama_server_port": 8090,
    },
    "rebuilt": {
        "llama_cpp_source": "damaged",
        "gguf_model_source": "there",
        "nvidia_driver_gpu": "none",
        "llama_server_port": 8090,
    },
    "same_gpu": {
        "llama_server_instances": {
            "one": {"llama_server_port": 1},
            "two": {"llama_server_port": 2, "llama_server_devices": ["CUDA1"]},
        }
    },
    "mistaken": {
        "nvidia_driver_gpu": "none",
        "llama_server_instances": {"fine": {"llama_server_port": 1}, "wrong": {"gguf_model_source": "missing"}},
    },
}


def names(calls: list[Call]) -> list[str]:
    return [f"{call['module']}{'?' if call.get('plan_only') else ''}" for call in calls]


CHAT_PLAN = ["nvidia_driver_info", "cuda_toolkit?", "llama_cpp_release?", "gguf_model?", "llama_server?"]
EMBED_PLAN = ["nvidia_driver_info", "llama_cpp_release?", "gguf_model?", "llama_server?"]
RUNS = [
    "plan_info",
    "preflight_info",
    "llama_server",
    "cuda_toolkit",
    "llama_cpp_release",
    "gguf_model",
    "llama_server",
    "llama_server",
]
# Of each instance: state, port, key, context in tokens, and whether it serves embeddings.
GIVEN = {
    "old": ("absent", 8081, "s3cr3t", 4096, False),
    "chat": ("started", 8081, "s3cr3t", 512, False),
    "embed": ("started", 8080, "0ther", 4096, True),
}
# Of each instance: its backend, the path of its release, and its model.
FROM_STAGES = {
    "old": ("cpu", "", ""),
    "chat": ("cuda", "/llama_cpp_release/cuda", "/gguf_model/a/chat"),
    "embed": ("cpu", "/llama_cpp_release/cputhere", "/gguf_model/there"),
}


def check_preflight(calls: list[Call]) -> None:
    """Assert that preflight gets every instance that is to run, with its plan and without its key."""
    (preflight,) = [call for call in calls if call["module"] == "preflight_info"]
    assert {name: each["llama_server_port"] for name, each in preflight["instances"].items()} == {
        "chat": 8081,
        "embed": 8080,
    }
    assert preflight["stop"] is True
    plan = preflight["plans"]["chat"]
    assert (
        plan["nvidia_driver"]["backend"],
        plan["llama_cpp"]["would_compile"],
        plan["gguf_model"]["would_change"],
    ) == ("cuda", True, True)
    assert "s3cr3t" not in json.dumps(preflight)


def check_servers(calls: list[Call]) -> None:
    """Assert that each server is planned and then run, with its own options and its own stages' results."""
    servers = [call for call in calls if call["module"] == "llama_server"]
    order = ["old", "chat", "embed"]
    assert [call["instance"] for call in servers] == order + order
    for call in servers:
        assert not call.get("overrides")
        given = (call["state"], call["port"], call["api_key"], call["ctx_size"], call["embeddings"])
        assert given == GIVEN[call["instance"]]
        backend, release, model = FROM_STAGES[call["instance"]]
        assert (call["backend"], call["model"]) == (backend, model) or (call["instance"], call.get("plan_only")) == (
            "old",
            False,
        )
        assert call["release"].startswith(release)


def check_events(fleet: Fleet, outcome: events.Outcome) -> None:
    """Assert that events name the instances, and hold no key outside the results of a stage."""
    assert set(outcome.of_role("llama_server")) >= {"several/chat", "several/embed", "several/old", "single"}
    done = [(event.host, event.role, event.plan) for event in fleet.seen if isinstance(event, events.StageDone)]
    assert ("several/embed", "gguf_model", True) in done
    assert ("several/embed", "gguf_model", False) not in done
    assert "s3cr3t" not in repr([event for event in fleet.seen if not isinstance(event, events.StageDone)])


def check_failures(fleet: Fleet) -> None:
    """Assert that a mistake fails its host before anything is changed there."""
    failures = fleet.failures()
    assert failures["same_gpu"].startswith(
        "llama_server_devices: expected devices such as CUDA0 for each instance, found every GPU for "
        "one, and so the same ones for one and two."
    )
    assert failures["mistaken"] == "instance wrong: gguf_model_source: expected a model, found nothing."
    assert names(fleet.calls("mistaken")) == ["plan_info", "preflight_info"]


def test_every_instance_plans_first_and_is_given_its_own(fleet: Fleet) -> None:
    outcome = fleet.run("site", HOSTS)
    several, single = fleet.calls("several"), fleet.calls("single")
    assert names(several) == RUNS
    plans = fleet.plans("several")
    assert names(plans) == ["llama_server?", *CHAT_PLAN, *EMBED_PLAN]
    check_preflight(several)
    check_servers([*plans, *several])
    toolkit = [call["cuda_toolkit"] for call in [*plans, *several] if call["module"] == "llama_cpp_release"]
    assert toolkit == ["/cuda_toolkit/", "", "/cuda_toolkit/"]
    assert [call["ctx_size"] for call in several if call["module"] == "gguf_model"] == [512]
    assert [call["ctx_size"] for call in plans if call["module"] == "gguf_model"] == [512, 4096]
    # One instance that has everything costs one call, which does not ask the network.
    assert names(single) == ["plan_info"]
    assert names(fleet.plans("single")) == EMBED_PLAN
    # A good instance is run again if something below it has changed.
    assert names(fleet.calls("rebuilt")) == ["plan_info", "preflight_info", "llama_cpp_release", "llama_server"]
    assert list(single[0]["instances"]) == ["default"]
    assert outcome.calls == sum(len(fleet.calls(host)) for host in HOSTS)
    check_events(fleet, outcome)
    check_failures(fleet)


# The same, and one of them named.
NAMED = {**HOSTS["several"], "llama_server_instance": "embed"}


def test_one_instance_can_be_stopped_alone(fleet: Fleet) -> None:
    fleet.run("down", {"several": HOSTS["several"], "single": HOSTS["single"], "named": NAMED})
    stopped = {
        host: [(call["instance"], call["state"]) for call in fleet.calls(host)]
        for host in ("several", "single", "named")
    }
    assert stopped == {
        "several": [("old", "stopped"), ("chat", "stopped"), ("embed", "stopped")],
        "single": [("default", "stopped")],
        "named": [("embed", "stopped")],
    }


def test_a_rollback_wants_to_know_of_which_instance(fleet: Fleet) -> None:
    fleet.run(
        "rollback",
        {"several": HOSTS["several"], "single": HOSTS["single"], "named": NAMED},
        {"llama_server_to_generation": 3},
    )
    assert fleet.failures() == {
        "several": "llama_server_instance: expected one of chat, embed or old, found no name, and several instances."
    }
    assert fleet.calls("several") == []
    done = [
        (call["instance"], call["state"], call["to_generation"])
        for host in ("single", "named")
        for call in fleet.calls(host)
    ]
    assert done == [("default", "rolled_back", 3), ("embed", "rolled_back", 3)]


def test_what_no_plan_sees_stops_a_host_before_it_is_changed(fleet: Fleet) -> None:
    fleet.run("site", {"full": {"llama_cpp_source": "too much", "nvidia_driver_gpu": "none"}})
    assert fleet.failures() == {
        "full": "disk space: expected much, found little.\nclock: expected a minute, found an hour."
    }
    assert names(fleet.calls("full")) == [
        "plan_info",
        "preflight_info",
    ]


def test_with_the_plan_that_fails_all_else_that_is_wrong_is_told(fleet: Fleet) -> None:
    hosts = {
        "mistaken": {**HOSTS["mistaken"], "llama_cpp_source": "too much"},
        "without": {"nvidia_driver_gpu": "required"},
    }
    outcome = fleet.run("site", hosts)
    told = [event.text for event in fleet.seen if isinstance(event, events.Failure) and event.host == "mistaken"]
    first, rest = (
        "instance wrong: gguf_model_source: expected a model, found nothing.",
        "disk space: expected much, found little.\nclock: expected a minute, found an hour.",
    )
    assert told == [first, rest]
    assert [failure.text for failure in outcome.failures if failure.host == "mistaken"] == [f"{first}\n{rest}"]
    last = fleet.calls("mistaken")[-1]
    assert (last["module"], last["stop"], sorted(last["instances"]), sorted(last["plans"])) == (
        "preflight_info",
        True,
        ["fine", "wrong"],
        ["fine", "wrong"],
    )
    assert last["plans"]["fine"]["llama_server"]["ready"] is False
    assert "failed" not in last["plans"]["fine"]
    problems = [{"subject": "gguf_model_source"}]
    assert last["plans"]["wrong"]["failed"] == {"failed": True, "turn_of": "wrong", "msg": first, "problems": problems}
    plans = fleet.calls("without")[-1]["plans"]["default"]
    assert (plans["nvidia_driver"]["failed"], plans["failed"]) == (
        True,
        {"failed": True, "msg": "no GPU", "problems": [{"code": "no_device"}]},
    )
    # What is wrong with nothing but that is told once.
    assert [event.text for event in fleet.seen if isinstance(event, events.Failure) and event.host == "without"] == [
        "no GPU"
    ]


def test_doctor_looks_at_every_host_and_stops_at_none(fleet: Fleet) -> None:
    hosts = {
        "several": {**HOSTS["several"], "gguf_model_token": "s3cr3t"},
        "without": {"nvidia_driver_gpu": "required", "llama_server_port": "9000"},
        "down": {"llama_server_state": "stopped"},
        "named": NAMED,
        "typo": {"llama_server_prot": 1},
    }
    fleet.run("doctor", hosts)
    looked = {host: names(fleet.calls(host)) for host in hosts}
    assert looked == {
        "several": ["nvidia_driver_info", "nvidia_driver_info", "preflight_info"],
        "without": ["nvidia_driver_info", "preflight_info"],
        "down": ["preflight_info"],
        "named": ["nvidia_driver_info", "preflight_info"],
        "typo": [],
    }
    asked = {host: fleet.calls(host)[-1] for host in hosts if host != "typo"}
    assert {host: sorted(call["instances"]) for host, call in asked.items()} == {
        "several": ["chat", "embed"],
        "without": ["default"],
        "down": [],
        "named": ["embed"],
    }
    several, without = asked["several"], asked["without"]
    assert several["tokens"] == {"chat": "s3cr3t", "embed": "s3cr3t"}
    assert "s3cr3t" not in json.dumps({name: value for name, value in several.items() if name != "tokens"})
    assert {name: plan["nvidia_driver"]["backend"] for name, plan in several["plans"].items()} == {
        "chat": "cuda",
        "embed": "cpu",
    }
    # A failure to find what is required is a finding among others; a number is one, however it was written.
    assert without["plans"]["default"]["nvidia_driver"]["problems"] == [{"code": "no_device"}]
    assert without["instances"]["default"]["llama_server_port"] == 9000
    assert "stop" not in without
    failures = [event for event in fleet.seen if isinstance(event, events.Failure)]
    assert [(failure.host, [problem["subject"] for problem in failure.problems]) for failure in failures] == [
        ("typo", ["llama_server_prot"])
    ]
