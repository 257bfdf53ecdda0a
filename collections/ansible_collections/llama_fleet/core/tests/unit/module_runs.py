# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The module llama_server in processes of its own, which a test may kill, without the second that its imports take.

One process imports everything and forks for each run: what runs is the module's main, with its arguments as Ansible
gives them.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.tests.unit.at_the_door import admitted
from ansible_collections.llama_fleet.core.tests.unit.fakes import server as fake_server

COLLECTIONS = pathlib.Path(__file__).resolve().parents[5]
_FORKER = """
import errno, json, os, signal, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.modules import llama_server

folders = set()

def arm(step):
    \"\"\"Be killed right before the given one of all changes to files.\"\"\"
    seen, real_open = 0, os.open

    def counted(change):
        def counting(*arguments, **options):
            nonlocal seen
            seen += change is not real_open or bool(arguments[1] & os.O_CREAT)
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*arguments, **options)

        return counting

    for name in ("open", "rename", "replace", "symlink", "mkdir", "unlink", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))


def fill(step, code, disk):
    \"\"\"Let the folder disk take nothing new from change number step on; with EROFS nothing at all.\"\"\"
    seen, real_open = 0, os.open

    def counted(name, change):
        def counting(*arguments, **options):
            nonlocal seen
            creates = bool(arguments[1] & os.O_CREAT) if name == "open" else name in ("mkdir", "symlink")
            writes = creates or (name == "open" and bool(arguments[1] & (os.O_WRONLY | os.O_RDWR)))
            seen += creates or name not in ("open", "mkdir", "symlink")
            refused = (creates if code == errno.ENOSPC else writes or name != "open") and seen >= step
            if refused and str(arguments[0]).startswith(disk):
                raise OSError(code, os.strerror(code), str(arguments[0]))
            return change(*arguments, **options)

        return counting

    for name in ("open", "rename", "replace", "symlink", "mkdir", "unlink", "rmdir"):
        setattr(os, name, counted(name, getattr(os, name)))


for line in sys.stdin:
    request = json.loads(line)
    if "wait" in request:
        print(os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1]), flush=True)
        continue
    folders.add(request["folder"])
    pid = os.fork()
    if not pid:
        output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if request["code"]:
            fill(request["step"], request["code"], os.path.dirname(request["arguments"]["root"]))
        elif request["step"]:
            arm(request["step"])
        try:
            with patch_module_args(request["arguments"]):
                llama_server.main()
        except SystemExit:
            pass
        finally:
            sys.stdout.flush()
            os._exit(0)
    print(pid, flush=True)

# The tests have ended, and where each has a process of its own, without the end of what several of them use.
for process in [process for folder in folders for process in processes.started_with("LLAMA_FLEET_INSTANCE", folder)]:
    os.kill(process.pid, signal.SIGKILL)
"""


class Forker:
    """Starts runs of the module."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _FORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def _ask(self, **request: typing.Any) -> int:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(
        self, arguments: typing.Mapping[str, typing.Any], output: pathlib.Path, step: int = 0, code: int = 0
    ) -> int:
        """Start a run; with ``step`` it is killed right before the change to a file that has this number, or meets
        the error ``code`` from there on.
        """
        folder = os.path.join(arguments["root"], "instances", arguments.get("instance", "default"))
        return self._ask(arguments=arguments, output=str(output), step=step, code=code, folder=folder)

    def wait(self, pid: int) -> int:
        return self._ask(wait=pid)

    def close(self) -> None:
        self._process.communicate()


def free_port() -> int:
    """Return a port that is free, outside the range that the kernel gives to clients, because a client could take it
    at once.
    """
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(15000, 32000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Instance:
    """One instance below a test's folder, with a fake release and a model, and the module to be run on it."""

    def __init__(self, folder: pathlib.Path, forker: Forker) -> None:
        self.place = folder
        self.folder = folder / "etc" / "instances" / "default"
        self.output = folder / "output"
        self._forker = forker
        self.port = free_port()
        self.arguments: dict[str, typing.Any] = {
            "root": str(folder / "etc"),
            "runtime_root": str(folder / "run"),
            "runtime": "process",
            "release": fake_server.release(folder),
            "model": fake_server.model(folder / "model.gguf"),
            "port": self.port,
            "parallel": 1,
            "ctx_size": 256,
            "threads": 1,
            "cache_ram": 0,
            "ready_timeout": 30,
        }

    def release(self, name: str, **behaviour: typing.Any) -> str:
        return fake_server.release(self.place, name, **behaviour)

    def another(self, **behaviour: typing.Any) -> str:
        """Write a release with a name of its own."""
        return self.release(f"release-{len(os.listdir(self.place))}", **behaviour)

    def start(self, **arguments: typing.Any) -> int:
        return self._forker.start({**self.arguments, **arguments}, self.output)

    def kill(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self._forker.wait(pid)

    def killed_at(self, step: int, **arguments: typing.Any) -> bool:
        """Run the module, kill it at its change ``step`` to a file, and return whether it was killed before its end."""
        return (
            self._forker.wait(self._forker.start({**self.arguments, **arguments}, self.output, step)) == -signal.SIGKILL
        )

    def refused_at(self, step: int, code: int, **arguments: typing.Any) -> dict[str, typing.Any]:
        """Return the result of a run whose file system refuses every change from the change ``step`` on, with the error
        ``code``.
        """
        self._forker.wait(self._forker.start({**self.arguments, **arguments}, self.output, step, code))
        return self._result()

    def run(self, **arguments: typing.Any) -> dict[str, typing.Any]:
        self._forker.wait(self.start(**arguments))
        return self._result()

    def _result(self) -> dict[str, typing.Any]:
        said = self.output.read_text(encoding="utf-8")
        assert "Traceback" not in said, said
        lines = [line for line in said.splitlines() if line.startswith("{")]
        assert lines, said
        return admitted("llama_server", json.loads(lines[-1]))

    def good(self, **arguments: typing.Any) -> dict[str, typing.Any]:
        result = self.run(**arguments)
        assert not result.get("failed"), result.get("msg")
        return result

    def bad(self, **arguments: typing.Any) -> str:
        result = self.run(**arguments)
        assert result.get("failed"), result
        return str(result["msg"])

    def servers(self) -> list[int]:
        return [process.pid for process in processes.started_with("LLAMA_FLEET_INSTANCE", str(self.folder))]

    def answers(self, key: str = "") -> int:
        """Return the HTTP status that a client with this key gets; 0 without an answer."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            client.request("POST", "/completion", json.dumps({"prompt": "Hi", "n_predict": 1}), headers)
            return client.getresponse().status
        except OSError:
            return 0
        finally:
            client.close()

    def current(self) -> str:
        return os.path.basename(os.readlink(self.folder / "current"))

    def manifest(self, number: int) -> dict[str, typing.Any]:
        return typing.cast(
            "dict[str, typing.Any]",
            json.loads((self.folder / "generations" / str(number) / "manifest.json").read_text(encoding="utf-8")),
        )

    def end(self) -> None:
        for pid in self.servers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
