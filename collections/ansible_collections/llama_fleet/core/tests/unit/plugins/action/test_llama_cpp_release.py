# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test which hosts build and which take a release, and from whom.

tests/hostile plays a hostile host, and molecule tests real connections.
"""

from __future__ import annotations

import json
import pathlib
import typing

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.parsing.dataloader import DataLoader

from ansible_collections.llama_fleet.core.plugins.action import llama_cpp_release
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import OFFERED
from ansible_collections.llama_fleet.core.plugins.plugin_utils.progress_action import ProgressAction
from ansible_collections.llama_fleet.core.tests.unit.fakes import shared as fake_shared
from ansible_collections.llama_fleet.core.tests.unit.fakes.shared import NAME, PARTS, PLANNED

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.plugin_utils.sharing import Sharing

Arguments = dict[str, typing.Any]
GROUPS = {"all": ["h1", "h2", "h3"], "builders": ["h1", "h2"], "lab": ["h3"]}
BUILDERS = ["builders"]


class Connection:
    """A fake connection that sends the host's packed release for any path."""

    def __init__(self, transport: str, content: bytes | None) -> None:
        self.transport = transport
        self.content = content
        self.asked: list[str] = []

    def fetch_file(self, path: str, local: str) -> None:
        self.asked.append(path)
        if self.content is None:
            raise AnsibleConnectionFailure("gone\x1b[2J")
        with open(local, "wb") as file:
            file.write(b"-----BEGIN SSH SIGNATURE-----" if path.endswith(".sig") else self.content)


class Host(llama_cpp_release.ActionModule):
    """A host reduced to the steps from plan to release. Entries of ``says`` replace its true answers."""

    def __init__(
        self,
        name: str,
        cache: pathlib.Path,
        content: bytes | None,
        transport: str = "ssh",
        git: bool = True,
        **says: Arguments,
    ) -> None:
        self._connection = Connection(transport, content)
        self._loader = DataLoader()
        self.name, self.git, self.says = name, git, says
        self.arguments: Arguments = {**fake_shared.ARGUMENTS, "controller_cache": str(cache), "builders": BUILDERS}
        self.did: list[str] = []
        self.plans = 0

    def run_it(self, **variables: typing.Any) -> Arguments:
        hostvars = {name: {"ansible_host": f"192.0.2.{name[1:]}"} for name in GROUPS["all"]}
        task_vars = {"inventory_hostname": self.name, "groups": GROUPS, "hostvars": hostvars, **variables}
        return self._run_in_background(self._arguments(task_vars), task_vars)

    def module(self, arguments: Arguments) -> Arguments:
        assert "offered" not in arguments
        if arguments.get("state") == "packed":
            packed = {
                "path": "/etc/passwd\n!touch x",
                "sha256": "",
                "size": len(self._connection.content or b"x"),
                "signed": True,
            }
            return {"changed": True, "packed": {**packed, **self.says.get("packed", {})}}
        self.did.append("built")
        self.known = arguments.get("known", "")
        return fake_shared.result(**self.says.get("built", {}))

    def plan(self, arguments: Arguments, offered: str) -> Arguments:
        self.plans += 1
        self.git = self.git or arguments.get("install_git", False)
        taken = self.git and NAME in (json.loads(offered)["releases"] if offered else {})
        found = {"takes": NAME, "taken_from": OFFERED} if taken else {"takes": "", "taken_from": ""}
        return {
            "would_compile": not taken,
            "fingerprint_parts": PLANNED if self.git else {},
            **found,
            **self.says.get("planned", {}),
        }

    def bring(self, name: str, sharing: Sharing) -> Arguments:
        self.did.append(f"took {name} of {sharing.offers()[name].builder.host}")
        return {"changed": True}


