# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import archive as llama_cpp_archive
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import make as llama_cpp_release
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import plan as llama_cpp_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.plan import make_plan, plan_again
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import Archive, Repository
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.release import cache, store
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import compiler
from ansible_collections.llama_fleet.core.plugins.module_utils.tools.compiler import BuildHost
from ansible_collections.llama_fleet.core.plugins.plugin_utils.published_binaries import known_of
from ansible_collections.llama_fleet.core.tests.unit.fakes.compilers import (
    COMMIT,
    READY,
    URL,
    Compilers,
    request_of,
    result,
)
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.build_plan import BuildPlan
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import (
        Request,
    )


@pytest.fixture
def request_(tmp_path: pathlib.Path) -> Request:
    archive = tmp_path / "llama-1234.tar.gz"
    archive.write_bytes(b"source")
    source = f"{archive}#sha256={hashlib.sha256(b'source').hexdigest()}"
    return request_of(source=source, root=str(tmp_path / "root"))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> typing.Callable[[BuildHost, bool], None]:
    """Return a function that sets the host's build tools and whether packages can be installed."""

    def set_host(found: BuildHost, installable: bool) -> None:
        monkeypatch.setattr(compiler, "observe", lambda *_needs: found)
        monkeypatch.setattr(compiler, "can_install", lambda: installable)

    monkeypatch.setattr(llama_cpp_plan, "BUILD_SPACE", {"cpu": 0, "cuda": 0})
    set_host(READY, True)
    return set_host


SetHost = typing.Callable[[BuildHost, bool], None]


def build(plan: BuildPlan) -> store.Manifest:
    """Publish a release for ``plan`` as a build would."""
    assert plan.path is not None
    staged = store.staging(plan.path)
    staged.mkdir(parents=True)
    manifest: store.Manifest = {
        "build": plan.revision.build,
        "fingerprint": plan.fingerprint,
        "fingerprint_parts": plan.parts,
    }
    manifest.update(store.describe(staged))
    store.publish(staged, plan.path, manifest)
    return manifest


