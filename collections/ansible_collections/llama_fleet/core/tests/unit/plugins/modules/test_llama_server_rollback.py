# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state rolled_back: to which generation, with what of it, and back again where it is not good."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import typing

import pytest

from ansible_collections.llama_fleet.core.tests.unit.fakes import server as fake_server
from ansible_collections.llama_fleet.core.tests.unit.module_runs import Instance, free_port

GENERATION = "etc/instances/default/generations/1"
# What a rollback is given of the options: nothing.
NOTHING: dict[str, typing.Any] = {
    "release": "",
    "model": "",
    "port": 8080,
    "parallel": 16,
    "ctx_size": 4096,
    "threads": 0,
    "cache_ram": 8192,
}


def slots(instance: Instance) -> str:
    (pid,) = instance.servers()
    variables = pathlib.Path(f"/proc/{pid}/environ").read_text(encoding="utf-8").split("\0")
    return next(each.partition("=")[2] for each in variables if each.startswith("LLAMA_ARG_N_PARALLEL="))


def three(instance: Instance) -> None:
    for parallel in (1, 2, 3):
        instance.good(parallel=parallel)


def back(to: int = 0, **arguments: typing.Any) -> dict[str, typing.Any]:
    return {**NOTHING, "state": "rolled_back", "to_generation": to, **arguments}


def test_it_goes_to_the_one_before_as_it_lies_on_disk(instance: Instance) -> None:
    three(instance)
    checked = instance.good(**back(), _ansible_check_mode=True)
    assert (checked["changed"], checked["generation"], slots(instance)) == (True, 2, "3")
    (diff,) = checked["diff"]
    assert "LLAMA_ARG_N_PARALLEL=3\n" in diff["before"]
    assert "LLAMA_ARG_N_PARALLEL=2\n" in diff["after"]
    before = sorted(path.read_bytes() for path in (instance.folder / "generations" / "2").iterdir())
    result = instance.good(**back())
    assert (result["changed"], result["restarted"], result["ready"], result["generation"], result["state"]) == (
        True,
        True,
        True,
        2,
        "rolled_back",
    )
    assert (result["context"], result["endpoint"], result["diff"]) == (
        256,
        f"http://127.0.0.1:{instance.port}",
        checked["diff"],
    )
    assert (slots(instance), instance.current(), instance.servers()) == ("2", "2", [result["pid"]])
    assert sorted(path.read_bytes() for path in (instance.folder / "generations" / "2").iterdir()) == before
    assert not (instance.folder / "rolling-back").exists()


def test_a_number_is_idempotent_and_the_one_before_goes_on(instance: Instance) -> None:
    three(instance)
    first = instance.good(**back(1))
    again = instance.good(**back(1))
    assert (again["changed"], again["restarted"], again["pid"], again["generation"]) == (False, False, first["pid"], 1)
    assert not instance.good(**back(1), _ansible_check_mode=True)["changed"]
    assert instance.good(**back(3))["generation"] == 3, "also forward"
    assert [instance.good(**back())["generation"] for _time in range(2)] == [2, 1]
    assert "no good generation before 1, of the generations 1 (good, current), 2 (good), 3 (good)" in instance.bad(
        **back()
    )


def test_it_starts_what_was_stopped(instance: Instance) -> None:
    three(instance)
    instance.good(state="stopped")
    result = instance.good(**back(3))
    assert (result["changed"], result["restarted"], result["diff"], slots(instance)) == (True, True, [], "3")


def test_the_inventory_makes_a_new_generation_afterwards(instance: Instance) -> None:
    three(instance)
    instance.good(**back())
    after = instance.good(parallel=3)
    assert (after["generation"], after["changed_parts"], slots(instance)) == (4, ["llama_server_parallel"], "3")


def test_the_key_goes_with_its_generation(instance: Instance) -> None:
    instance.good(api_key="old")
    instance.good(api_key="new")
    result = instance.good(**back())
    assert [instance.answers(key) for key in ("old", "new")] == [200, 401]
    assert '"old"' not in json.dumps(result)


