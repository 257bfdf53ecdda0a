# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test what doctor asks llama.cpp's release API, and what it makes of the answers."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.action import preflight_info
from ansible_collections.llama_fleet.core.plugins.plugin_utils import newest_versions
from ansible_collections.llama_fleet.core.plugins.plugin_utils.upstream_checks import versions_of, with_binaries
from ansible_collections.llama_fleet.core.tests.unit.fakes.preflight import variables
from ansible_collections.llama_fleet.core.tests.unit.fakes.release_api import REPOSITORY, ReleaseApi

if typing.TYPE_CHECKING:
    import pathlib

Values = dict[str, typing.Any]
LATEST = f"{REPOSITORY}/releases?per_page=10"
RECORD = {"build": "b1000", "nightly": "b1000", "source": "upstream:latest", "origin": "upstream", "why": "it is asked"}


@pytest.fixture
def api(old_api: ReleaseApi) -> ReleaseApi:
    old_api.nightly("b1000", x64=b"programs")
    return old_api


def instance(api: ReleaseApi, folder: pathlib.Path, **more: typing.Any) -> Values:
    places = {"llama_cpp_upstream_api": api.api, "llama_cpp_upstream_url": api.downloads}
    return variables(folder, **{"llama_cpp_source": "upstream:latest", **places, **more})


@pytest.mark.parametrize("source", ["upstream:latest", "upstream:stable", "upstream:v0.8.0", "upstream:b999"])
def test_binaries_of_a_channel_or_a_version_are_asked_for(api: ReleaseApi, tmp_path: pathlib.Path, source: str) -> None:
    given, checks = with_binaries(instance(api, tmp_path, llama_cpp_source=source), str(tmp_path))
    assert (f'"{"b1000" if source.endswith("latest") else "b999"}"' in given["llama_cpp_published"], checks) == (
        True,
        [],
    )
    assert not (tmp_path / "upstream.lock").exists(), "looking pins nothing"


def test_a_release_of_another_source_asks_for_nothing(api: ReleaseApi, tmp_path: pathlib.Path) -> None:
    given = instance(api, tmp_path, llama_cpp_source="git+https://example.com/fork")
    assert with_binaries(given, str(tmp_path)) == (given, [])
    assert api.asked == []


@pytest.mark.parametrize(
    ("source", "severity", "words"),
    [
        ("upstream:latest", "error", "no request left before 2026-11-30 01:00:00 UTC"),
        ("git+https://github.com/ggml-org/llama.cpp", "ok", "; a host without a release builds it"),
    ],
)
def test_without_an_answer_a_host_that_can_build_is_fine(
    api: ReleaseApi, tmp_path: pathlib.Path, source: str, severity: str, words: str
) -> None:
    api.instead[LATEST] = (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1796000400"}, b"")
    given = instance(api, tmp_path, llama_cpp_source=source)
    after, (check,) = with_binaries(given, str(tmp_path))
    assert (check.code, check.severity, words in check.found) == ("source", severity, True)
    assert not after.get("llama_cpp_published")


def test_a_changed_digest_is_an_error_of_doctor_too(api: ReleaseApi, tmp_path: pathlib.Path) -> None:
    lock = tmp_path / "upstream.lock"
    lock.write_text(f"# pin b1000 commit {'0' * 40}\n", encoding="utf-8")
    _given, (check,) = with_binaries(instance(api, tmp_path), str(tmp_path))
    assert (check.severity, "as " + str(lock) in check.wanted) == ("error", True)


def test_each_instance_has_its_version(api: ReleaseApi) -> None:
    newest = newest_versions.ask(api.api, api.downloads)
    checks = versions_of(["a", "b"], {"a": RECORD}, newest)
    assert [check.found for each in checks.values() for check in each] == [
        (
            "b1000, llama.cpp's own binaries, because it is asked; 1 build ahead of the newest stable version v0.8.0 "
            "(b999), the same as the newest nightly build b1000"
        ),
        "no release yet; newest stable version v0.8.0 (b999), newest nightly build b1000",
    ]
    (offline,) = versions_of(["a"], {"a": RECORD}, newest_versions.Newest(unknown="no answer"))["a"]
    assert (offline.severity, offline.found) == (
        "ok",
        (
            "b1000, llama.cpp's own binaries, because it is asked; newest stable version and nightly build unknown, "
            "because no answer"
        ),
    )


CHECK = {"code": "port", "severity": "ok", "subject": "llama_server_port", "found": "free", "wanted": "", "fix": ""}


def test_the_controllers_checks_join_those_of_the_host(api: ReleaseApi, tmp_path: pathlib.Path) -> None:
    shown = {name: instance(api, tmp_path) for name in ("a", "b")}
    bad = {"a": [preflight_info.Check("source", "error", "x", "y", "z")]}
    result = preflight_info._with_versions({"checks": [CHECK], "releases": {"a": RECORD, "b": RECORD}}, shown, bad)
    assert [(check["code"], check["subject"]) for check in result["checks"]] == [
        ("port", "llama_server_port"),
        ("source", "x"),
        ("version", "llama.cpp"),
    ]
    assert (result["errors"], len(result["problems"])) == (["x: expected z, found y."], 1)
    assert len(api.asked) == 3


def test_forks_are_not_compared_and_ask_for_nothing(api: ReleaseApi, tmp_path: pathlib.Path) -> None:
    shown = {"a": instance(api, tmp_path, llama_cpp_source="git+https://example.com/fork")}
    result = preflight_info._with_versions({"checks": []}, shown, {})
    assert [check["found"] for check in result["checks"]] == ["no release yet"]
    assert api.asked == []
