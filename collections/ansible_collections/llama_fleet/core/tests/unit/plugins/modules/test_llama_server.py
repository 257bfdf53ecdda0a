# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module in a process of its own, with a real llama-server and a real model."""

from __future__ import annotations

import http.server
import json
import os
import pathlib
import random
import signal
import threading
import time
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.tests.unit.fakes import server as fake_server
from ansible_collections.llama_fleet.core.tests.unit.fakes.real_release import MODEL, RELEASE, real, with_real_release

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.tests.unit.module_runs import Instance


@pytest.fixture
def instance(instance: Instance) -> Instance:
    return with_real_release(instance)


def check_nothing_changes(instance: Instance, first: dict[str, typing.Any]) -> None:
    """Assert that a further run, and a plan of it, leave the server of ``first`` as it is and answer the same."""
    second = instance.good(prompt="What is the capital of France?")
    assert (second["changed"], second["restarted"], second["pid"], second["generation"]) == (
        False,
        False,
        first["pid"],
        1,
    )
    assert second["answer"] == first["answer"]

    settled = instance.good(plan_only=True, prompt="What is the capital of France?")
    assert (settled["would_change"], settled["ready"], settled["answer"], settled["pid"]) == (
        False,
        True,
        first["answer"],
        first["pid"],
    )


def check_stop_and_removal(instance: Instance, pid: int) -> None:
    """Assert that the server ``pid`` is stopped, started again from the same generation, and removed."""
    assert instance.good(state="stopped", _ansible_check_mode=True)["changed"]
    assert instance.servers() == [pid]
    assert instance.good(state="stopped", release="", model="")["changed"]
    assert instance.servers() == []
    assert not instance.good(state="stopped")["changed"]
    assert not instance.good(parallel=2, plan_only=True)["ready"]
    again = instance.good(parallel=2)
    assert (again["changed"], again["restarted"], again["generation"]) == (True, True, 2), (
        "the same generation, started again"
    )
    assert instance.good(state="absent")["changed"]
    assert not instance.folder.exists()
    assert not instance.good(state="absent")["changed"]


@real
def test_the_life_of_an_instance(instance: Instance) -> None:
    check = instance.good(_ansible_check_mode=True)
    assert check["changed"]
    assert "LLAMA_ARG_CTX_SIZE=256" in check["diff"][0]["after"]
    assert not instance.folder.exists()

    first = instance.good(prompt="What is the capital of France?")
    assert (first["changed"], first["restarted"], first["ready"], first["generation"]) == (True, True, True, 1)
    assert (first["runtime"], first["device"]) == ("process", "cpu")
    assert first["answer"]
    assert [first["pid"]] == instance.servers()
    assert os.getsid(first["pid"]) == first["pid"], "a session of its own outlives the module's"

    check_nothing_changes(instance, first)
    planned = instance.good(plan_only=True, parallel=2)
    assert (planned["changed"], planned["would_change"], planned["ready"], planned["generation"]) == (
        False,
        True,
        False,
        2,
    )
    third = instance.good(parallel=2)
    assert (third["changed"], third["restarted"], third["generation"]) == (True, True, 2)
    assert instance.servers() == [third["pid"]] != [first["pid"]]
    check_stop_and_removal(instance, third["pid"])


@real
def test_a_context_of_0_is_the_model_s_own_for_each_slot(instance: Instance) -> None:
    """The release itself would divide that context among the slots."""
    first = instance.good(ctx_size=0, parallel=2)
    assert (first["context"], first["generation"]) == (8192, 1)
    again = instance.good(ctx_size=0, parallel=2)
    assert (again["changed"], again["pid"], again["generation"]) == (False, first["pid"], 1)
    assert not instance.good(ctx_size=8192, parallel=2)["changed"]
    assert instance.good(state="absent")["changed"]


def mistakes(folder: pathlib.Path, no_model: pathlib.Path) -> list[tuple[dict[str, typing.Any], str]]:
    """Return wrong arguments, each with a part of the message expected."""
    return [
        ({"extra_options": {"flash-atn": "on"}}, "the nearest are flash-attn"),
        (
            {"extra_options": {"numa": "everywhere"}},
            (
                "llama_server_extra_options: expected options that this release accepts, found "
                "options that llama-server refuses: "
            ),
        ),
        (
            {"ctx_size": 16384},
            (
                f"llama_server_ctx_size: expected at most 8192, the context that {pathlib.Path(MODEL).name} "
                "was trained with, found 16384 tokens for each slot."
            ),
        ),
        ({"extra_options": {"tools": "all"}, "ubatch_size": 4096}, "llama_server_ubatch_size"),
        (
            {"devices": ["CUDA7"]},
            "llama_server_devices: expected options that this release accepts, found options that llama-server refuses",
        ),
        (
            {"backend": "cuda"},
            ", found cuda, but the release sees no CUDA device",
        ),
        (
            {"model": str(folder / "absent.gguf")},
            "llama_server_model: expected every file of the model, found no file absent.gguf",
        ),
        ({"model": str(no_model)}, "which is no GGUF file"),
        (
            {"release": str(folder)},
            "llama_server_release: expected a release of llama.cpp, found no bin/llama-server",
        ),
        ({"host": "192.0.2.1"}, "llama_server_host: expected an address of this host, found 192.0.2.1."),
    ]


