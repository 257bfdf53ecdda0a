# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way in which a change can go wrong: what is known before leaves the old process as it is, the rest brings
it back.
"""

from __future__ import annotations

import os
import signal
import socket
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.tests.unit.fakes import server as fake_server
from ansible_collections.llama_fleet.core.tests.unit.module_runs import Forker, Instance

LOTS = 1 << 30  # MiB


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, forker: Forker) -> typing.Iterator[Instance]:
    """One instance for all changes that fail: each of them leaves it as it was."""
    made = Instance(tmp_path_factory.mktemp("served"), forker)
    made.good()
    yield made
    made.end()


@pytest.mark.parametrize(
    ("behaviour", "arguments", "told"),
    [
        (
            {"refuses": "unknown value for --cache-type-k"},
            {},
            "options that llama-server refuses: error: unknown value",
        ),
        (
            {},
            {"ctx_size": 8193},
            (
                "llama_server_ctx_size: expected at most 8192, the context that model.gguf was trained with, "
                "found 8193 tokens for each slot."
            ),
        ),
        (
            {"model_mib": LOTS},
            {},
            (
                f"llama_server_model: expected one that fits, found a model that needs {LOTS + 1} MiB of RAM "
                f"(model {LOTS}, context 0, computing 1) with"
            ),
        ),
        (
            {"context_mib": LOTS},
            {"ctx_size": 4096},
            "llama_server_model: expected one that fits, found a model that needs",
        ),
        (
            {
                "planner": (
                    "echo '0.00.1 E llama_model_load: error loading model: unknown model architecture' >&2; exit 1"
                )
            },
            {},
            "unknown model architecture",
        ),
        (
            {},
            {"extra_options": {"flash-atn": "on"}},
            "expected an option of this release; the nearest are flash-attn, found flash-atn",
        ),
        (
            {},
            {"model": "/nowhere/model.gguf"},
            "llama_server_model: expected every file of the model, found no file model.gguf",
        ),
        (
            {},
            {"mmproj": "/nowhere/mmproj.gguf", "lora": ["/nowhere/lora.gguf:2"]},
            "llama_server_lora: expected a file of this host, found no file /nowhere/lora.gguf",
        ),
        (
            {},
            {"extra_options": {"model-draft": "/nowhere/draft.gguf", "spec-type": "draft-mtp"}},
            "llama_server_extra_options: expected a file of this host, found no file /nowhere/draft.gguf",
        ),
        (
            {},
            {"host": "192.0.2.1", "api_key": "k"},
            "llama_server_host: expected an address of this host, found 192.0.2.1.",
        ),
        ({}, {"runtime": "systemd"}, "llama_server_runtime: expected a runtime that this host has, found systemd"),
    ],
)
def test_what_can_be_known_before_leaves_the_old_process_as_it_is(
    served: Instance, behaviour: dict[str, typing.Any], arguments: dict[str, typing.Any], told: str
) -> None:
    pids, generations = served.servers(), os.listdir(served.folder / "generations")
    change = {"parallel": 2, **({"release": served.another(**behaviour)} if behaviour else {}), **arguments}
    assert told in served.bad(**change)
    assert (served.servers(), os.listdir(served.folder / "generations")) == (pids, generations)
    assert (served.answers(), served.current()) == (200, "1")


@pytest.mark.parametrize(("change", "told"), [({"ctx_size": 8193}, "was trained"), ({"port": 1}, "llama_server_port")])
def test_check_mode_tells_the_same_but_bears_what_is_yet_to_come(
    served: Instance, change: dict[str, typing.Any], told: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = {"port": taken.getsockname()[1]} if "port" in change else {}
        assert told in served.bad(**{**change, **port}, _ansible_check_mode=True)
    yet_to_come = {"model": "/nowhere/model.gguf", "mmproj": "/nowhere/mmproj.gguf"}
    assert served.good(**yet_to_come, _ansible_check_mode=True)["changed_parts"] == [
        "llama_server_mmproj",
        "llama_server_model",
    ]


@pytest.mark.parametrize(
    ("behaviour", "arguments", "told"),
    [
        ({"crash": "no such instruction"}, {}, "llama-server ended with exit status 1"),
        (
            {"crash": "SIGILL"},
            {},
            "llama-server was ended by SIGILL: this release uses instructions that this CPU does not have",
        ),
        ({"dies_on_completion": True}, {}, "llama-server ended with exit status 9"),
        (
            {"hangs": True},
            {"ready_timeout": 1},
            "it was not ready within 1 s (llama_server_ready_timeout): no response from /health",
        ),
        (
            {"loads_forever": True},
            {"ready_timeout": 5},
            "it was not ready within 5 s (llama_server_ready_timeout): /health answered 503",
        ),
        ({"model": "/other.gguf"}, {}, "it serves the model /other.gguf, not "),
        ({"context": 64}, {}, "each slot has a context of 64 tokens, and llama_server_ctx_size is 256"),
        ({"pieces": ["."]}, {}, "it generates nothing but '................': its model's files are damaged"),
        ({"tokens": [5], "pieces": ["a"]}, {}, "it generates the same token 16 times, 'aaaaaaaaaaaaaaaa'"),
        ({"pieces": [" "]}, {}, "it generates 16 tokens without any text"),
        (
            {"speeds": [70.0, 79.0, 60.0]},
            {"min_speed_ratio": 0.8},
            "it generates 0.60 times as many tokens a second (0.60 to 0.60 in 7 turns) as generation 1, less than",
        ),
        ({"embedding": [0.0, 0.0]}, {"embeddings": True}, "an embedding of zeros only"),
    ],
)
def test_what_is_only_seen_of_the_server_brings_the_old_one_back(
    served: Instance, behaviour: dict[str, typing.Any], arguments: dict[str, typing.Any], told: str
) -> None:
    message = served.bad(release=served.another(**behaviour), stop_timeout=1, **arguments)
    assert told in message
    assert "generation 1 is back in service. Fix: Read the last lines of its log" in message
    assert f"loading {served.arguments['model']}" in message
    assert (served.answers(), served.current()) == (200, "1")
    (pid,) = served.servers()
    after = served.good()
    assert (after["changed"], after["generation"], after["pid"]) == (False, 1, pid)


def test_a_port_that_another_process_has_is_told_and_the_old_port_answers(served: Instance) -> None:
    pids = served.servers()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = served.bad(port=port)
    holder = f"pid {os.getpid()} ({processes.name(os.getpid())})"
    assert f"expected a free port, found port {port}, on which {holder} listens." in message
    assert (served.servers(), served.answers()) == (pids, 200)


def test_memory_that_is_not_there_is_told_with_what_would_fit_and_can_be_overridden(instance: Instance) -> None:
    pid = instance.good()["pid"]
    # For 8704 tokens there is room, give or take what else the host does meanwhile.
    context = instance.good()["memory"][0]["free_mib"] * 2 // 17
    release = instance.release("hungry", context_mib=context)
    message = instance.bad(release=release, parallel=4, ctx_size=4096)
    assert "llama_server_ctx_size: expected a context that fits, found 4 slots of 4096 tokens, which need" in message
    assert (
        "MiB free. Fix: Set llama_server_ctx_size to 2048, or llama_server_parallel to 2; "
        "llama_server_memory_check: false"
    ) in message
    assert instance.servers() == [pid]
    forced = instance.good(release=release, parallel=4, ctx_size=4096, memory_check=False)
    assert forced["memory"][0]["context_mib"] == 16 * context
    assert "which need" in str(forced["warnings"])
    assert "which need" not in str(instance.good(release=release, parallel=4, ctx_size=2048).get("warnings", []))


@pytest.mark.parametrize(
    ("planner", "told"), [(None, "has no llama-fit-params"), ("kill -9 $$", "llama-fit-params of")]
)
def test_a_release_that_cannot_plan_is_started_with_a_warning(
    instance: Instance, planner: str | None, told: str
) -> None:
    result = instance.good(release=instance.release("other", planner=planner))
    assert told in str(result["warnings"])
    assert (result["memory"], result["ready"]) == ([], True)


def test_a_model_that_the_kernel_does_not_lock_is_told(instance: Instance) -> None:
    warnings = str(instance.good(release=instance.release("large", model_mib=100), load_mode="mlock")["warnings"])
    assert (
        "llama_server_load_mode asks for the model in locked memory, 100 MiB, and the kernel locked 0 MiB of it: run "
        "as root, or raise"
    ) in warnings


def test_the_prompt_cache_is_told_where_it_would_not_fit(instance: Instance) -> None:
    assert "llama_server_cache_ram lets the prompt cache grow to 1073741824 MiB" in str(
        instance.good(cache_ram=LOTS)["warnings"]
    )


@pytest.mark.parametrize(
    "stretch", [{"rope-scaling": "yarn", "yarn-orig-ctx": 8192}, {"override-kv": "llama.context_length=int:16384"}]
)
def test_a_context_that_is_stretched_is_left_to_the_server(instance: Instance, stretch: dict[str, typing.Any]) -> None:
    assert "was trained" in instance.bad(ctx_size=16384)
    assert instance.good(ctx_size=16384, extra_options=stretch)["context"] == 16384


def test_a_model_that_is_replaced_in_its_place_is_looked_at_again(instance: Instance) -> None:
    pid = instance.good(ctx_size=4096)["pid"]
    header = instance.place / "model.gguf"
    fake_server.model(header, trained=2048)
    os.utime(header, (1, 1))
    assert (
        "expected at most 2048, the context that model.gguf was trained with, found 4096 tokens for each slot."
    ) in instance.bad(ctx_size=4096)
    assert instance.servers() == [pid]


def test_what_was_good_and_hangs_is_started_again(instance: Instance) -> None:
    pid = instance.good(stop_timeout=1)["pid"]
    os.kill(pid, signal.SIGSTOP)
    after = instance.good(stop_timeout=1, ready_timeout=5)
    assert (after["changed"], after["restarted"], after["generation"]) == (True, True, 1)
    assert instance.servers() == [after["pid"]] != [pid]


def test_with_nothing_to_go_back_to_it_is_stopped(instance: Instance) -> None:
    message = instance.bad(release=instance.release("other", crash="no"))
    assert "it was stopped, for there is no generation to go back to" in message
    assert instance.servers() == []
    assert instance.good()["generation"] == 2


def test_it_goes_back_to_what_served_and_not_to_what_is_newer(instance: Instance) -> None:
    for parallel in (1, 2):
        instance.good(parallel=parallel)
    instance.good(state="rolled_back", to_generation=1)
    message = instance.bad(release=instance.release("other", crash="no"), parallel=4)
    assert "generation 1 is back in service" in message
    assert instance.current() == "1"


def test_a_slower_server_is_good_where_no_speed_is_asked_for_or_its_best_is_enough(instance: Instance) -> None:
    instance.good()
    assert instance.good(release=instance.release("slow", speeds=[1.0]))["speed"] == 1.0
    instance.good(state="rolled_back")
    assert instance.good(release=instance.release("busy", speeds=[10.0, 85.0]), min_speed_ratio=0.8)["speed"] == 85.0


def test_one_that_was_good_and_only_cannot_answer_is_left_as_it_is(instance: Instance) -> None:
    pid = instance.good()["pid"]
    message = instance.bad(prompt="Which city?")
    assert "/v1/chat/completions answered 404" in message
    assert "it passed its gate before, so it was left as it is" in message
    assert (instance.servers(), instance.answers(), instance.manifest(1)["good"]) == ([pid], 200, True)