def test_without_such_a_generation_those_that_are_there_are_told(instance: Instance) -> None:
    assert "expected one to go back to, found no good generation, of no generation at all" in instance.bad(**back())
    instance.good()
    instance.good(parallel=2)
    instance.bad(release=instance.another(crash="no"))
    (pid,) = instance.servers()
    there = "of the generations 1 (good), 2 (good, current), 3 (not good)"
    assert f"llama_server_to_generation: expected a generation that is there, found 7, {there}" in instance.bad(
        **back(7)
    )
    assert (
        f"llama_server_to_generation: expected a good generation, found 3, which never passed its gate, {there}"
    ) in instance.bad(**back(3))
    assert "llama_server_to_generation: expected a number from 0 to 2147483647, found -1" in instance.bad(**back(-1))
    assert instance.servers() == [pid]


def edited(path: pathlib.Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.chmod(0o755)
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (
            lambda place: (place / "model.gguf").unlink(),
            "llama_server_model: expected every file of the model, found no file model.gguf",
        ),
        (
            lambda place: (place / "model.gguf").write_bytes((place / "model.gguf").read_bytes() + b"more"),
            "bytes, as generation 1 has it",
        ),
        (
            lambda place: os.rename(place / "old", place / "away"),
            "llama_server_release: expected a release of llama.cpp, found no bin/llama-server",
        ),
        (
            lambda place: edited(place / "old/manifest.json", '"fingerprint": "old"', '"fingerprint": "new"'),
            "the one that generation 1 was made with",
        ),
        (
            lambda place: edited(place / "old/bin/llama-server", "WANTED = {}", "WANTED = {'refuses': 'no longer'}"),
            "refuses: error: no longer",
        ),
        (
            lambda place: edited(place / GENERATION / "environment", "N_PARALLEL=1", "N_PARALLEL=9"),
            "expected files that nobody changed, found environment of generation 1, not as",
        ),
        (
            lambda place: (place / GENERATION / "api-key").unlink(),
            "expected files that nobody changed, found api-key of generation 1, not as it was written",
        ),
        (
            lambda place: edited(place / GENERATION / "manifest.json", '"Host": 2', '"Host": 9999999'),
            "memory: expected memory for that generation, found 9999999 MiB of Host with",
        ),
    ],
)
def test_what_is_not_as_it_was_leaves_the_current_one_as_it_is(
    instance: Instance, harm: typing.Callable[[pathlib.Path], object], told: str
) -> None:
    copy = instance.place / "copy.gguf"
    copy.write_bytes(pathlib.Path(instance.arguments["model"]).read_bytes())
    instance.good(release=instance.release("old"), api_key="key")
    pid = instance.good(model=str(copy))["pid"]
    harm(instance.place)
    assert told in instance.bad(**back())
    assert told in instance.bad(**back(), _ansible_check_mode=True)
    assert (instance.servers(), instance.current(), instance.answers()) == ([pid], "2", 200)


def test_a_port_that_is_no_longer_free_leaves_the_current_one_as_it_is(instance: Instance) -> None:
    instance.good()
    pid = instance.good(port=free_port())["pid"]
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", instance.port))
        holder.listen()
        assert (
            f"llama_server_port: expected a free port, found port {instance.port}, on which pid {os.getpid()}"
        ) in instance.bad(**back())
    assert (instance.servers(), instance.current()) == ([pid], "2")


@pytest.mark.parametrize("serves", [True, False])
def test_where_its_gate_fails_it_goes_back_to_where_it_was(instance: Instance, serves: bool) -> None:
    instance.good(release=instance.release("old"))
    pid = instance.good()["pid"]
    if not serves:
        fake_server.crash(pid, instance.port)
    edited(instance.place / "old/bin/llama-server", "WANTED = {}", "WANTED = {'crash': 'it rotted'}")
    message = instance.bad(**back())
    assert "generation 1 not good: llama-server ended with exit status 1" in message
    assert "generation 2 is back in service" in message
    assert "it rotted" in message
    assert (instance.current(), instance.answers(), (instance.folder / "rolling-back").exists()) == ("2", 200, False)
    assert not instance.good()["changed"]


def test_one_that_was_killed_is_finished_and_goes_no_further(instance: Instance) -> None:
    three(instance)
    # As it lies where it was killed right after the switch.
    (instance.folder / "rolling-back").write_text('{"to": 2}', encoding="utf-8")
    os.unlink(instance.folder / "current")
    os.symlink("generations/2", instance.folder / "current")
    result = instance.good(**back())
    assert (result["generation"], slots(instance)) == (2, "2")
    assert instance.good(**back())["generation"] == 1, "the next one is a rollback of its own"
