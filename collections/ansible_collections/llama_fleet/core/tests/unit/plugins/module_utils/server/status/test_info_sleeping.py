# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test that looking at a server that may sleep neither wakes it nor keeps it awake."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.tests.unit.fakes.instance import Site
from ansible_collections.llama_fleet.core.tests.unit.fakes.metrics_server import healthy, serving

if typing.TYPE_CHECKING:
    import pathlib


@pytest.fixture
def site(tmp_path: pathlib.Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"command": ["llama-server", "--sleep-idle-seconds", "300"]},
        {"environment": {"LLAMA_ARG_SLEEP_IDLE_SECONDS": "300"}},
    ],
)
def test_one_that_sleeps_stays_asleep(site: Site, settings: dict[str, typing.Any]) -> None:
    with serving(healthy()) as fake:
        fake.pages["/props"] = (200, '{"is_sleeping": true}')
        site.port = fake.port
        site.write(**settings)
        with site.running():
            facts = site.facts()
    assert (facts["state"], facts["unknown"], fake.asked) == ("sleeping", [], ["/health", "/props"])


@pytest.mark.parametrize("seconds", ["-1", ""])
def test_one_that_never_sleeps_tells_its_slots(site: Site, seconds: str) -> None:
    with serving(healthy()) as fake:
        site.port = fake.port
        site.write(command=["llama-server", *(["--sleep-idle-seconds", seconds] if seconds else [])])
        with site.running():
            facts = site.facts()
    assert (facts["state"], facts["slots"], fake.asked) == ("running", 3, ["/health", "/slots", "/metrics"])
