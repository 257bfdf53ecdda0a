# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run the stage of an instance, whatever is to become of it."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import checks as server_checks
from ansible_collections.llama_fleet.core.tests.unit.fakes import server as fake_server
from ansible_collections.llama_fleet.core.tests.unit.fakes.stage import Site, staged

if typing.TYPE_CHECKING:
    import pathlib

# A server outlives whoever started it.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")


@pytest.fixture
def site(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[Site]:
    with staged(tmp_path, monkeypatch) as made:
        yield made


def test_a_release_that_hangs_in_its_test_leaves_the_old_one_as_it_is(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = site.run()["pid"]
    monkeypatch.setattr(server_checks, "TEST_LIMIT", 0.5)
    with pytest.raises(
        ProblemError,
        match=(
            r"^llama-server: expected .*, found no answer to its configuration test within 0.5 s, which "
            r"is no fault of the options"
        ),
    ):
        site.run(release=fake_server.release(site.folder, "stuck", hangs_in_its_test=True))
    assert (site.servers(), site.systemd.asked) == ([pid], [])


def test_a_mistake_in_an_option_keeps_nobody_from_a_stop(site: Site) -> None:
    site.run()
    with pytest.raises(ProblemError, match="llama_server_port"):
        site.run(port=70_000)
    with pytest.raises(ProblemError, match="llama_server_stop_timeout"):
        site.run(state="stopped", stop_timeout=-1)
    assert site.run(state="stopped", port=70_000)["changed"]


def test_what_a_killed_run_left_is_removed_wherever_a_runtime_writes(site: Site) -> None:
    (site.folder / "containers").mkdir()
    (site.folder / "run").mkdir()
    names = {
        site.units: ".llama-fleet-default.service.x.new",
        site.folder / "containers": ".llama-fleet-default.container.x.new",
        site.folder / "run": ".default.json.x.new",
    }
    for folder, name in names.items():
        (folder / name).touch()
        (folder / ".another.x.new").touch()
    site.run(state="stopped", dry=True)
    assert all((folder / name).exists() for folder, name in names.items()), "a look removes nothing"
    site.run(state="stopped")
    assert [(folder / name).exists() for folder, name in names.items()] == [False] * 3
    assert all((folder / ".another.x.new").exists() for folder in names)