@real
def test_no_mistake_takes_down_a_server_that_runs(instance: Instance, tmp_path: pathlib.Path) -> None:
    instance.arguments["allow_unauthenticated"] = True
    pid = instance.good()["pid"]
    no_model = tmp_path / "page.gguf"
    no_model.write_text("<html>", encoding="ascii")
    for arguments, sentence in mistakes(tmp_path, no_model):
        message = instance.bad(**arguments)
        assert sentence in message
        assert len(message.splitlines()) == len(arguments)
    assert instance.servers() == [pid]
    assert instance.answers() == 200
    assert not instance.good()["changed"]


@real
def test_a_port_in_use_is_named_with_its_holder(instance: Instance) -> None:
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", instance.arguments["port"]), http.server.BaseHTTPRequestHandler
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        message = instance.bad(plan_only=True)
        server.shutdown()
    assert (
        f"expected a free port, found port {instance.arguments['port']}, on which pid {os.getpid()} "
        f"({processes.name(os.getpid())}) listens."
    ) in message


@real
def test_a_key_guards_the_server_and_shows_nowhere(instance: Instance) -> None:
    result = instance.good(api_key="s3cret-key", _ansible_diff=True)
    assert (instance.answers(), instance.answers("s3cret-key")) == (401, 200)
    shown = json.dumps(result) + pathlib.Path(f"/proc/{result['pid']}/cmdline").read_text(encoding="utf-8")
    shown += pathlib.Path(f"/proc/{result['pid']}/environ").read_text(encoding="utf-8") + pathlib.Path(
        result["log"]
    ).read_text(encoding="utf-8")
    assert "s3cret" not in shown
    holders = [
        path.name
        for path in instance.folder.rglob("*")
        if path.is_file() and "s3cret" in path.read_text(encoding="utf-8")
    ]
    assert holders
    assert set(holders) == {"api-key"}
    assert not instance.good(api_key="s3cret-key")["changed"]
    changed = instance.good(api_key="another")
    assert (changed["restarted"], changed["changed_parts"]) == (True, ["llama_server_api_key"])
    assert instance.good(state="rolled_back", release="", model="")["generation"] == 1
    assert (instance.answers("another"), instance.answers("s3cret-key")) == (401, 200)


@real
def test_a_pid_that_was_used_again_is_not_mistaken_for_the_server(instance: Instance, tmp_path: pathlib.Path) -> None:
    first = instance.good()
    fake_server.crash(first["pid"], instance.port)
    (tmp_path / "run" / "default.json").write_text(
        json.dumps({"pid": os.getpid(), "started": 1, "generation": 1}), encoding="ascii"
    )
    after = instance.good()
    assert (after["changed"], after["restarted"], after["generation"]) == (True, True, 1)
    assert after["pid"] != os.getpid()


@real
def test_a_question_that_cannot_be_answered_restarts_nothing(instance: Instance) -> None:
    pid = instance.good()["pid"]
    assert not instance.good(prompt="word " * 2000, plan_only=True)["ready"], "it is a run that fails"
    message = instance.bad(prompt="word " * 2000)
    assert "/v1/chat/completions answered 400" in message
    assert "it passed its gate before, so it was left as it is" in message
    assert instance.servers() == [pid]
    assert not instance.good()["changed"]


@real
def test_a_server_that_hangs_is_restarted(instance: Instance) -> None:
    pid = instance.good(stop_timeout=2)["pid"]
    os.kill(pid, signal.SIGSTOP)
    assert not instance.good(plan_only=True, ready_timeout=600)["ready"], "a plan does not wait ten minutes"
    after = instance.good(stop_timeout=2, ready_timeout=10)
    assert (after["changed"], after["restarted"], after["generation"]) == (True, True, 1)
    assert instance.servers() == [after["pid"]] != [pid]


@real
def test_exec_renders_and_starts_nothing(instance: Instance) -> None:
    result = instance.good(runtime="exec")
    assert (result["changed"], result["pid"], result["command"][0]) == (True, 0, f"{RELEASE}/bin/llama-server")
    assert pathlib.Path(result["environment_file"]).is_file()
    assert instance.servers() == []
    assert not instance.good(runtime="exec")["changed"]


@real
@pytest.mark.parametrize("seed", range(2))
def test_a_module_killed_at_any_moment_is_made_good_by_the_next_run(instance: Instance, seed: int) -> None:
    if seed % 2:
        instance.good()
    pid = instance.start(parallel=2)
    time.sleep(random.Random(seed).uniform(0.2, 2.5))
    instance.kill(pid)
    result = instance.good(parallel=2)
    assert result["ready"]
    assert instance.servers() == [result["pid"]]
    assert instance.answers() == 200
    assert os.readlink(instance.folder / "current") == f"generations/{result['generation']}"
    assert not instance.good(parallel=2)["changed"]


def test_bad_input_needs_no_release_to_be_told(instance: Instance, tmp_path: pathlib.Path) -> None:
    arguments = {
        **instance.arguments,
        "release": "",
        "model": "",
        "port": 99999,
        "instance": "No Name",
        "extra_options": {"rpc": "x"},
        "plan_only": True,
    }
    message = instance.bad(**arguments)
    assert [line.split(":")[0] for line in message.splitlines()] == [
        "llama_server_instance",
        "llama_server_port",
        "llama_server_extra_options",
    ]
    assert not (tmp_path / "etc").exists()


def test_a_plan_from_bare_needs_neither_release_nor_model(instance: Instance, tmp_path: pathlib.Path) -> None:
    result = instance.good(release="", model=str(tmp_path / "to-come.gguf"), plan_only=True)
    assert (result["changed"], result["would_change"], result["generation"]) == (False, True, 1)
    assert not (tmp_path / "etc").exists()
    assert not (tmp_path / "run").exists()
