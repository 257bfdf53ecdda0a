# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The lock of the tools that hosts install: of today's tools, whole, and with a wheel for each supported host.

How old all locks are.
"""

from __future__ import annotations

import importlib.metadata
import re

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags, parse_tag
from packaging.utils import canonicalize_name

from ansible_collections.llama_fleet.core.plugins.module_utils.tools import build_pins, hub_pins
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv as tools_venv
from tests.harness import pins

ENVIRONMENTS = pins.environments()
LOCKS = {"build_pins": build_pins.PINS, "hub_pins": hub_pins.PINS}
RELEASES = [release for lock in LOCKS.values() for release in lock.releases]
WHEELS = {name: wheels for lock in LOCKS.values() for name, wheels in lock.wheels.items()}


def names(environment: dict[str, str]) -> dict[str, str]:
    """Return the projects and versions that pip installs from the lock on such a host."""
    there = [
        (name, version) for name, version, marker in RELEASES if not marker or Marker(marker).evaluate(environment)
    ]
    assert len(there) == len(dict(there)), "a project has two versions on one host"
    return dict(there)


def fitting(environment: dict[str, str]) -> set[Tag]:
    """Return the wheel tags that pip accepts on Ubuntu 22.04, which has the oldest C library of the supported hosts."""
    version = tuple(map(int, environment["python_version"].split(".")))
    machine = environment["platform_machine"]
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(35, 16, -1)] + [
        f"manylinux2014_{machine}",
        f"linux_{machine}",
    ]
    return {*cpython_tags(version, platforms=platforms), *compatible_tags(version, platforms=platforms)}


@pytest.mark.parametrize("name", LOCKS)
def test_it_is_of_these_tools(name: str) -> None:
    _what, roots = pins.LOCKS[name]
    assert set(LOCKS[name].brings) == set(roots), "run python -m tests.harness.pins"
    for root in roots:
        project, _equals, version = root.partition("==")
        assert (canonicalize_name(project), version, "") in LOCKS[name].releases


@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS)
def test_every_release_has_sums_and_none_is_left_over(lock: tools_venv.Pins) -> None:
    assert set(lock.wheels) == {f"{name}=={version}" for name, version, _marker in lock.releases}
    assert {name for brought in lock.brings.values() for name in brought} == {
        name for name, _version, _marker in lock.releases
    }
    sums = [sha256 for wheels in lock.wheels.values() for sha256 in wheels.values()]
    assert all(re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in sums)
    assert all(lock.wheels.values())


@pytest.mark.parametrize(
    "environment",
    ENVIRONMENTS,
    ids=lambda environment: f"{environment['python_version']} {environment['platform_machine']}",
)
def test_each_supported_host_finds_a_wheel_of_everything(environment: dict[str, str]) -> None:
    fits = fitting(environment)
    without = [
        f"{name}=={version}"
        for name, version in names(environment).items()
        if not any(fits & parse_tag(tag) for tag in WHEELS[f"{name}=={version}"])
    ]
    assert without == []


@pytest.mark.parametrize(
    "environment",
    ENVIRONMENTS,
    ids=lambda environment: f"{environment['python_version']} {environment['platform_machine']}",
)
def test_everything_that_the_hubs_client_needs_is_there(environment: dict[str, str]) -> None:
    there, wanted = names(environment), ["huggingface-hub"]
    for name in wanted:  # grows as it goes
        assert name in there
        try:
            needs = [Requirement(text) for text in importlib.metadata.requires(name) or []]
        except importlib.metadata.PackageNotFoundError:  # of another Python than this one
            continue
        further = [
            canonicalize_name(need.name) for need in needs if need.marker is None or need.marker.evaluate(environment)
        ]
        wanted += [name for name in further if name not in wanted]
    assert len(wanted) > 10


@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS)
def test_what_pip_is_given_names_each_once_with_its_sums(lock: tools_venv.Pins) -> None:
    text = tools_venv.lock_of(lock.brings, lock)
    assert re.findall(r"^(\S+)==(\S+)", text, re.MULTILINE) == [
        (name, version) for name, version, _marker in lock.releases
    ]
    assert text.count("--hash=sha256:") == sum(len(set(wheels.values())) for wheels in lock.wheels.values())
