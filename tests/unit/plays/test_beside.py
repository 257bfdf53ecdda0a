# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Release and model side by side: the real play, actions and jobs in the background, with stand-ins for the modules."""

import pathlib
import shutil
import typing

import pytest

from ansible_collections.llama_fleet.core.tests.unit.waiting import until
from llama_fleet import settings
from llama_fleet.cli import foreground
from llama_fleet.errors import RunInterruptedError
from llama_fleet.run import events
from tests.unit.plays.fleet import Fleet
from tests.unit.run.test_runner_signals import interrupt_soon

RELEASE, MODEL = "llama_cpp_release", "gguf_model"
# Follows a script: a word and its argument on each line.
MODULE = """
import os, pathlib, time
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llama_fleet.core.plugins.module_utils.planning import plan
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import conclude

FOLDER = pathlib.Path("{folder}")
RESULTS = {{
    "llama_cpp": {{"path": "/r", "build": "b1", "fingerprint": "ab" * 32, "would_change": False, "would_compile": False,
                   "fingerprint_parts": {{}}, "takes": "", "taken_from": ""}},
    "gguf_model": {{"path": "/m", "mmproj": "", "lora": [], "draft": "", "draft_type": "", "files": [], "size": 1}},
}}

def waits(is_over):
    for _try in range(1800):
        if is_over():
            return
        time.sleep(0.05)
    raise ProblemError(Problem("the other stage", "nothing of it", "its sign within 90 s"))

def follow(module):
    progress = Progress(module.params["progress_file"])
    progress.stage("working for {role}")
    (FOLDER / "{role}").write_text(str(os.getpid()))
    for line in (FOLDER / "{role}.script").read_text().splitlines():
        word, _space, rest = line.partition(" ")
        if word == "meet":
            waits((FOLDER / rest).exists)
        elif word == "outlive":
            waits((FOLDER / rest).exists)
            pid = (FOLDER / rest).read_text()
            waits(lambda: not os.path.exists(f"/proc/{{pid}}"))
        elif word == "fail":
            raise ProblemError(Problem("{role}_source", "nothing", rest))
    (FOLDER / "{role}.done").touch()
    return {{"changed": True, **RESULTS["{role}"]}}

spec = dict(plan.STEPS["{role}"].spec)
conclude(AnsibleModule(argument_spec=spec, supports_check_mode=True), follow)
"""
CPU: dict[str, typing.Any] = {"nvidia_driver_gpu": "none", "llama_cpp_source": "new", "gguf_model_source": "a/b"}


class Pair:
    """A host whose release and model follow scripts."""

    def __init__(self, fleet: Fleet, folder: pathlib.Path) -> None:
        self.fleet, self.folder = fleet, folder
        self.jobs = folder / "jobs"

    def run(self, release: str, model: str, check: bool = False, **variables: object) -> events.Outcome:
        (self.folder / "llama_cpp.script").write_text(release, encoding="utf-8")
        (self.folder / "gguf_model.script").write_text(model, encoding="utf-8")
        host = {**CPU, "ansible_async_dir": str(self.jobs), **variables}
        return self.fleet.run("site", {"h": host}, check=check)

    def has_ended(self, role: str) -> bool:
        return not foreground.Process.of(int((self.folder / role).read_text(encoding="utf-8"))).is_alive()

    def texts(self, kind: type[events.Failure] | type[events.Remark]) -> list[str]:
        return [event.text for event in self.fleet.seen if isinstance(event, kind)]

    def progress(self) -> set[tuple[str, str]]:
        return {(event.role, event.text) for event in self.fleet.seen if isinstance(event, events.Progress)}


@pytest.fixture
def pair(fleet: Fleet, tmp_path: pathlib.Path) -> Pair:
    folder = tmp_path / "pair"
    folder.mkdir()
    plugins = fleet.collections / "ansible_collections/llama_fleet/core/plugins"
    (plugins / "modules").unlink()
    shutil.copytree(settings.COLLECTION / "plugins/modules", plugins / "modules")
    for role, module in (("llama_cpp", RELEASE), ("gguf_model", MODEL)):
        (plugins / f"modules/{module}.py").write_text(MODULE.format(folder=folder, role=role), encoding="utf-8")
        shutil.copy(settings.COLLECTION / f"plugins/action/{module}.py", plugins / f"action/{module}.py")
    return Pair(fleet, folder)


def test_each_can_wait_for_a_sign_of_the_other(pair: Pair) -> None:
    outcome = pair.run("meet gguf_model", "meet llama_cpp")
    assert pair.texts(events.Failure) == []
    # plan, preflight, release, model, server: the model that has begun is no call of its own.
    assert outcome.calls == 5
    done = [event.role for event in pair.fleet.seen if isinstance(event, events.StageDone) and not event.plan]
    assert done == ["nvidia_driver", "preflight_info", "llama_cpp", "gguf_model", "llama_server"]
    assert {("llama_cpp", "working for llama_cpp"), ("gguf_model", "working for gguf_model")} <= pair.progress()
    (server,) = [call for call in pair.fleet.calls("h") if call["module"] == "llama_server"]
    assert (server["release"], server["model"]) == ("/r", "/m")
    assert list(pair.jobs.iterdir()) == []


def test_a_release_that_fails_ends_the_model_beside_it(pair: Pair) -> None:
    pair.run("meet gguf_model\nfail a compiler", "meet nothing")
    assert pair.texts(events.Failure) == ["llama_cpp_source: expected a compiler, found nothing."]
    until(lambda: pair.has_ended("gguf_model"))
    assert [path for path in pair.jobs.iterdir() if path.is_dir()] == []


def test_neither_failure_hides_the_other(pair: Pair) -> None:
    outcome = pair.run("outlive gguf_model\nfail a compiler", "fail a model")
    (failure,) = outcome.failures
    assert failure.text.splitlines() == [
        "llama_cpp_source: expected a compiler, found nothing.",
        "gguf_model_source: expected a model, found nothing.",
    ]
    assert [problem["subject"] for problem in failure.problems] == ["llama_cpp_source", "gguf_model_source"]
    assert failure.role == "llama_cpp"


def test_a_model_that_fails_is_reported_at_once_and_the_release_is_finished(pair: Pair) -> None:
    outcome = pair.run("outlive gguf_model", "fail a model")
    (warning,) = pair.texts(events.Remark)
    told = "gguf_model_source: expected a model, found nothing."
    assert warning.startswith("h: gguf_model has failed. ")
    assert warning.endswith(told)
    assert [(failure.role, failure.text) for failure in outcome.failures] == [("gguf_model", told)]
    assert (pair.folder / "llama_cpp.done").exists()
    assert outcome.results["h"]["llama_cpp"]["changed"] is True


def test_an_interrupted_run_leaves_neither_behind(pair: Pair) -> None:
    interrupt_soon(pair.folder / "llama_cpp", 2)
    with pytest.raises(RunInterruptedError):
        pair.run("meet nothing", "meet nothing")
    assert pair.has_ended("llama_cpp")
    assert pair.has_ended("gguf_model")


def test_check_mode_begins_nothing(pair: Pair) -> None:
    outcome = pair.run("", "", check=True)
    # Each stage looks once, one after the other.
    assert outcome.calls == 5
    assert not (pair.jobs).exists()
