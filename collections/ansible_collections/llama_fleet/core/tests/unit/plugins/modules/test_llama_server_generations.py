# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results and generations of the module's runs, with a server that starts at once."""

from __future__ import annotations

import json
import os
import typing

import pytest

from ansible_collections.llama_fleet.core.tests.unit.fakes import server as fake_server

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.tests.unit.module_runs import Instance


def numbers(instance: Instance) -> list[int]:
    return sorted(int(name) for name in os.listdir(instance.folder / "generations"))


def test_a_first_start_an_unchanged_run_and_what_is_told_of_both(instance: Instance) -> None:
    first = instance.good()
    assert (first["changed"], first["restarted"], first["ready"], first["generation"]) == (True, True, True, 1)
    assert (first["speed"], first["context"], first["threads"], first["changed_parts"]) == (
        fake_server.SPEED,
        256,
        1,
        [],
    )
    (row,) = first["memory"]
    assert (row["device"], row["model_mib"], row["compute_mib"]) == ("Host", 1, 1)
    assert row["free_mib"] > 0
    second = instance.good()
    assert (second["changed"], second["restarted"], second["ready"], second["pid"]) == (
        False,
        False,
        True,
        first["pid"],
    )
    assert (second["speed"], second["memory"], second["changed_parts"]) == (fake_server.SPEED, first["memory"], [])
    assert instance.servers() == [first["pid"]]
    manifest = instance.manifest(1)
    assert (manifest["good"], manifest["speed"], manifest["memory"], manifest["build"]) == (
        True,
        fake_server.SPEED,
        {"Host": 2},
        "b-good",
    )
    assert manifest["context_length"] == fake_server.TRAINED
    assert sorted(manifest["files"]) == ["environment"]
    assert manifest["created"].startswith("20")


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"parallel": 2}, ["llama_server_parallel"]),
        ({"ctx_size": 512, "batch_size": 1024}, ["llama_server_batch_size", "llama_server_ctx_size"]),
        ({"extra_options": {"warmup": False}}, ["llama_server_extra_options"]),
        ({"api_key": "abc"}, ["llama_server_api_key"]),
        ({"api_keys": ["abc", "def"]}, ["llama_server_api_key"]),
        ({"metrics": False}, ["llama_server_metrics"]),
    ],
)
def test_what_differs_restarts_once_and_is_named(
    instance: Instance, change: dict[str, typing.Any], parts: list[str]
) -> None:
    pid = instance.good()["pid"]
    planned = instance.good(**change, _ansible_check_mode=True, _ansible_diff=True)
    assert (planned["changed"], planned["changed_parts"], planned["generation"]) == (True, parts, 2)
    assert "abc" not in json.dumps(planned)
    assert instance.servers() == [pid]
    changed = instance.good(**change)
    assert (changed["restarted"], changed["changed_parts"], changed["generation"]) == (True, parts, 2)
    assert "abc" not in json.dumps(changed)
    again = instance.good(**change)
    assert (again["changed"], again["changed_parts"], again["pid"]) == (False, [], changed["pid"])


def test_another_release_and_another_model_are_named_by_what_they_are(instance: Instance) -> None:
    instance.good()
    release, model = instance.release("newer"), fake_server.model(instance.place / "other.gguf", 4096)
    assert instance.good(release=release, _ansible_check_mode=True)["changed_parts"] == ["llama_server_release"]
    assert instance.good(release=release, model=model)["changed_parts"] == [
        "llama_server_model",
        "llama_server_release",
    ]
    # The same path, and in it something else.
    (instance.place / "newer" / "manifest.json").write_text('{"fingerprint": "rebuilt"}', encoding="utf-8")
    assert instance.good(release=release, model=model, plan_only=True)["changed_parts"] == ["llama_server_release"]


def test_what_changes_nothing_of_what_runs_restarts_nothing(instance: Instance) -> None:
    pid = instance.good()["pid"]
    asked = {
        "keep": 3,
        "ready_timeout": 7,
        "min_speed_ratio": 0.5,
        "memory_check": False,
        "allow_unauthenticated": True,
        "alias": "model.gguf",
    }
    after = instance.good(**asked)
    assert (after["changed"], after["pid"], after["diff"]) == (False, pid, [])
    assert instance.current() == "1"


def test_a_file_that_is_read_at_start_restarts_it_when_it_changes(instance: Instance) -> None:
    template = instance.place / "chat.jinja"
    template.write_text("one", encoding="utf-8")
    pid = instance.good(chat_template=str(template))["pid"]
    assert instance.good(chat_template=str(template))["pid"] == pid
    template.write_text("two", encoding="utf-8")
    after = instance.good(chat_template=str(template))
    assert (after["changed_parts"], after["generation"]) == (["llama_server_chat_template"], 2)


def test_as_many_good_generations_are_kept_as_asked_and_the_current_one_always(instance: Instance) -> None:
    for parallel in (1, 2, 3):
        instance.good(parallel=parallel, keep=2)
    assert numbers(instance) == [2, 3]
    broken = instance.release("broken", crash="no")
    instance.bad(release=broken, keep=2)
    assert numbers(instance) == [2, 3, 4], "the newest failure stays for whoever looks into it"
    instance.bad(release=broken, keep=2)
    assert numbers(instance) == [2, 3, 5]
    instance.good(state="rolled_back")
    assert instance.current() == "2"
    instance.bad(release=broken, keep=1)
    assert numbers(instance) == [2, 3, 6], "the newest good one, and that which serves"
    instance.good(parallel=4, keep=1)
    assert numbers(instance) == [7]


def test_exec_makes_generations_proves_them_and_leaves_nothing_running(instance: Instance) -> None:
    first = instance.good(runtime="exec")
    assert (first["changed"], first["pid"], first["ready"], first["log"], instance.servers()) == (True, 0, True, "", [])
    assert first["speed"] > 0
    assert os.path.isfile(first["environment_file"])
    assert not instance.good(runtime="exec")["changed"]
    assert instance.good(runtime="exec", parallel=2)["changed_parts"] == ["llama_server_parallel"]
    assert "was trained" in instance.bad(runtime="exec", ctx_size=9000)
    assert instance.current() == "2"
    assert instance.good(parallel=2)["changed_parts"] == ["llama_server_runtime"]


def test_only_the_key_file_holds_the_keys(instance: Instance) -> None:
    result = instance.good(api_key="first-secret", api_keys=["second-secret"])
    assert [instance.answers(key) for key in ("", "first-secret", "second-secret")] == [401, 200, 200]
    key_file = instance.folder / "generations" / "1" / "api-key"
    assert (key_file.read_text(encoding="utf-8"), key_file.stat().st_mode & 0o777) == (
        "first-secret\nsecond-secret\n",
        0o400,
    )
    holders = [
        path.name
        for path in instance.place.rglob("*")
        if path.is_file() and "-secret" in path.read_text(encoding="utf-8")
    ]
    assert sorted(set(holders)) == ["api-key"]
    assert "-secret" not in json.dumps(result)
    pid = instance.good(api_key="first-secret", api_keys=["second-secret"])["pid"]
    assert pid == result["pid"]


def test_a_slice_of_a_gpu_is_all_that_its_server_sees(instance: Instance) -> None:
    planned = instance.good(backend="cuda", devices=["MIG-0a"], _ansible_check_mode=True)
    lines = planned["diff"][0]["after"].splitlines()
    assert {"CUDA_VISIBLE_DEVICES=MIG-0a", "LLAMA_ARG_DEVICE=CUDA0"} <= {
        line.replace('"', "").replace("'", "") for line in lines
    }
