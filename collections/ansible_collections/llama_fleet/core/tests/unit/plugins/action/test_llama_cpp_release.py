# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who builds and who takes; what is sent over a connection is molecule's to test."""

from __future__ import annotations

import json
import typing

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.llama_fleet.core.plugins.action import llama_cpp_release
from ansible_collections.llama_fleet.core.plugins.module_utils import release_index
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp_request import OFFERED
from ansible_collections.llama_fleet.core.plugins.plugin_utils.progress_action import ProgressAction

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.plugin_utils.controller_cache import ControllerCache

NAME = "b1-aaaaaaaaaaaa"
PARTS = {"source": "ab" * 32}
ENTRY = release_index.Entry(NAME, "cd" * 32, 7, "ef" * 32, PARTS, signed=False, packed=1)
Arguments = dict[str, typing.Any]


class Connection:
    def __init__(self, transport: str) -> None:
        self.transport = transport


class Host(llama_cpp_release.ActionModule):
    """A host of which only the way from plan to release is asked."""

    def __init__(self, cache: pathlib.Path, transport: str = "ssh", builds: bool = True, fetched: bool = True, git: bool = True) -> None:
        self._connection = Connection(transport)
        self.arguments = {"controller_cache": str(cache)}
        self.builds = builds
        self.fetched = fetched
        self.git = git
        self.did: list[str] = []

    def run_it(self) -> Arguments:
        return self._run_in_background(dict(self.arguments), {"inventory_hostname": "h"})

    def module(self, arguments: Arguments) -> Arguments:
        self.did.append("built" if self.builds else "failed")
        assert "offered" not in arguments
        return {"changed": True} if self.builds else {"failed": True}

    def plan(self, arguments: Arguments, offered: str) -> Arguments:
        self.git = self.git or arguments.get("install_git", False)
        taken = self.git and NAME in offered
        found = {"takes": NAME, "taken_from": OFFERED} if taken else {"takes": "", "taken_from": ""}
        return {"would_compile": not taken, "fingerprint_parts": PARTS if self.git else {}, **found}

    def collect(self, cache: ControllerCache) -> None:
        if not self.fetched:
            raise AnsibleConnectionFailure("gone")
        with cache.adding() as folder:
            (folder / release_index.INDEX).write_text(json.dumps(release_index.render([ENTRY])), encoding="utf-8")

    def bring(self, name: str) -> Arguments:
        self.did.append(f"took {name}")
        return {"changed": True}


@pytest.fixture(autouse=True)
def without_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProgressAction, "_run_in_background", lambda self, arguments, _task_vars: self.module(arguments))
    monkeypatch.setattr(Host, "_plan", lambda self, arguments, offered, _task_vars: self.plan(arguments, offered))
    monkeypatch.setattr(Host, "_collect", lambda self, _arguments, cache, _task_vars: self.collect(cache))
    monkeypatch.setattr(Host, "_bring", lambda self, _arguments, _cache, name, _task_vars: self.bring(name))


@pytest.fixture
def cache(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "releases"


def test_the_first_host_builds_and_the_second_takes(cache: pathlib.Path) -> None:
    first, second = Host(cache), Host(cache)
    assert first.run_it() == second.run_it() == {"changed": True}
    assert (first.did, second.did) == (["built"], [f"took {NAME}"])


def test_a_host_without_git_takes_what_another_has_built(cache: pathlib.Path) -> None:
    first, second = Host(cache, git=False), Host(cache, git=False)
    assert first.run_it() == second.run_it() == {"changed": True}
    assert (first.did, second.did) == (["built"], [f"took {NAME}"])


def test_where_the_first_fails_the_second_builds(cache: pathlib.Path) -> None:
    first, second = Host(cache, builds=False), Host(cache)
    assert first.run_it() == {"failed": True}
    assert second.run_it() == {"changed": True}
    assert second.did == ["built"]


def test_a_build_that_cannot_be_shared_is_as_good(cache: pathlib.Path) -> None:
    first, second = Host(cache, fetched=False), Host(cache)
    assert first.run_it() == {"changed": True}
    assert second.run_it() == {"changed": True}
    assert second.did == ["built"]


@pytest.mark.parametrize("change", [{"transport": "local"}, {"arguments": {"controller_cache": ""}}, {"arguments": {"method": "source"}}])
def test_who_shares_nothing_builds(cache: pathlib.Path, change: Arguments) -> None:
    Host(cache).run_it()
    host = Host(cache, transport=change.get("transport", "ssh"))
    host.arguments.update(change.get("arguments", {}))
    host.run_it()
    assert host.did == ["built"]
