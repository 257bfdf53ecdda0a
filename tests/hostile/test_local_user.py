# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Another user of the host, who prepares and watches: nothing of theirs stops, holds or redirects a run of root's,
and root does no work of others.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf import tiny_model
from ansible_collections.llama_fleet.core.plugins.module_utils.host import handover, processes, scratch, unprivileged
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import write_json
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress, parse
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv as tools_venv
from ansible_collections.llama_fleet.core.tests.unit.fakes import build_host as fake_build_host
from ansible_collections.llama_fleet.core.tests.unit.fakes import llama_cpp as fake_llama_cpp
from ansible_collections.llama_fleet.core.tests.unit.module_runs import Forker, Instance
from llama_fleet.container import startlog

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    not handover.may_become_others(), reason="needs root, which may start another user's processes"
)

ATTACKER = 65534
RELEASE = os.environ.get("LLAMA_FLEET_TEST_RELEASE", "")
TOKEN = "hf_not-for-compilers"
# Waits for what appears in a folder that everybody may write to, and puts something of its own beside and in place of
# it.
_WATCHER = """
import os, sys, time
place, end = sys.argv[1], time.monotonic() + 60
mine = set()
print("ready", flush=True)
while time.monotonic() < end:
    for name in os.listdir(place):
        if name in mine:
            continue
        for other in (f"{name}.new", f".{name}.new", f".{name}.{os.getppid()}.new"):
            for make in (os.mkdir, lambda path: os.symlink("/victim", path), os.mkfifo):
                try:
                    make(os.path.join(place, other))
                    mine.add(other)
                except OSError:
                    pass
"""


