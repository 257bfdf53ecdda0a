# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test the validation of answers from hosts.

Tests that call a real module assert that real answers pass.
"""

from __future__ import annotations

import typing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.llama_fleet.core.plugins.plugin_utils import host_results
from ansible_collections.llama_fleet.core.plugins.plugin_utils.host_results import admit

Answer = dict[str, typing.Any]
RELEASE: Answer = {
    "changed": False,
    "path": "/opt/llama-fleet/releases/b1-0c1e57098a3f",
    "build": "b1",
    "fingerprint": "ab" * 32,
    "would_change": False,
    "would_compile": False,
    "fingerprint_parts": {"libc": "glibc 2.36"},
    "takes": "",
    "taken_from": "",
}
SERVER: Answer = {
    "changed": True,
    "ready": True,
    "would_change": True,
    "endpoint": "http://127.0.0.1:8080",
    "instance": "default",
    "generation": 3,
}
INJECTED = "{{ lookup('pipe', 'touch /tmp/x') }}"
# An invalid value in a host's answer, and the resulting clause.
REFUSED: list[tuple[str, Answer, Answer, str]] = [
    ("llama_cpp_release", RELEASE, {"path": "relative"}, "path is 'relative'"),
    ("llama_cpp_release", RELEASE, {"path": "/a\n!touch /tmp/x"}, r"path is '/a\n!touch /tmp/x'"),
    ("llama_cpp_release", RELEASE, {"path": ["/a"]}, "path is a list, expected a text"),
    ("llama_cpp_release", RELEASE, {"path": "/" + "a" * 5000}, "path has 5001 characters, expected 4096 at most"),
    ("llama_cpp_release", RELEASE, {"build": "../../etc"}, "build is '../../etc'"),
    ("llama_cpp_release", RELEASE, {"takes": "b1;touch"}, "takes is 'b1;touch'"),
    ("llama_cpp_release", RELEASE, {"fingerprint": "AB" * 32}, "fingerprint is 'AB"),
    (
        "llama_cpp_release",
        RELEASE,
        {"fingerprint_parts": {str(n): n for n in range(3000)}},
        "expected that many at most",
    ),
    ("llama_cpp_release", RELEASE, {"would_compile": "yes"}, "would_compile is 'yes', expected true or false"),
    ("llama_cpp_release", RELEASE, {"changed": 1}, "changed is 1, expected true or false"),
    ("llama_cpp_release", RELEASE, {"packed": {"path": "/a\x1b[2J"}}, r"packed.path is '/a\x1b"),
    ("llama_server", SERVER, {"endpoint": "http://127.0.0.1:8080/'; touch /tmp/x; '"}, "endpoint is"),
    ("llama_server", SERVER, {"instance": "../x"}, "instance is '../x'"),
    ("llama_server", SERVER, {"generation": "3"}, "generation is '3'"),
]


@pytest.mark.parametrize(("module", "honest", "change", "clause"), REFUSED)
def test_one_wrong_value_is_one_sentence(module: str, honest: Answer, change: Answer, clause: str) -> None:
    assert admit(module, honest, "h1") == honest
    refused = admit(module, {**honest, **change}, "h1")
    assert set(refused) == {"failed", "msg", "problems"}
    assert refused["failed"] is True
    assert refused["msg"].startswith(f"host h1: expected an answer of the module {module}, found its answer.")
    assert clause in refused["msg"]
    assert refused["msg"].isprintable()
    assert len(refused["problems"]) == 1


def test_the_plan_of_a_packed_release_knows_only_the_digits_in_its_name() -> None:
    plan = {**RELEASE, "fingerprint": "0c1e57098a3f", "fingerprint_parts": {}}
    assert admit("llama_cpp_release", plan, "h1") == plan


@pytest.mark.parametrize("name", ["path", "would_change", "fingerprint_parts", "takes"])
def test_an_answer_without_what_the_play_uses_is_none(name: str) -> None:
    refused = admit("llama_cpp_release", {key: value for key, value in RELEASE.items() if key != name}, "h1")
    assert f"expected an answer of the module llama_cpp_release, found its answer has no {name}" in refused["msg"]


@pytest.mark.parametrize(
    "more",
    [
        {"ansible_facts": {"llama_cpp_controller_cache": "/etc", "ansible_connection": "local"}},
        {"add_host": {"host_name": "good", "host_vars": {"ansible_host": "evil"}}},
        {"add_group": "builders"},
        {"_ansible_notify": ["handler"], "ansible_stats": {"data": {"a": 1}}},
        {"fleet": ["x"], "turn_of": "other", "plan_only": True, "skipped": True, "unreachable": True, "results": []},
        {"results_file": "/etc/passwd", "started": 1, "ansible_job_id": "1"},
    ],
)
def test_what_would_make_ansible_do_something_does_not_pass(more: Answer) -> None:
    assert admit("llama_cpp_release", {**RELEASE, **more}, "h1") == RELEASE


def test_messages_and_warnings_come_printable() -> None:
    class Event:
        msg = "a\x1b[31mb"

    class Summary:
        event = Event()

    failed = {
        "failed": True,
        "msg": "no\x1b]0;x\x07 room",
        "problems": [{"found": "a\x1b[2J"}],
        "warnings": [Summary(), "c\x9b1m"],
        "exception": Summary(),
    }
    assert admit("llama_server", failed, "h1") == {
        "failed": True,
        "msg": r"no\x1b]0;x\x07 room",
        "problems": [{"found": r"a\x1b[2J"}],
        "warnings": [r"a\x1b[31mb", r"c\x9b1m"],
    }
    assert admit("llama_server", {"failed": True, "exception": Summary()}, "h1")["msg"] == r"a\x1b[31mb"


def test_a_failure_may_lack_the_rest_but_not_lie() -> None:
    assert admit("llama_cpp_release", {"failed": True, "msg": "x"}, "h1") == {"failed": True, "msg": "x"}
    assert "path is 'x'" in admit("llama_cpp_release", {"failed": True, "msg": "x", "path": "x"}, "h1")["msg"]
    assert (
        admit("llama_server", {**SERVER, "answer": INJECTED}, "h1")["answer"] == INJECTED
    )  # a text, which nothing evaluates


def test_what_looks_like_a_secret_of_the_module_may_be_hidden() -> None:
    hidden = {**SERVER, "instance": "********ault", "endpoint": "http://127.0.0.1:********", "state": "********ed"}
    assert admit("llama_server", hidden, "h1") == hidden


def test_the_start_of_a_job_names_a_file() -> None:
    job = {
        "started": 1,
        "finished": 0,
        "ansible_job_id": "j1.2",
        "results_file": "/root/.ansible_async/j1.2",
        "ansible_facts": {"a": 1},
    }
    assert host_results.admit_job(job, "h1") == {"started": 1, "results_file": "/root/.ansible_async/j1.2"}
    for name in ("/a\n/b", "/a\\b", "a/b", "", "-rf"):
        assert "results_file is" in host_results.admit_job({**job, "results_file": name}, "h1")["msg"]


KEYS = st.sampled_from([*RELEASE, *SERVER, "failed", "msg", "warnings", "instances", "checks"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS | st.text(), inner),
    max_leaves=20,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # because other tests keep the cores busy
@given(st.sampled_from(sorted(host_results.MODULES)), st.dictionaries(KEYS, JSON))
def test_no_answer_raises(module: str, answer: Answer) -> None:
    admitted = admit(module, answer, "h1")
    assert isinstance(admitted, dict)
    assert not {"ansible_facts", "add_host", "add_group"} & set(admitted)
