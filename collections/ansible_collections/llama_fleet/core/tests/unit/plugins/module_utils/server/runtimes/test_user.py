# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import handover
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import user as server_user
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.registry import named
from ansible_collections.llama_fleet.core.tests.unit.fakes.server_options import WANTED

if typing.TYPE_CHECKING:
    import pathlib


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "may_become_others", lambda: True)
    monkeypatch.setattr(handover, "blocked", lambda _paths: "")


def test_the_user_is_the_one_of_the_instances_container(monkeypatch: pytest.MonkeyPatch) -> None:
    assert server_user.number(WANTED) == server_mounts.container_user(WANTED) > 60_000
    assert server_user.remarks(WANTED) == []
    monkeypatch.setattr(handover, "may_become_others", lambda: False)
    assert (server_user.number(WANTED), server_user.remarks(WANTED)) == (0, [])


def test_what_is_in_the_way_is_told_where_nothing_else_keeps_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def blocked(paths: typing.Iterable[str]) -> str:
        asked.extend(paths)
        return "/root/model, where /root is closed to others"

    monkeypatch.setattr(handover, "blocked", blocked)
    assert server_user.number(WANTED) == 0
    assert {WANTED.model, str(WANTED.server)} <= set(asked)
    for runtime in ("process", "exec"):
        (remark,) = named(runtime).remarks(WANTED)
        assert remark.startswith(
            "llama-server runs as root, for a user without rights cannot read /root/model, where /root is closed to "
            "others."
        )
    assert [named(name).remarks(WANTED) for name in ("systemd", "quadlet", "docker")] == [[], [], []]


@pytest.mark.parametrize(
    ("text", "port", "wrong"),
    [("1024", 80, True), ("80", 80, False), ("0", 1, False), ("1024", 8080, False), ("x", 1023, True)],
)
def test_a_port_that_only_root_may_have_is_a_problem(tmp_path: pathlib.Path, text: str, port: int, wrong: bool) -> None:
    (tmp_path / "start").write_text(text, encoding="ascii")
    found = server_user.port_problems(dataclasses.replace(WANTED, port=port), tmp_path / "start")
    assert [problem.subject for problem in found] == (["llama_server_port"] if wrong else [])
