# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test which existing release will do if no newer one is looked for."""

from __future__ import annotations

import json
import pathlib
import platform
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import options
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import plan as llama_cpp_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import update as llama_cpp_update
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import (
    ARGUMENTS,
    Request,
    parse_request,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import compiler
from ansible_collections.llama_fleet.core.plugins.module_utils.tools.compiler import BuildHost
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

URL = "https://example.com/llama.cpp"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NEWER = "9" * 40
SUM = "ab" * 32


class Repository(FakeRunner):
    """A fake repository whose newest build is not on the host."""

    def answer(self, command: list[str]) -> Result:
        if command[0] == "git":
            return Result(0, f"{COMMIT}\trefs/tags/b77\n{COMMIT}\trefs/tags/v0.8.0\n{NEWER}\trefs/tags/b78\n", "")
        return Result(0, "", "gcc version 12\n")


class Place:
    """A root folder with releases."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root

    def request(self, source: str = f"git+{URL}", **parameters: typing.Any) -> Request:
        defaults = {name: option.get("default") for name, option in ARGUMENTS.items()}
        return parse_request({**defaults, "source": source, "root": str(self.root), **parameters})

    def release(
        self,
        build: str = "b77",
        commit: str = COMMIT,
        source: str = URL,
        nightly: str = "",
        channel: str = "",
        **changed: typing.Any,
    ) -> pathlib.Path:
        """Publish a release as a build would, with another compiler and an older C library."""
        target = options.Target("cpu", "native", platform.machine())
        parts = {
            "source": commit or SUM,
            "build": build,
            "backend": "cpu",
            "machine": target.machine,
            "libc": "glibc 2.31",
            "cmake_options": options.cmake_options(target, build, commit, True, {}),
            "cuda_architectures": [],
            "cuda_toolkit": "",
            "cpu_features": options.cpu_features(pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")),
            "compiler": "gcc version 10",
            **changed,
        }
        digest = options.fingerprint(parts)
        path = store.release_path(self.root, build, digest)
        staged = store.staging(path)
        (staged / "bin").mkdir(parents=True)
        (staged / "bin" / "llama-server").write_bytes(b"server")
        manifest = {
            "build": build,
            "commit": commit,
            "fingerprint": digest,
            "fingerprint_parts": parts,
            "source": source,
            **({"nightly": nightly, "channel": channel} if channel else {}),
            **store.describe(staged),
        }
        store.publish(staged, path, manifest)
        return path


@pytest.fixture
def place(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(compiler, "observe", lambda *_needs: BuildHost("/usr/bin/c++", openssl=True, missing=()))
    monkeypatch.setattr(llama_cpp_plan, "BUILD_SPACE", {"cpu": 0})
    return Place(tmp_path)


@pytest.mark.parametrize("update", ["missing", "background", "never"])
def test_a_good_release_will_do_and_nobody_is_asked(place: Place, update: str) -> None:
    path = place.release()
    runner = Repository()
    plan = llama_cpp_plan.make_plan(place.request(update=update), runner)
    assert (plan.path, plan.revision.commit, plan.revision.build, plan.would_compile) == (path, COMMIT, "b77", False)
    assert plan.manifest
    assert runner.commands == []


def test_always_looks_for_the_newest(place: Place) -> None:
    place.release()
    plan = llama_cpp_plan.make_plan(place.request(), Repository())
    assert (plan.revision.commit, plan.would_compile, plan.manifest) == (NEWER, True, None)


@pytest.mark.parametrize("update", ["missing", "background"])
def test_without_one_the_newest_is_built(place: Place, update: str) -> None:
    plan = llama_cpp_plan.make_plan(place.request(update=update), Repository())
    assert (plan.revision.commit, plan.would_compile) == (NEWER, True)


@pytest.mark.parametrize(
    "source",
    [
        f"git+{URL}",
        f"pypi:x==1#sha256={SUM}",
        f"upstream:b77#sha256={SUM}",
        f"release+https://x/b77-{'a' * 12}.tar.gz#sha256={SUM}",
    ],
)
def test_never_is_an_error_without_one_and_asks_nobody(place: Place, source: str) -> None:
    runner = Repository()
    with pytest.raises(
        ProblemError,
        match=(
            r"^llama_cpp_update: expected an existing release, found never, and no good release of .* Fix: "
            r"Set it to missing"
        ),
    ) as caught:
        llama_cpp_plan.make_plan(place.request(source, update="never"), runner)
    assert str(place.root) in str(caught.value)
    assert runner.commands == []


@pytest.mark.parametrize(
    "changed",
    [
        {"source": "https://example.com/another"},
        {"cpu_features": "of another CPU"},
        {"machine": "riscv64"},
        {"backend": "cuda"},
        {"cuda_architectures": ["90-real"]},
        {"cmake_options": {"GGML_NATIVE": "OFF"}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_another_release_is_for_will_not_do(place: Place, changed: dict[str, typing.Any]) -> None:
    place.release(**changed)
    assert (
        llama_cpp_update.good_release(place.request(), pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8"))
        is None
    )


def test_a_damaged_release_will_not_do(place: Place) -> None:
    (place.release() / "bin" / "llama-server").unlink()
    with pytest.raises(ProblemError):
        llama_cpp_plan.make_plan(place.request(update="never"), Repository())


@pytest.mark.parametrize(
    ("parameters", "fits"),
    [
        ({"version": "b77"}, True),
        ({"version": "b78"}, False),
        ({"version": COMMIT}, True),
        ({"version": NEWER}, False),
        ({"version": "latest"}, True),
        ({"cmake_options": {"GGML_LTO": True}}, False),
        ({"cpu": "portable"}, False),
    ],
)
def test_what_is_asked_for_has_to_fit(place: Place, parameters: dict[str, typing.Any], fits: bool) -> None:
    path = place.release()
    found = llama_cpp_update.good_release(
        place.request(**parameters), pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    )
    assert (found[0] if found else None) == (path if fits else None)


@pytest.mark.parametrize(
    ("source", "fits"),
    [(f"pypi:x==1#sha256={SUM}", True), (f"pypi:y==1#sha256={SUM}", True), (f"pypi:x==1#sha256={'cd' * 32}", False)],
)
def test_an_archive_is_known_by_its_sum(place: Place, source: str, fits: bool) -> None:
    path = place.release(commit="", source="pypi:x==1")
    found = llama_cpp_update.good_release(
        place.request(source), pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    )
    assert (found[0] if found else None) == (path if fits else None)


@pytest.mark.parametrize(
    ("version", "build", "nightly", "channel", "kept"),
    [
        ("latest", "b79", "", "", True),
        ("latest", "b77", "", "", False),
        ("stable", "v0.9.0", "b79", "stable", True),
        ("stable", "v0.7.0", "b60", "stable", False),
        # Another channel was asked for: that is no accident.
        ("stable", "b79", "", "latest", False),
        ("b77", "b79", "", "latest", False),
    ],
)
def test_a_channel_never_leads_back_by_accident(
    place: Place, version: str, build: str, nightly: str, channel: str, kept: bool
) -> None:
    path = place.release(build, nightly=nightly, channel=channel)
    plan = llama_cpp_plan.make_plan(place.request(version=version), Repository())
    assert (plan.path == path) == kept
    assert plan.would_compile != kept
    assert [warning.partition(",")[0] for warning in plan.warnings] == (
        [f"{URL} offers {'v0.8.0' if version == 'stable' else 'b78'} as {version}"] if kept else []
    )


@pytest.mark.parametrize(("version", "fits"), [("stable", True), ("latest", False), ("", False)])
def test_a_release_of_one_channel_does_not_stand_for_the_other(place: Place, version: str, fits: bool) -> None:
    place.release("v0.8.0", nightly="b77", channel="stable")
    found = llama_cpp_update.good_release(
        place.request(version=version), pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    )
    assert bool(found) == fits


def test_the_plan_that_is_handed_on_gives_the_same_release(place: Place) -> None:
    for version, commit, build in (("stable", COMMIT, "v0.8.0"), ("latest", NEWER, "b78")):
        first = llama_cpp_plan.make_plan(place.request(version=version), Repository())
        nightly = first.revision.nightly
        known = json.dumps({"commit": commit, "build": build, "nightly": nightly, "parts": {}})
        again = llama_cpp_plan.make_plan(place.request(version=version, known=known), Repository())
        assert (first.path, first.revision) == (again.path, again.revision)
