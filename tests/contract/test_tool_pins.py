# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The lock of the tools that hosts install: of today's tools, whole, and with a wheel for each supported host.

How old all locks are.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import re
import typing

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags, parse_tag
from packaging.utils import canonicalize_name

from ansible_collections.llama_fleet.core.plugins.module_utils.tools import pins as tool_pins
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv as tools_venv
from tests.harness import locks, pins

if typing.TYPE_CHECKING:
    import pathlib

ENVIRONMENTS = pins.environments()


def names(environment: dict[str, str]) -> dict[str, str]:
    """Return the projects and versions that pip installs from the lock on such a host."""
    there = [
        (name, version)
        for name, version, marker in tool_pins.PINS
        if not marker or Marker(marker).evaluate(environment)
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


def test_it_is_of_these_tools() -> None:
    assert set(tool_pins.BRINGS) == set(pins.ROOTS), "run python -m tests.harness.pins"
    for root in pins.ROOTS:
        name, _equals, version = root.partition("==")
        assert (canonicalize_name(name), version, "") in tool_pins.PINS


def test_every_release_has_sums_and_none_is_left_over() -> None:
    assert set(tool_pins.WHEELS) == {f"{name}=={version}" for name, version, _marker in tool_pins.PINS}
    assert {name for brought in tool_pins.BRINGS.values() for name in brought} == {
        name for name, _version, _marker in tool_pins.PINS
    }
    sums = [sha256 for wheels in tool_pins.WHEELS.values() for sha256 in wheels.values()]
    assert all(re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in sums)
    assert all(tool_pins.WHEELS.values())


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
        if not any(fits & parse_tag(tag) for tag in tool_pins.WHEELS[f"{name}=={version}"])
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


def test_what_pip_is_given_names_each_once_with_its_sums() -> None:
    lock = tools_venv.lock_of(pins.ROOTS)
    assert re.findall(r"^(\S+)==(\S+)", lock, re.MULTILINE) == [
        (name, version) for name, version, _marker in tool_pins.PINS
    ]
    assert lock.count("--hash=sha256:") == sum(len(set(wheels.values())) for wheels in tool_pins.WHEELS.values())


def test_every_lock_says_its_day() -> None:
    found = locks.all_locks()
    assert len(found) >= 7
    assert [lock.name for lock in found if lock.day is None] == []


@pytest.mark.parametrize(
    ("days", "told"),
    [
        (0, ""),
        (180, ""),
        (181, "a.txt is 181 days old, expected at most 180. Fix: make it again, as its first lines say"),
    ],
)
def test_an_old_lock_is_told(days: int, told: str) -> None:
    day = dt.date(2026, 1, 1)
    assert locks.Lock("a.txt", day).problem(day + dt.timedelta(days)) == told


def test_a_lock_without_a_day_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements.txt").write_text("a==1\n", encoding="utf-8")
    (tmp_path / "requirements" / "b.txt").write_text("# Locked on 2026-02-03.\nb==1\n", encoding="utf-8")
    first, second, _tools = locks.all_locks(tmp_path)
    assert first.problem(dt.date(2026, 2, 3)) == "requirements.txt does not say '# Locked on YYYY-MM-DD.'"
    assert second == locks.Lock("requirements/b.txt", dt.date(2026, 2, 3))
