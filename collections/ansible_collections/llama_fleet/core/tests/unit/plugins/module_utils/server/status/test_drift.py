# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test that each deviation of an instance from its generation is reported in one sentence."""

from __future__ import annotations

import hashlib
import pathlib
import shutil
import sys
import typing

import pytest

from ansible_collections.llama_fleet.core.tests.unit.fakes.instance import UNIT, Site


@pytest.fixture
def site(tmp_path: pathlib.Path) -> Site:
    return Site(tmp_path)


Break = typing.Callable[[Site, pathlib.Path], object]
BREAKS: list[tuple[str, Break, str]] = [
    (
        "environment",
        lambda _site, path: (path / "environment").write_text("A=2\n"),
        "the file environment of generation 1 was changed by hand",
    ),
    ("key", lambda _site, path: (path / "api-key").unlink(), "the file api-key of generation 1 is missing"),
    ("release", lambda site, _path: shutil.rmtree(site.release), "the release is missing: {release}"),
    (
        "server",
        lambda site, _path: (site.release / "bin" / "llama-server").unlink(),
        "the release has no llama-server: {release}",
    ),
    (
        "other release",
        lambda site, _path: (site.release / "manifest.json").write_text('{"fingerprint": "g"}'),
        "{release} holds another release than generation 1 was made with",
    ),
    (
        "model",
        lambda site, _path: site.model.unlink(),
        "1 of the model's files is missing: tiny-Q4_K_M-00001-of-00002.gguf",
    ),
    ("short model", lambda site, _path: site.model.write_bytes(b"GGUF"), "the model's files have 44 bytes, not 80"),
    (
        "record",
        lambda site, _path: (site.folder / "run" / "chat.json").unlink(),
        "it runs, although it is recorded as stopped",
    ),
]


@pytest.mark.parametrize(("_what", "damage", "sentence"), BREAKS, ids=[what for what, _damage, _sentence in BREAKS])
def test_what_is_not_as_the_generation_says_is_one_sentence(
    site: Site, _what: str, damage: Break, sentence: str
) -> None:
    generation = site.write(key=True)
    with site.running():
        assert site.facts()["drift"] == []
        damage(site, generation)
        assert site.facts()["drift"] == [sentence.format(release=site.release)]


def test_a_generation_of_before_its_files_were_recorded_is_checked_as_well(site: Site) -> None:
    site.runtime = "systemd"
    site.systemd.enabled = False
    generation = site.write(files=None, unit_sha256=hashlib.sha256(UNIT.encode()).hexdigest(), environment={"A": "1"})
    site.stop()
    assert site.facts()["drift"] == []
    (generation / "unit").write_text("[Service]\n", encoding="utf-8")
    (generation / "environment").write_text("A=3\n", encoding="utf-8")
    assert site.facts()["drift"] == [
        f"the file {name} of generation 1 was changed by hand" for name in ("environment", "unit")
    ]


def test_another_generation_than_the_current_one_runs(site: Site) -> None:
    site.write(1)
    site.write(2, good=False)
    with site.running(1):
        assert site.facts()["drift"] == ["generation 2 has not passed its gate", "the process runs generation 1, not 2"]


def test_two_processes_are_one_too_many(site: Site) -> None:
    site.write()
    with site.running() as first, site.running(recorded=False) as second:
        pids = sorted([first.pid, second.pid])
        assert site.facts()["drift"] == [f"2 processes run, not one: {pids[0]}, {pids[1]}"]


def test_a_program_that_was_replaced_while_it_runs(site: Site) -> None:
    site.write()
    program = site.folder / "python"
    shutil.copy(pathlib.Path(sys.executable).resolve(), program)
    library = [str(pathlib.Path(sys.base_prefix))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONHOME", library[0])
        with site.running(program=str(program)):
            program.unlink()
            assert site.facts()["drift"] == ["the release's program was replaced while it runs"]