CHANGES: dict[str, dict[str, typing.Any]] = {
    "source": {"source": Archive("pypi:x==1234", "ab" * 32)},
    "build": {"version": "mine"},
    "options": {"cmake_options": {"GGML_LTO": True}},
    "cpu": {"cpu": "portable"},
    "cuda": {"backend": "cuda", "cuda_toolkit": "/", "cuda_architectures": ("90-real",)},
}


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_what_shapes_the_binaries_changes_the_fingerprint(
    request_: Request, changes: dict[str, typing.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_cpp_archive, "look", lambda *_arguments: (None, []))
    first = make_plan(request_, Compilers())
    assert make_plan(dataclasses.replace(request_, **changes), Compilers()).fingerprint != first.fingerprint


@pytest.mark.usefixtures("host")
def test_a_compiler_changes_the_fingerprint_and_jobs_do_not(request_: Request) -> None:
    first = make_plan(request_, Compilers())
    assert make_plan(request_, Compilers("13.1.0")).fingerprint != first.fingerprint
    same = dataclasses.replace(request_, jobs=7, compiler_cache=pathlib.Path("/elsewhere"), install_packages=False)
    assert make_plan(same, Compilers()).fingerprint == first.fingerprint


@pytest.mark.usefixtures("host")
def test_a_release_that_is_there_is_taken(request_: Request) -> None:
    planned = make_plan(request_, Compilers())
    assert (planned.manifest, planned.install) == (None, ())
    build(planned)
    runner = Compilers()
    found = make_plan(request_, runner)
    assert found.manifest is not None
    assert found.manifest["fingerprint"] == planned.fingerprint
    assert runner.commands == [["/usr/bin/c++", "-v"]]


def test_without_a_compiler_the_fingerprint_waits_for_one(request_: Request, host: SetHost) -> None:
    host(BuildHost("", openssl=False, missing=("compiler", "openssl")), True)
    planned = make_plan(request_, Compilers())
    assert (planned.fingerprint, planned.path, planned.install) == ("", None, ("compiler", "openssl"))
    host(BuildHost("", openssl=False, missing=("compiler", "openssl")), False)
    with pytest.raises(ProblemError, match=r"^compiler: expected .*, found no g"):
        make_plan(request_, Compilers())


def test_without_git_the_commit_waits_for_it(request_: Request, host: SetHost) -> None:
    wanted = dataclasses.replace(request_, source=Repository(URL))
    assert make_plan(wanted, Compilers()).revision.commit == COMMIT
    host(dataclasses.replace(READY, missing=("git",)), True)
    assert (make_plan(wanted, Compilers()).revision.commit, make_plan(wanted, Compilers()).install) == ("", ("git",))
    pinned = make_plan(dataclasses.replace(wanted, version=COMMIT), Compilers())
    assert (pinned.revision.commit, pinned.fingerprint != "") == (COMMIT, True)


@pytest.mark.parametrize(
    ("version", "missing", "installable", "installs"),
    [
        ("latest", ("git",), True, True),
        (COMMIT, ("git",), True, False),
        ("b77", (), True, False),
        ("b77", ("git",), False, False),
    ],
)
def test_git_is_installed_where_a_commit_depends_on_it(
    request_: Request, host: SetHost, version: str, missing: tuple[str, ...], installable: bool, installs: bool
) -> None:
    host(dataclasses.replace(READY, missing=missing), installable)
    run = Compilers()
    llama_cpp_plan.install_git(dataclasses.replace(request_, source=Repository(URL), version=version), run)
    assert [command[-1] for command in run.commands if "install" in command] == (["git"] if installs else [])
    llama_cpp_plan.install_git(request_, run)
    assert len(run.commands) == (2 if installs else 0), "an archive needs no git"


@pytest.mark.parametrize(
    ("openssl", "installable", "switch"), [(True, False, "ON"), (False, True, "ON"), (False, False, "OFF")]
)
def test_openssl_is_used_where_it_is_or_can_be_had(
    request_: Request, host: SetHost, openssl: bool, installable: bool, switch: str
) -> None:
    host(BuildHost("/usr/bin/c++", openssl, () if openssl else ("openssl",)), installable)
    assert make_plan(request_, Compilers()).parts["cmake_options"]["LLAMA_OPENSSL"] == switch


def test_openssl_that_cannot_be_installed_stops_nothing(
    request_: Request, host: SetHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host(BuildHost("/usr/bin/c++", openssl=False, missing=("openssl",)), True)
    monkeypatch.setattr(llama_cpp_release, "_build", lambda _request, plan, *_rest: build(plan))
    made, compiled = llama_cpp_release.make_release(
        request_, make_plan(request_, Compilers()), Progress(), Compilers(apt=100)
    )
    assert (made.parts["cmake_options"]["LLAMA_OPENSSL"], compiled) == ("OFF", True)
    again = make_plan(request_, Compilers())
    assert again.manifest is not None
    assert again.path == made.path


@pytest.mark.usefixtures("host")
def test_space_is_asked_for_before_a_build_only(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_cpp_plan, "BUILD_SPACE", {"cpu": 0})
    planned = make_plan(request_, Compilers())
    monkeypatch.setattr(llama_cpp_plan, "BUILD_SPACE", {"cpu": 10**18})
    with pytest.raises(
        ProblemError, match=r"disk space: expected 1000000000000 MB, found .* MB free below .* Fix: .* llama_cpp_root"
    ):
        make_plan(request_, Compilers())
    build(planned)
    assert make_plan(request_, Compilers()).manifest is not None


@pytest.mark.usefixtures("host")
def test_a_toolkit_that_is_none(request_: Request, tmp_path: pathlib.Path) -> None:
    none = str(tmp_path / "none")
    wanted = dataclasses.replace(request_, backend="cuda", cuda_toolkit=none, cuda_architectures=("90-real",))
    assert make_plan(wanted, Compilers(), tentative=True).fingerprint == ""
    with pytest.raises(ProblemError, match=f"llama_cpp_cuda_toolkit: expected .*, found '{none}'"):
        make_plan(wanted, FakeRunner(Result(127, "", "")))


def test_the_source_is_asked_once_however_often_a_host_changes(
    request_: Request, host: SetHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A packed release is unusable, packages are installed, one of them cannot be had: the commit stays as it was."""
    wanted = dataclasses.replace(request_, source=Repository(URL), cache=("/nowhere",))
    found: list[object] = []
    monkeypatch.setattr(cache, "find", lambda places, *_rest: found.append(places))
    host(BuildHost("/usr/bin/c++", openssl=False, missing=("openssl",)), True)
    run = Compilers(apt=100)
    planned = make_plan(wanted, run)
    taken = dataclasses.replace(planned, would_compile=False, warnings=("before",))
    problem = ProblemError(Problem("release", "damaged", "whole"))

    def refuse(*_arguments: typing.Any) -> typing.NoReturn:
        raise problem

    monkeypatch.setattr(llama_cpp_release, "take", refuse)
    monkeypatch.setattr(llama_cpp_release, "_build", lambda _request, plan, *_rest: build(plan))
    made, compiled = llama_cpp_release.make_release(wanted, taken, Progress(), run)
    assert (compiled, made.revision.commit, made.parts["cmake_options"]["LLAMA_OPENSSL"]) == (True, COMMIT, "OFF")
    assert len([command for command in run.commands if command[0] == "git"]) == 1
    assert found == [("/nowhere",), (), ()], "what was unusable is not looked for again"
    assert [warning.partition(",")[0] for warning in made.warnings][:2] == ["before", "The packed release was unusable"]


def test_git_is_installed_and_then_the_source_is_asked(request_: Request, host: SetHost) -> None:
    wanted = dataclasses.replace(request_, source=Repository(URL))
    host(dataclasses.replace(READY, missing=("git",)), True)
    run = Compilers()
    without = make_plan(wanted, run)
    assert llama_cpp_plan.install_git(wanted, run)
    host(READY, True)
    assert (without.parts, plan_again(wanted, without, run).revision.commit) == ({}, COMMIT)
    assert not llama_cpp_plan.install_git(wanted, run)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("version", ["", "latest", "b77"])
def test_two_plans_of_one_run_ask_the_repository_once(tmp_path: pathlib.Path, version: str) -> None:
    run = Compilers()
    given = {"source": f"git+{URL}", "version": version, "root": str(tmp_path / "root")}
    first = make_plan(request_of(**given), run)
    second = make_plan(request_of(**given, known=known_of(result(first))), run)
    assert (second.revision, second.fingerprint) == (first.revision, first.fingerprint)
    assert sum("ls-remote" in command for command in run.commands) == 1


@pytest.mark.parametrize(
    "known",
    [
        "",
        "b77",
        "[]",
        json.dumps({"commit": COMMIT, "build": "../b77", "nightly": "", "parts": {}}),
        json.dumps({"commit": COMMIT[:-1], "build": "b77", "nightly": "", "parts": {}}),
        json.dumps({"commit": COMMIT, "build": "b77 --upload-pack=x", "nightly": "", "parts": {}}),
        json.dumps({"commit": COMMIT, "build": "b77", "nightly": "", "parts": {}, "url": "file:///etc/shadow"}),
    ],
)
def test_what_is_no_revision_is_not_known(tmp_path: pathlib.Path, known: str) -> None:
    run = Compilers()
    make_plan(request_of(source=f"git+{URL}", root=str(tmp_path / "root"), known=known), run)
    assert sum("ls-remote" in command for command in run.commands) == 1