@contextlib.contextmanager
def attacker(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run Python as another user for as long as the block takes."""
    command = ["/usr/bin/python3", "-I", "-c", code, *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd="/", **unprivileged.identity(ATTACKER)
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def shared(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield a folder like /tmp: every user may make files in it, and remove only their own."""
    folder = pathlib.Path("/var/tmp") / f"llama-fleet-hostile-{os.getpid()}-{tmp_path.name}"
    folder.mkdir()
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def as_attacker(code: str, *arguments: str) -> None:
    subprocess.run(
        ["/usr/bin/python3", "-I", "-c", code, *arguments], check=True, cwd="/", **unprivileged.identity(ATTACKER)
    )


# -- what they can prepare --

PREPARED: dict[str, str] = {
    "a folder": "os.mkdir(path)",
    "a folder open to all": "os.mkdir(path); os.chmod(path, 0o777)",
    "a link to root's file": "os.symlink(sys.argv[2], path)",
    "a link to a folder of theirs": (
        "os.mkdir(path + '.d'); os.chmod(path + '.d', 0o777); os.symlink(path + '.d', path)"
    ),
    "a fifo": "os.mkfifo(path)",
    "a file": "open(path, 'w').write('theirs')",
    "a link to nothing": "os.symlink(path + '.nothing', path)",
}

assert len(PREPARED) == 7


@pytest.mark.parametrize("what", PREPARED)
def test_a_run_folder_of_somebody_else_is_left_alone(shared: pathlib.Path, outside: pathlib.Path, what: str) -> None:
    """The folder's name cannot be guessed; where it could, the stage goes on without progress, and nothing is
    followed.
    """
    run = shared / "llama-fleet-run"
    as_attacker(f"import os, sys; path = sys.argv[1]; {PREPARED[what]}", str(run), str(outside / "file"))
    progress = Progress(str(run / "progress.json"))
    progress.stage("building")
    progress.update(1, 1)
    assert not (run / "progress.json").exists()


@pytest.mark.parametrize("what", PREPARED)
def test_the_phase_of_a_container_is_told_by_nobody_else(
    shared: pathlib.Path, outside: pathlib.Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    folder = shared / "llama-fleet-0"
    as_attacker(f"import os, sys; path = sys.argv[1]; {PREPARED[what]}", str(folder), str(outside / "file"))
    monkeypatch.setattr(startlog, "PHASE", str(folder / "start.json"))
    startlog.phase(startlog.SERVING, "serving", port="1")
    assert startlog.read_phase() == {}


def test_nothing_beside_what_they_see_holds_a_stage(shared: pathlib.Path) -> None:
    """They answer each new name in the shared folder at once, for a thousand updates."""
    run = shared / "llama-fleet-x"
    clock = iter(range(10_000_000))
    with attacker(_WATCHER, str(shared)):
        progress = Progress(str(run / "progress.json"), lambda: float(next(clock)))
        progress.stage("building")
        for count in range(1000):
            progress.update(count, 1000)
    told = parse((run / "progress.json").read_text(encoding="utf-8"))
    assert told is not None
    assert told.done == 999
    assert os.listdir(run) == ["progress.json"]


def test_a_scratch_folder_of_theirs_is_neither_used_nor_emptied(
    shared: pathlib.Path, outside: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    as_attacker(
        "import os, sys; os.symlink(sys.argv[2], sys.argv[1] + '/llama-fleet-scratch-a')", str(shared), str(outside)
    )
    as_attacker("import os, sys; os.mkfifo(sys.argv[1] + '/llama-fleet-scratch-b')", str(shared))
    with scratch.scratch() as folder:
        assert (folder.stat().st_uid, folder.stat().st_mode & 0o777) == (0, 0o700)
    assert sorted(os.listdir(shared)) == ["llama-fleet-scratch-a", "llama-fleet-scratch-b"]


# -- what runs as whom --


class Seen:
    """Every process that is one of ``programs`` and whose command names ``mark``, looked at until the block ends.

    Of a program's name the kernel keeps 15 characters.
    """

    def __init__(self, mark: str, programs: tuple[str, ...]) -> None:
        self._mark = mark
        self._programs = programs
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        # By the program's name: user numbers, and all of the environments.
        self.users: dict[str, set[int]] = {}
        self.environments: set[str] = set()

    def __enter__(self) -> typing.Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.is_set():
            for place in pathlib.Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    self._note(place)

    def _note(self, place: pathlib.Path) -> None:
        name = (place / "comm").read_text(encoding="utf-8", errors="replace").strip()
        if name not in self._programs or self._mark not in (place / "cmdline").read_text(
            encoding="utf-8", errors="replace"
        ):
            return
        status = (place / "status").read_text(encoding="ascii", errors="replace")
        users = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
        self.users.setdefault(name, set()).update(int(user) for user in users)
        self.environments |= set((place / "environ").read_text(encoding="utf-8", errors="replace").split("\0"))


@pytest.mark.skipif(bool(fake_llama_cpp.missing_tools()), reason="needs cmake, ninja and g++ on PATH")
def test_no_compiler_is_root_and_none_sees_a_token(shared: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("cmake", "ninja"):
        if handover.blocked([shutil.which(program) or ""]):
            pytest.skip(f"{program} lies where no other user can run it")
    folder = shared / "host"
    folder.mkdir(mode=0o755)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    host = fake_build_host.Host(folder)
    python = tools_venv.folder(host.root) / "bin" / "python"  # a real one is the host's, and may be run by everybody
    python.unlink()
    shutil.copy("/bin/true", python)
    stamp = tools_venv.folder(host.root) / tools_venv.STAMP
    write_json(stamp, {**json.loads(stamp.read_text(encoding="utf-8")), "python": str(python)})
    with Seen(
        str(folder), ("cmake", "ninja", "c++", "cc1plus", "ccache", "ld", "llama-bench", "llama-server", "strip")
    ) as seen:
        facts = host.run(compiler_cache=str(folder / "ccache"))
    assert facts["compiled"]
    assert {"cmake", "ninja", "cc1plus"} <= set(seen.users)
    assert {user for users in seen.users.values() for user in users} == {handover.builder()}
    assert not any(TOKEN in variable for variable in seen.environments)
    release = pathlib.Path(facts["path"])
    assert {path.lstat().st_uid for path in [release, *release.rglob("*")]} == {0}
    assert not any(path.stat().st_mode & 0o022 for path in release.rglob("*") if not path.is_symlink())
    assert list((host.root / "builds").glob("*.work-*")) == []
    again = host.run(compiler_cache=str(folder / "ccache"), cmake_options={"GGML_LTO": "OFF"})
    assert again["compiled"], "with the cache that the builder owns now"


@pytest.fixture
def forker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Forker]:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    made = Forker()
    yield made
    made.close()


@pytest.mark.skipif(not RELEASE, reason="needs LLAMA_FLEET_TEST_RELEASE, a folder with bin/llama-server")
def test_llama_server_is_not_root_and_reads_its_key_in_memory(shared: pathlib.Path, forker: Forker) -> None:
    folder = shared / "host"
    folder.mkdir(mode=0o755)
    shutil.copytree(RELEASE, folder / "release", symlinks=True)
    tiny_model.write_tiny_model(folder / "tiny.gguf")
    instance = Instance(folder, forker)
    instance.arguments.update(
        release=str(folder / "release"), model=str(folder / "tiny.gguf"), api_key="k3y", extra_options={"warmup": False}
    )
    with Seen(str(folder), ("llama-server", "llama-fit-param")) as seen:
        facts = instance.good()
    try:
        assert {*seen.users} == {"llama-server", "llama-fit-param"}, (
            "the server, and what tests its options and its memory before"
        )
        assert {user for users in seen.users.values() for user in users} == {server_mounts.user_of("default")}
        pid = facts["pid"]
        status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        found = {name: values.split() for name, _colon, values in (line.partition(":") for line in status.splitlines())}
        assert len({*found["Uid"], *found["Gid"]}) == 1
        assert int(found["Uid"][0]) >= 60_578
        assert (found["Groups"], int(found["CapEff"][0], 16)) == ([], 0)
        assert TOKEN not in str(processes.environment(pid))
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")
        assert words[words.index("--api-key-file") + 1].startswith("/proc/self/fd/")
        assert "k3y" not in " ".join(words)
        assert facts["warnings"] == [] if "warnings" in facts else True
        assert not instance.good()["changed"]
    finally:
        instance.good(state="absent")


def test_where_the_user_cannot_read_it_the_run_says_so(tmp_path: pathlib.Path, forker: Forker) -> None:
    """Below a folder that is closed, as --prefix in root's home is: the server is root's, and that is told."""
    instance = Instance(tmp_path, forker)
    facts = instance.good()
    try:
        assert any(
            "llama-server runs as root, for a user without rights cannot read" in str(warning)
            for warning in facts["warnings"]
        )
    finally:
        instance.good(state="absent")
