# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the choice of the server for a conversation."""

import pathlib

import pytest

from ansible_collections.llama_fleet.core.tests.unit.fakes.instance import KEY, Site
from llama_fleet.chat import target
from llama_fleet.chat.server import Target, UnreachableError
from llama_fleet.errors import FleetError, UsageError


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://h:1/", "http://h:1"),
        ("https://h/v1/", "https://h"),
        ("http://[::1]:8080/api/v1", "http://[::1]:8080/api"),
    ],
)
def test_a_url_is_taken_with_and_without_its_version(url: str, base: str) -> None:
    assert target.of_url(url, "k", "c.pem", {}) == Target(base, "k", "c.pem")


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8080", "ftp://h", "http://", "http://h:99999", "http://u:p@h", "http://h/a b", "http://h\x1b"],
)
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"^--url: expected http://HOST:PORT"):
        target.of_url(url, environment={})


@pytest.mark.parametrize(("given", "environment", "key"), [("a", "b", "a"), ("", "b", "b"), ("", "", "")])
def test_a_key_that_is_given_wins_over_the_environment(given: str, environment: str, key: str) -> None:
    assert target.of_url("http://h", given, environment={"LLAMA_API_KEY": environment}).key == key


@pytest.fixture
def site(tmp_path: pathlib.Path) -> Site:
    return Site(tmp_path, port=8123)


def of(site: Site, name: str = "", key: str = "", **environment: str) -> Target:
    return target.of_instance(site.folder / "etc", site.folder / "run", name, key, environment)


@pytest.mark.parametrize("name", ["", "chat"])
def test_the_only_instance_is_asked_with_its_own_key(site: Site, name: str) -> None:
    site.extra = {"extra_options": {"api-prefix": "/api"}}
    site.write(key=True)
    with site.running() as process:
        found = of(site, name)
        assert (found.base, found.key) == ("http://127.0.0.1:8123/api", KEY)
        assert found.trust
        assert found.trust.process == process
        assert of(site, key="mine").key == "mine"
        assert of(site, LLAMA_API_KEY="theirs").key == "theirs"


def test_without_an_instance_the_fix_starts_one(site: Site) -> None:
    with pytest.raises(FleetError, match=r"There is no instance below .*/etc\. Fix: Start it with './llama-fleet up'"):
        of(site)


def test_an_instance_that_does_not_run_is_unreachable(site: Site) -> None:
    site.write()
    with pytest.raises(UnreachableError, match=r"The instance chat does not run\. Fix: "):
        of(site)


def test_one_of_several_is_named(site: Site) -> None:
    site.write()
    other = site.instance.with_name("embed")
    other.mkdir()
    with pytest.raises(UsageError, match=r"has the instances chat, embed\. Fix: Name one with --instance"):
        of(site)
    other.rename(other.with_name("default"))
    with pytest.raises(FleetError, match="The instance default has no generation"):
        of(site)


@pytest.mark.parametrize("name", ["../x", "other", "A b"])
def test_another_name_is_refused(site: Site, name: str) -> None:
    site.write()
    with pytest.raises(UsageError, match=r"^--instance: expected "):
        of(site, name)


def test_what_this_user_cannot_read_is_told(site: Site) -> None:
    (site.write() / "manifest.json").write_text("[", encoding="ascii")
    with pytest.raises(FleetError, match=r"generation 1 cannot be read by this user: .*Fix: Run the command as root"):
        of(site)
