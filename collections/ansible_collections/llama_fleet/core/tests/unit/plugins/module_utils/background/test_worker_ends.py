# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test how a native build ends when its instance changes, stops or goes, or when it meets an unexpected error."""

from __future__ import annotations

import os
import shutil
import time
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.background import worker
from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.release import background
from ansible_collections.llama_fleet.core.plugins.module_utils.server.challenge import Challenge
from ansible_collections.llama_fleet.core.tests.unit import waiting

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.planning import plan
    from ansible_collections.llama_fleet.core.tests.unit.plugins.module_utils.background.conftest import Site, Values


def test_a_play_that_was_planned_before_the_switch_does_not_undo_it_for_good(site: Site) -> None:
    site.serves()
    published = site.instance.arguments["release"]
    native = site.builds(speeds=[130.0])
    assert site.work().outcome == background.SWITCHED
    site.play(release=published, ctx_size=300)
    assert site.running() == "3 published"
    assert (site.record.outcome, site.record.is_due(site.record.target)) == (background.OVERTAKEN, True)
    assert str(site.record) == "another release has taken the place of b1 native; the next run compares them again"
    assert site.work().outcome == background.SWITCHED
    assert site.running() == "4 native"
    # Other options with the native release change nothing about the record.
    site.play(release=native, ctx_size=400)
    assert (site.record.outcome, site.running()) == (background.SWITCHED, "5 native")


def test_a_play_that_fails_to_replace_the_native_release_leaves_the_record(site: Site) -> None:
    site.serves()
    site.builds(speeds=[130.0])
    record = site.work()
    newer = site.release("newer", "upstream", build="b2", crash="SIGILL")
    assert "back in service" in site.instance.bad(release=newer)
    assert (site.running(), site.record) == ("2 native", record)


def test_published_binaries_need_not_be_as_fast_as_the_native_release_that_they_replace(site: Site) -> None:
    site.serves(min_speed_ratio=0.9)
    site.builds(speeds=[130.0])
    assert site.work().outcome == background.SWITCHED
    site.play(release=site.release("newer", "upstream", build="b2", speeds=[100.0]))
    assert site.running() == "3 newer"
    # Two published releases are compared as before.
    slow = site.release("slow", "upstream", build="b3", speeds=[50.0])
    assert "less than llama_server_min_speed_ratio" in site.instance.bad(release=slow)
    assert site.running() == "3 newer"


def test_an_unexpected_error_is_a_failure_and_no_reason_to_start_again_at_once(site: Site) -> None:
    site.serves()
    site.builds()

    def run(_challenge: Challenge) -> typing.NoReturn:
        raise ValueError("a value of no kind")

    site.monkeypatch.setattr(Challenge, "run", run)
    record = site.work()
    assert (record.outcome, record.is_due(record.target)) == (background.FAILED, False)
    assert str(record) == "b1 native could not be built: ValueError: a value of no kind"
    # What it was given is not needed any more.
    assert not (site.instance.folder / worker.FOLDER / worker.JOB).exists()


@pytest.mark.parametrize("state", ["stopped", "absent"])
def test_a_build_ends_with_its_instance_and_writes_nothing_after_it(site: Site, state: str) -> None:
    site.serves()
    builder = site.instance.place / "builder"
    release = site.builds(speeds=[130.0])

    def build(_caller: plan.Planned) -> Values:
        builder.write_text(str(os.getpid()), encoding="utf-8")
        time.sleep(600)
        return {"path": release}

    site.provides(build)
    child = site.begin()
    waiting.until(lambda: builder.exists() and builder.read_text(encoding="utf-8"))
    assert site.instance.good(state=state)["changed"] is True
    site.end(child)
    assert not site.record.is_running
    waiting.until(lambda: processes.find(int(builder.read_text(encoding="utf-8"))) is None)
    assert site.instance.folder.exists() is (state == "stopped")
    assert site.instance.good(state=state)["changed"] is False


def test_a_build_whose_instance_is_gone_does_not_make_its_folder_again(site: Site) -> None:
    site.serves()
    site.builds()

    def run(challenge: Challenge) -> typing.NoReturn:
        shutil.rmtree(challenge.instance.options.folder)
        raise ValueError("it is gone")

    site.monkeypatch.setattr(Challenge, "run", run)
    site.end(site.begin())
    assert not site.instance.folder.exists()
