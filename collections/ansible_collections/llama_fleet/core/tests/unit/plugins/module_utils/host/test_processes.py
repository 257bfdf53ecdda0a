# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import typing
import uuid

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.tests.unit import waiting

# Unique per session, because other sessions on this machine run the same tests.
MARK = uuid.uuid4().hex


@pytest.fixture
def sleeper() -> typing.Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"], env={**os.environ, "LLAMA_FLEET_TEST_MARK": f"x {MARK}"}) as child:
        yield child
        child.kill()


def wait_for_sleep(pid: int) -> None:
    # /proc shows the name before the environment.
    waiting.until(lambda: processes.name(pid) == "sleep" and processes.environment(pid))


def test_a_process_is_found_by_its_environment(sleeper: subprocess.Popen[bytes]) -> None:
    wait_for_sleep(sleeper.pid)
    marked = processes.started_with("LLAMA_FLEET_TEST_MARK", f"x {MARK}")
    assert [process.pid for process in marked] == [sleeper.pid]
    assert processes.alive(marked[0])
    assert not processes.alive(processes.Process(sleeper.pid, marked[0].started + 1)), "a reused pid is another process"


def test_what_a_process_has_started_itself_is_a_part_of_it() -> None:
    environment = {**os.environ, "LLAMA_FLEET_TEST_MARK": f"family {MARK}"}
    with subprocess.Popen(
        ["sh", "-c", "sleep 60 & echo $!; wait"], env=environment, stdout=subprocess.PIPE, start_new_session=True
    ) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        wait_for_sleep(child)
        assert [process.pid for process in processes.started_with("LLAMA_FLEET_TEST_MARK", f"family {MARK}")] == [
            parent.pid
        ]
        parent.kill()
        parent.wait()
        assert [process.pid for process in processes.started_with("LLAMA_FLEET_TEST_MARK", f"family {MARK}")] == [
            child
        ], "an orphaned child is listed"
        os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a namespace")
def test_a_process_in_a_container_is_another_machines() -> None:
    environment = {**os.environ, "LLAMA_FLEET_TEST_MARK": f"inside {MARK}"}
    command = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", "echo; exec sleep 60"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        marked = processes.started_with("LLAMA_FLEET_TEST_MARK", f"inside {MARK}")
        child.kill()
    assert [process.pid for process in marked] == [child.pid], "unshare itself is here, its child is not"


@pytest.mark.parametrize(
    ("first", "path", "expected"),
    [
        ("/init.scope", "/system.slice/llama-fleet-a.service", True),
        ("/init.scope", "/system.slice/llama-fleet-a.service/runtime", True),
        ("/init.scope", "/user.slice/session-1.scope", False),
        ("/init.scope", "/system.slice/llama-fleet-ab.service", False),
        ("/outer/container-1/init.scope", "/outer/container-1/system.slice/llama-fleet-a.service", True),
        ("/system.slice/llama-fleet-a.service/payload", "/system.slice/llama-fleet-a.service/payload", False),
    ],
)
def test_a_units_process_is_known_by_its_cgroup(first: str, path: str, expected: bool, tmp_path: pathlib.Path) -> None:
    for pid, place in ((1, first), (42, path)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cgroup").write_text(f"1:name=systemd:{place}\n0::/\n", encoding="utf-8")
    assert processes.in_unit(42, "llama-fleet-a.service", tmp_path) is expected
    assert not processes.in_unit(43, "llama-fleet-a.service", tmp_path)


def test_term_stops_a_willing_process(sleeper: subprocess.Popen[bytes]) -> None:
    process = processes.find(sleeper.pid)
    assert process
    processes.stop(process, 5)
    assert processes.find(sleeper.pid) is None
    processes.stop(process, 5)


def test_kill_stops_an_unwilling_one() -> None:
    program = (
        "import signal, time; signal.signal(signal.SIGTERM, lambda *_: print('asked', flush=True)); "
        "print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdout.readline() == b"ready\n"
        process = processes.find(child.pid)
        assert process
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            time.sleep(seconds)

        processes.stop(process, 0.3, pause)
        assert processes.find(child.pid) is None
        assert child.stdout.read() == b"asked\n"
        assert sum(pauses) >= 0.3, "it was given its whole patience"


def test_one_that_has_ended_and_was_not_reaped_is_gone() -> None:
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert (pathlib.Path("/proc") / str(child.pid)).exists()
        assert processes.find(child.pid) is None


def test_a_server_inside_of_a_container_is_anothers(tmp_path: pathlib.Path) -> None:
    fields = " ".join(["S", "1", *["0"] * 17, "4711"])
    for pid, namespace in (("self", "pid:[1]"), ("42", "pid:[1]"), ("43", "pid:[2]")):
        (tmp_path / pid / "ns").mkdir(parents=True)
        (tmp_path / pid / "ns" / "pid").symlink_to(namespace)
        (tmp_path / pid / "environ").write_bytes(b"LLAMA_FLEET_TEST_MARK=x\0")
        (tmp_path / pid / "stat").write_text(f"{pid} (llama-server) {fields}\n", encoding="ascii")
    assert processes.started_with("LLAMA_FLEET_TEST_MARK", "x", tmp_path) == [processes.Process(42, 4711)]


_UNSEEN = """
import os, subprocess, sys
from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
child = subprocess.Popen(
    ["sleep", "60"], user=60577, group=60577, extra_groups=[], env={"MARK": "mine"}, stdin=subprocess.DEVNULL
)
while processes.name(child.pid) != "sleep":
    pass
try:
    os.readlink(f"/proc/{child.pid}/fd/0")
    print("seen anyway")
except PermissionError:
    print(processes.environment(child.pid).get("MARK"), "/dev/null" in processes.open_files(child.pid), os.geteuid())
child.kill()
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("capsh"), reason="needs root, and capsh to give up rights")
def test_root_without_the_right_to_trace_sees_the_process_of_another_user_as_that_user() -> None:
    """As in a container started as root: the gate must see whether its unprivileged server has a GPU open."""
    drop = "--drop=cap_sys_ptrace,cap_perfmon,cap_sys_admin"
    done = subprocess.run(
        ["capsh", drop, "--", "-c", 'exec "$0" -c "$1"', sys.executable, _UNSEEN],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.stdout, done.stderr) == ("mine True 0\n", "")
