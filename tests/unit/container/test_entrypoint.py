# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The container's start, up to the exec and beyond it, each in a process of its own."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import handover
from llama_fleet.container import entrypoint, newest, record, startlog
from tests.unit import imports
from tests.unit.container.fake_volume import SETTINGS, Volume

# What a restart must not import: each of them takes longer than all that it does.
HEAVY = (
    "ansible",
    "ansible_runner",
    "yaml",
    "jinja2",
    "click",
    "rich",
    "subprocess",
    "pathlib",
    "dataclasses",
    "urllib",
    "http",
)
START = "import sys\nfrom llama_fleet.container import entrypoint\nsys.exit(entrypoint.main())\n"


OPEN = (
    "Warning: Every client that reaches port 1 may use this server, because it requires no API key. "
    "Fix: Set LLAMA_API_KEY, or LLAMA_API_KEY_FILE to a file that contains the key."
)


@pytest.fixture
def volume(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Volume:
    made = Volume(tmp_path)
    made.state.mkdir()
    monkeypatch.setattr(record, "STATE", str(made.state))
    monkeypatch.setattr(startlog, "PHASE", str(made.phase))
    return made


def patches(volume: Volume) -> str:
    """Return ``Volume.patches`` without the module that a restart does not import."""
    return "".join(line for line in volume.patches().splitlines(True) if "variables" not in line)


def begin(volume: Volume, *arguments: str, before: str = "", **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", f"{patches(volume)}{before}{START}", *arguments],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": imports.PYTHONPATH,
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def start(volume: Volume, *arguments: str, before: str = "", **environment: str) -> tuple[int, list[str], list[str]]:
    with begin(volume, *arguments, before=before, **environment) as process:
        stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout.splitlines(), stderr.splitlines()


def environment_of(volume: Volume, **more: str) -> dict[str, str]:
    """Write the record of a start with some settings, and return these."""
    environment = {**SETTINGS, **more}
    volume.record({"PATH": os.environ["PATH"], "PYTHONPATH": imports.PYTHONPATH, **environment})
    return environment


def test_an_unchanged_start_becomes_the_server_and_imports_next_to_nothing(volume: Volume) -> None:
    report = f"""
import atexit, os
def execve(path, command, environment, real=os.execve):
    found = [name for name in {HEAVY} if name in sys.modules]
    real(path, command, dict(environment, HEAVY=",".join(found)))
os.execve = execve
"""
    arguments = '["--top-k", "20"]'
    environment = environment_of(volume, HF_TOKEN="t0ken", LLAMA_ARG_TEMPERATURE="1", LLAMA_FLEET_ARGUMENTS=arguments)
    status, told, errors = start(volume, "--top-k", "20", before=f"import sys{report}", **environment)
    assert (status, told[0]) == (0, "arguments: --no-webui")
    served = dict(line.split("=", 1) for line in told[1:] if "=" in line)
    assert (served["HEAVY"], served["LLAMA_ARG_MODEL"]) == ("", str(volume.model))
    assert [name for name in ("HF_TOKEN", "LLAMA_ARG_TEMPERATURE", "LLAMA_FLEET_ARGUMENTS") if name in served] == []
    assert errors == ["Nothing has changed since the last start: generation 1, b1, tiny.gguf", OPEN]
    assert startlog.read_phase()["phase"] == startlog.SERVING


@pytest.mark.skipif(not handover.may_become_others(), reason="needs root, which may become another user")
def test_a_container_that_is_started_as_root_gives_its_server_no_rights(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = (
        pathlib.Path("/var/tmp") / f"llama-fleet-test-{os.getpid()}-{tmp_path.name}"
    )  # those of pytest are closed to others
    folder.mkdir(mode=0o755)
    try:
        volume = Volume(folder)
        volume.state.mkdir(mode=0o755)
        monkeypatch.setattr(record, "STATE", str(volume.state))
        environment = environment_of(volume)
        key, manifest = volume.instance / "current" / "api-key", volume.instance / "current" / "manifest.json"
        told = json.loads(manifest.read_text(encoding="utf-8"))
        told["command"] += ["--api-key-file", str(key)]
        manifest.unlink()
        manifest.write_text(json.dumps(told), encoding="utf-8")
        record.write({**record.read(), "files": {}})
        status, output, errors = start(volume, **environment)
        served = dict(line.split("=", 1) for line in output[1:] if "=" in line)
        assert (status, errors[1:]) == (0, [])
        assert int(served["UID_OF_SERVER"]) == record.read()["user"] >= 60_578
        assert served["KEY_OF_SERVER"] == key.read_text(encoding="ascii").strip()
        assert served["HOME"] == "/"
        assert key.stat().st_mode & 0o777 == 0o400
    finally:
        shutil.rmtree(folder)


def test_the_log_for_machines_is_json_from_the_first_line_on(volume: Volume) -> None:
    status, told, errors = start(volume, "--log", "json", "--version", **environment_of(volume))
    assert (status, told[0]) == (0, "arguments: --no-webui --version")
    assert [json.loads(line)["event"] for line in errors] == ["info", "warning"]


def test_a_program_that_cannot_be_executed_is_told(volume: Volume) -> None:
    environment = environment_of(volume)
    next(volume.releases.glob("*/bin/llama-server")).chmod(0o644)
    status, _told, errors = start(volume, **environment)
    assert (status, errors[-1].rpartition("/")[2]) == (126, "llama-server cannot be executed: Permission denied.")


@pytest.mark.parametrize("arguments", [["--tools", "all"], ["--model", "other.gguf"], ["--version", "--tools", "all"]])
def test_other_arguments_are_another_wish_and_reach_no_server_unchecked(volume: Volume, arguments: list[str]) -> None:
    environment = environment_of(volume)
    status, told, errors = start(volume, *arguments, LLAMA_SERVER_PORTS="1", **environment)
    assert (status, told) == (2, [])
    assert errors[0] == "The settings, the image or the machine have changed since the last start."


@pytest.mark.parametrize(("arguments", "given"), [(["--log", "xml"], ""), ([], "xml")])
def test_a_log_that_is_none_is_wrong_usage(volume: Volume, arguments: list[str], given: str) -> None:
    status, _told, errors = start(volume, *arguments, **SETTINGS, LLAMA_FLEET_LOG=given)
    assert (status, errors) == (2, ["Error: --log and LLAMA_FLEET_LOG: expected one of plain, json, found 'xml'."])


def test_a_mistyped_environment_is_told_whole_before_anything_runs(volume: Volume) -> None:
    status, told, errors = start(volume, MODEL="a/b", PORT="http", LLAMA_SERVER_PORTS="1")
    assert (status, told) == (2, [])
    assert errors == [
        "No earlier start is recorded.",
        "Error: PORT: expected a whole number, found 'http'.",
        (
            "Error: LLAMA_SERVER_PORTS: expected a role's variable in capitals, found a name that no role "
            "has. Fix: Use LLAMA_SERVER_PORT or LLAMA_SERVER_SLOTS."
        ),
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_start(volume: Volume, number: int) -> None:
    slow = (
        "import time\nfrom llama_fleet.container import startlog\nstartlog.phase = lambda *_: (print('waits', "
        "flush=True), time.sleep(60))\n"
    )
    with begin(volume, before=slow, **SETTINGS) as process:
        assert typing.cast("typing.IO[str]", process.stdout).readline() == "waits\n"
        process.send_signal(number)
        assert process.wait(timeout=10) == 128 + number


def test_the_first_process_of_a_container_stays_beside_the_server(volume: Volume) -> None:
    first = "import os\nreal = os.getpid\nfirst = real()\nos.getpid = lambda: 1 if real() == first else real()\n"
    status, told, _errors = start(volume, before=f"{first}os.environ['FIRST'] = str(first)\n", **environment_of(volume))
    served = dict(line.split("=", 1) for line in told[1:] if "=" in line)
    assert status == 0
    assert (volume.state / "converged.json").exists()
    assert served["PPID_OF_SERVER"] == served["FIRST"]


REMOTE = {"url": "https://git.example/x", "version": "", "commit": "c1"}


@pytest.mark.parametrize(("answer", "unchanged"), [("c1", True), ("c2", False), (None, True)])
def test_a_repository_that_is_followed_is_asked(
    volume: Volume,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str | None,
    unchanged: bool,
) -> None:
    volume.record(SETTINGS, remote=REMOTE, warning="b2 does not compile.")

    def commit(url: str, version: str) -> str:
        assert (url, version) == (REMOTE["url"], "")
        if answer is None:
            raise newest.UnknownError("no route")
        return answer

    monkeypatch.setattr(newest, "commit", commit)
    record = entrypoint.unchanged(SETTINGS, startlog.Log())
    assert bool(record) is unchanged
    told = capsys.readouterr().err
    assert ("Warning: Could not check for a newer build. no route" in told) is (answer is None)
    assert ("Warning: b2 does not compile." in told) is unchanged


def test_a_source_that_is_pinned_asks_nobody(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    volume.record(SETTINGS)
    monkeypatch.setattr(newest, "commit", lambda *_: pytest.fail("asked"))
    assert entrypoint.unchanged(SETTINGS, startlog.Log())


def test_a_repository_tells_its_newest_build(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *words]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, encoding="utf-8").stdout.strip()

    git("init", "--quiet")
    for tag in ("b9", "b10", "v1"):
        git("commit", "--quiet", "--allow-empty", "--message", tag)
        git("tag", tag)
    url = tmp_path.as_uri()
    assert newest.commit(url, "") == git("rev-parse", "b10")
    assert newest.commit(url, "latest") == git("rev-parse", "b10")
    with pytest.raises(newest.UnknownError, match="from git for"):
        newest.commit(f"{url}/nothing", "")
    monkeypatch.setattr(newest, "PATIENCE", 0.0)
    with pytest.raises(newest.UnknownError, match="within 0 s"):
        newest.commit(url, "")


def test_a_build_in_the_background_outlives_the_start_and_is_no_child_of_the_server(volume: Volume) -> None:
    """It is nobody's zombie either: the server here ends without waiting for anyone."""
    environment = environment_of(volume, LLAMA_CPP_UPDATE="background")
    record.write({**record.read(), "update": "background"})
    record.write({"reason": "b2 does not compile.", "commit": "c2"}, str(volume.state / "background.json"))
    told = volume.state / "told"
    fake = f"""
import os
def execv(path, command, real=os.execv):
    code = "import os, json; json.dump([os.getppid(), os.getsid(0), os.getpid(), os.getpriority(0, 0), \
os.sched_getscheduler(0), open('/proc/self/oom_score_adj').read().strip(), os.readlink('/proc/self/fd/1')], \
open({str(told)!r} + '.new', 'w'))"
    real(path, [path, "-c", code + "; os.rename({str(told)!r} + '.new', {str(told)!r})"])
os.execv = execv
"""
    status, out, errors = start(volume, before=fake, **environment)
    assert (status, out[0]) == (0, "arguments: --no-webui")
    assert errors[-2:] == [
        "Warning: The last build in the background failed: b2 does not compile.",
        f"Building the newest llama.cpp in the background; log: {volume.state}/background.log.",
    ]
    deadline = time.monotonic() + 300  # beside busy cores it hardly gets on, as it should
    while not told.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    _parent, session, _pid, nice, scheduler, oom_score, log = json.loads(told.read_text(encoding="utf-8"))
    assert session != os.getsid(0)
    assert (nice, scheduler, oom_score, log) == (19, os.SCHED_IDLE, "1000", f"{volume.state}/background.log")