@pytest.fixture(autouse=True)
def without_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProgressAction, "_arguments", lambda self, _task_vars: dict(self.arguments))
    monkeypatch.setattr(
        ProgressAction, "_run_in_background", lambda self, arguments, _task_vars: self.module(arguments)
    )
    monkeypatch.setattr(ProgressAction, "_shown_host", lambda self, _task_vars: self.name)
    monkeypatch.setattr(Host, "_plan", lambda self, arguments, offered, _task_vars: self.plan(arguments, offered))
    monkeypatch.setattr(Host, "_bring", lambda self, _arguments, sharing, name, _task_vars: self.bring(name, sharing))
    monkeypatch.setattr(Host, "_low_level_execute_command", lambda _self, _command: None)


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(llama_cpp_release.display, "warning", told.append)
    return told


@pytest.fixture
def cache(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "releases"


@pytest.fixture
def content(tmp_path: pathlib.Path) -> bytes:
    return fake_shared.pack(tmp_path / "packed").read_bytes()


def test_among_builders_the_first_builds_and_the_others_take(cache: pathlib.Path, content: bytes) -> None:
    hosts = [Host(name, cache, content) for name in ("h1", "h2", "h3")]
    for host in hosts:
        host.run_it()
    assert [host.did for host in hosts] == [["built"], [f"took {NAME} of h1"], [f"took {NAME} of h1"]]
    (asked,) = hosts[0]._connection.asked
    assert pathlib.PurePosixPath(asked).name == f"{NAME}.tar.gz"
    assert str(pathlib.PurePosixPath(asked).parent).startswith("/tmp/llama-fleet-")


def test_a_host_that_is_no_builder_hands_nothing_on(cache: pathlib.Path, content: bytes) -> None:
    lab, first = Host("h3", cache, content), Host("h1", cache, content)
    for host in (lab, first):
        host.run_it()
    assert (lab.did, first.did) == (["built"], ["built"])
    assert lab._connection.asked == []


@pytest.mark.parametrize("builders", [[], ["h2"], ["lab"], ["all:!h1"]])
def test_a_host_takes_nothing_of_one_that_it_does_not_name(
    cache: pathlib.Path, content: bytes, builders: list[str]
) -> None:
    Host("h1", cache, content).run_it()
    host = Host("h2", cache, content)
    host.arguments["builders"] = builders
    host.run_it()
    assert host.did == ["built"]


def test_by_default_nothing_comes_to_the_controller(cache: pathlib.Path, content: bytes) -> None:
    host = Host("h1", cache, content)
    del host.arguments["builders"]
    host.run_it()
    assert (host.did, host._connection.asked, cache.exists()) == (["built"], [], False)


@pytest.mark.parametrize("signed", [True, False])
def test_who_trusts_signers_takes_what_its_builder_signed_whoever_that_is(
    cache: pathlib.Path, content: bytes, signed: bool
) -> None:
    first, second = Host("h1", cache, content), Host("h2", cache, content)
    first.arguments |= {"builders": [] if signed else BUILDERS, "signing_key": "/root/key" if signed else ""}
    second.arguments |= {"builders": [] if signed else BUILDERS, "trusted_signers": ["ssh-ed25519 AAAA"]}
    first.run_it()
    second.run_it()
    assert second.did == [f"took {NAME} of h1"] if signed else ["built"]


def test_a_host_without_git_takes_what_another_has_built(cache: pathlib.Path, content: bytes) -> None:
    first, second = Host("h1", cache, content, git=False), Host("h2", cache, content, git=False)
    first.run_it()
    second.run_it()
    assert (first.did, second.did) == (["built"], [f"took {NAME} of h1"])
    assert (first.plans, second.plans) == (1, 1)


class Templar:
    """A templar of variables that are no templates."""

    def template(self, value: object) -> object:
        return value


@pytest.mark.parametrize(
    ("changes", "plans"),
    [
        ({}, 0),
        ({"fingerprint_parts": {}}, 1),  # git was missing
        ({"path": "relative"}, 1),  # no answer of the module
        ({"commit": "--upload-pack=x"}, 1),
    ],
)
def test_the_plan_of_the_play_is_the_only_one(
    cache: pathlib.Path, content: bytes, changes: Arguments, plans: int
) -> None:
    first = Host("h1", cache, content)
    first._templar = Templar()
    plan = {"path": "", "build": "b77", "fingerprint": "", "would_change": True, "would_compile": True}
    rest = {"fingerprint_parts": PLANNED, "takes": "", "taken_from": "", "commit": "0" * 40}
    first.run_it(**{llama_cpp_release.PLAN: {**plan, **rest, **changes}})
    assert (first.plans, first.did) == (plans, ["built"])
    refused = plans and "fingerprint_parts" not in changes
    parts = {"parts": changes.get("fingerprint_parts", PLANNED)}
    assert first.known == ("" if refused else json.dumps({"commit": "0" * 40, "build": "b77", "nightly": "", **parts}))
    second = Host("h2", cache, content)
    second._templar = Templar()
    second.run_it(**{llama_cpp_release.PLAN: {**plan, **rest}})
    assert (second.plans, second.did) == (0, [f"took {NAME} of h1"])


def test_a_host_plans_once_also_where_another_builds_meanwhile(
    cache: pathlib.Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Host("h1", cache, content), Host("h2", cache, content)
    turn = Host._turn

    def late(host: Host, *arguments: typing.Any) -> typing.Any:
        if host is second:
            first.run_it()
        return turn(host, *arguments)

    monkeypatch.setattr(Host, "_turn", late)
    second.run_it()
    assert (first.did, second.did) == (["built"], [f"took {NAME} of h1"])
    assert (first.plans, second.plans) == (1, 1)


def test_a_host_that_has_its_release_does_no_more_than_plan(cache: pathlib.Path, content: bytes) -> None:
    host = Host("h1", cache, content, planned={"would_compile": False, "would_change": False})
    assert host.run_it()["would_change"] is False
    assert (host.did, host.plans) == ([], 1)
    other = Host("h1", cache, content, planned={"would_compile": False, "would_change": True})
    other.run_it()
    assert (other.did, other.plans) == (["built"], 1)


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ({"built": {"fingerprint": "ef" * 32}}, "a fingerprint that does not match its parts"),
        (
            {"built": {"fingerprint_parts": {**PARTS, "source": "cd" * 32}}},
            "a fingerprint that does not match its parts",
        ),
        ({"packed": {"size": 1}}, "is more than the 1 bytes that the host announced"),
        ({"packed": {"size": "7"}}, "the size of its packed release is '7'"),
    ],
)
def test_a_lie_is_told_and_nothing_of_it_is_kept(
    cache: pathlib.Path, content: bytes, says: Arguments, reason: str, warnings: list[str]
) -> None:
    first, second = Host("h1", cache, content, **says), Host("h2", cache, content)
    first.run_it()
    second.run_it()
    (told,) = warnings
    assert told.startswith("The release of h1 is not shared with other hosts: ")
    assert reason in told
    assert told.isprintable()
    assert second.did == ["built"]


@pytest.mark.parametrize("sends", [b"no archive", None])
def test_a_build_that_cannot_be_shared_is_as_good(
    cache: pathlib.Path, content: bytes, sends: bytes | None, warnings: list[str]
) -> None:
    first, second = Host("h1", cache, sends), Host("h2", cache, content)
    assert first.run_it()["changed"]
    second.run_it()
    assert (second.did, len(warnings)) == (["built"], 1)
    assert warnings[0].isprintable()


def test_where_the_first_fails_the_second_builds(cache: pathlib.Path, content: bytes) -> None:
    first, second = Host("h1", cache, content, built={"failed": True}), Host("h2", cache, content)
    assert first.run_it()["failed"]
    second.run_it()
    assert second.did == ["built"]


@pytest.mark.parametrize(
    "change", [{"transport": "local"}, {"arguments": {"controller_cache": ""}}, {"arguments": {"method": "source"}}]
)
def test_who_shares_nothing_builds(cache: pathlib.Path, content: bytes, change: Arguments) -> None:
    Host("h1", cache, content).run_it()
    host = Host("h2", cache, content, transport=change.get("transport", "ssh"))
    host.arguments.update(change.get("arguments", {}))
    host.run_it()
    assert host.did == ["built"]
