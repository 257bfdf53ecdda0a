# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.gate import GateError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.quadlet import QuadletRuntime
from ansible_collections.llama_fleet.core.tests.unit.fakes.engines import UNIT, Engines, generation

if typing.TYPE_CHECKING:
    import pathlib


@pytest.fixture
def quadlet(tmp_path: pathlib.Path) -> QuadletRuntime:
    return QuadletRuntime(
        tmp_path, UNIT, Engines(os.getpid()), tmp_path / "system", container_root=tmp_path / "containers"
    )


def test_a_container_file_is_written_and_reloads_only_when_it_changed(
    quadlet: QuadletRuntime, tmp_path: pathlib.Path
) -> None:
    engines = typing.cast("Engines", quadlet.run)
    wanted = generation(tmp_path / "1")
    assert (quadlet.settled(wanted), quadlet.starts_at_boot()) == (False, False)
    assert quadlet.start(wanted).pid == os.getpid(), "the server's process, not podman's"
    assert engines.told == ["systemctl daemon-reload", f"systemctl reset-failed {UNIT}", f"systemctl restart {UNIT}"]
    assert (tmp_path / "containers" / "llama-fleet-default.container").read_text(encoding="utf-8") == "[Container]\n"
    assert (quadlet.settled(wanted), quadlet.starts_at_boot(), quadlet.present()) == (True, True, True)
    engines.commands.clear()
    quadlet.start(wanted)
    assert "systemctl daemon-reload" not in engines.told
    for engines.reload, engines.loaded in ((True, True), (False, False)):
        engines.commands.clear()
        quadlet.start(wanted)
        assert "systemctl daemon-reload" in engines.told, "a run that was killed before it reloaded is made good"


def test_a_unit_of_the_runtime_before_does_not_hide_the_generated_one(
    quadlet: QuadletRuntime, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / UNIT).touch()
    quadlet.start(generation(tmp_path / "1"))
    assert os.listdir(tmp_path / "system") == []


def test_stopped_means_after_a_boot_as_well(quadlet: QuadletRuntime, tmp_path: pathlib.Path) -> None:
    engines = typing.cast("Engines", quadlet.run)
    quadlet.start(generation(tmp_path / "1"))
    engines.commands.clear()
    quadlet.stop()
    engines.pid = 0
    assert engines.told == [f"systemctl stop {UNIT}", f"systemctl reset-failed {UNIT}"]
    assert (quadlet.starts_at_boot(), quadlet.present()) == (False, False)
    quadlet.remove()
    assert engines.told[-1] == "systemctl daemon-reload", "the unit that was made of the file is gone, too"
    engines.loaded = False
    engines.commands.clear()
    quadlet.remove()
    assert engines.told == [], "nothing is left to forget"


@pytest.mark.parametrize(
    ("engines", "words"),
    [
        (Engines(status=1), "llama-server ended with exit status 1"),
        (Engines(status=132), "SIGILL: this release uses instructions"),
        (Engines(loaded=False), "podman's generator made no unit of .*: .*unsupported key"),
    ],
)
def test_a_container_that_does_not_start_says_why(engines: Engines, words: str, tmp_path: pathlib.Path) -> None:
    runtime = QuadletRuntime(tmp_path, UNIT, engines, tmp_path / "system", container_root=tmp_path / "containers")
    with pytest.raises(GateError, match=words):
        runtime.start(generation(tmp_path / "1"))
