# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A user of the host who takes the port of an instance in the moment of a switch: who it is gets told, the key does
not, and the old server comes back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import sys
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.server import switch as server_switch
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.process import ProcessRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.store import Store
from ansible_collections.llama_fleet.core.tests.unit.fakes import server as fake_server
from ansible_collections.llama_fleet.core.tests.unit.fakes.stage import Site, staged

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

# A server outlives whoever started it.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")
KEY = "only-for-the-instance"
# Plays llama-server, as well as it can without the key: notes what it is sent, for at most so many connections.
RAIDER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
for _number in range(int(sys.argv[2])):
    peer = listener.accept()[0]
    print(peer.recv(65536), flush=True)
    peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
    peer.close()
"""


class Raider:
    """A process that listens on a port as soon as it is free."""

    def __init__(self, port: int, connections: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", RAIDER, str(port), str(connections)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "listening\n"

        self.name = f"pid {self.process.pid} ({processes.name(self.process.pid)}), of the user "

    def heard(self) -> str:
        """End it, and return all the data that it received."""
        self.process.kill()
        assert self.process.stdout is not None
        return self.process.stdout.read()


class Raid:
    """The port of a site is taken at each start of its server, right after the old one has gone, as long as
    ``waves`` last.
    """

    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch, waves: int) -> None:
        self.raiders: list[Raider] = []
        start = ProcessRuntime.start

        def raided(runtime: ProcessRuntime, generation: Generation) -> processes.Process:
            runtime.stop()
            for raider in self.raiders:
                raider.process.kill()
                raider.process.wait()
            if len(self.raiders) < waves:
                self.raiders.append(Raider(site.port, 100))
            return start(runtime, generation)

        monkeypatch.setattr(ProcessRuntime, "start", raided)

    def end(self) -> None:
        for raider in self.raiders:
            raider.process.kill()
            raider.process.communicate()


@pytest.fixture
def site(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[Site]:
    """One in service, whose first generation has a key."""
    monkeypatch.setattr(server_switch, "PORT_SECONDS", 0.3)
    with staged(tmp_path, monkeypatch) as made:
        made.wanted.update(api_key=KEY, runtime="process")
        made.run()
        yield made


@contextlib.contextmanager
def raid(site: Site, monkeypatch: pytest.MonkeyPatch, waves: int) -> typing.Iterator[Raid]:
    made = Raid(site, monkeypatch, waves)
    try:
        yield made
    finally:
        made.end()


@pytest.mark.parametrize("behaviour", [{}, {"hangs": True}], ids=["it-cannot-listen", "it-does-not-listen"])
def test_a_port_that_is_taken_in_a_switch_brings_the_old_generation_back(
    site: Site, monkeypatch: pytest.MonkeyPatch, behaviour: dict[str, typing.Any]
) -> None:
    with raid(site, monkeypatch, waves=1) as raided:
        with pytest.raises(ProblemError) as failed:
            site.run(release=fake_server.release(site.folder, "new", **behaviour))
        told = str(failed.value)
        assert f"port {site.port} is held by {raided.raiders[0].name}" in told
        assert "generation 1 is back in service" in told
        assert raided.raiders[0].heard() == "", "nobody is asked anything who is not the instance"
    assert len(site.servers()) == 1
    assert not site.run()["changed"]


def test_who_keeps_the_port_is_told_and_given_nothing_and_the_next_run_mends_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with raid(site, monkeypatch, waves=2) as raided:
        with pytest.raises(ProblemError) as failed:
            site.run(parallel=2)
        first, second = raided.raiders
        assert f"is held by {first.name}" in str(failed.value)
        assert "generation 1 was put back, but it is not good either" in str(failed.value)
        facts = site.facts()
        assert (facts["generation"], facts["state"]) == (1, "failed")
        with pytest.raises(ProblemError, match=r"llama_server_port: expected .*, found port \d+, on which pid \d+"):
            site.run()
        assert (first.heard(), second.heard()) == ("", "")
    assert (site.run()["generation"], site.facts()["state"]) == (1, "running")


def test_a_status_names_who_has_the_port_of_a_server_that_does_not_listen(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with raid(site, monkeypatch, waves=1) as raided:
        current = Store(site.folder / "etc/instances/default").current()
        assert current is not None
        manifest = {
            **current.manifest,
            "command": [f"{fake_server.release(site.folder, 'hanging', hangs=True)}/bin/llama-server"],
        }
        # Its process lives and listens nowhere, as one does that hangs in its start.
        ProcessRuntime(site.folder / "etc/instances/default", site.folder / "run").start(
            dataclasses.replace(current, manifest=manifest)
        )
        facts = site.facts(metrics=True)
        assert facts["state"] == "unresponsive"
        assert f"is held by {raided.raiders[0].name}" in str(facts["unknown"])
        assert raided.raiders[0].heard() == ""
