# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Hosts that answer as they like, in the real play together with good ones: no answer does anything on the
controller or to another host.
"""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.plugin_utils.controller_cache import ControllerCache
from ansible_collections.llama_fleet.core.tests.unit.fakes import shared as fake_shared
from llama_fleet.run import console, events, runner
from tests.hostile import fake_host
from tests.hostile.host_behaviours import BEHAVIOURS, Behaviour, Values, honest, pack

if typing.TYPE_CHECKING:
    import pathlib


# Honest ones: ``builder`` builds what ``taker`` takes, ``alone`` is of the kind of the host whose builds nobody has
# asked for.
HONEST = {"builder": "glibc 1", "taker": "glibc 1", "alone": "glibc 3"}
SECOND_BATCH = ("taker", "alone")


class Fleet:
    """All hosts of one run of the play, and what came of it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.cache = ControllerCache(folder / "releases")
        self.seen: list[events.Event] = []
        self.outcome = events.Outcome()
        self.names: dict[str, str] = {}

    def script(self, name: str, *words: str) -> str:
        path = self.folder / "programs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            f'#!/bin/sh\nexec {shlex.join([sys.executable, fake_host.__file__, *words])} "$@"\n', encoding="utf-8"
        )
        path.chmod(0o755)
        return str(path)

    def canary(self, name: str) -> pathlib.Path:
        return self.folder / "canaries" / name

    def add(self, name: str, behaviour: Behaviour) -> Values:
        """Make a host's answers; returns its variables."""
        place = self.folder / "hosts" / name
        place.mkdir(parents=True)
        parts = {**fake_shared.PARTS, "libc": f"glibc 4.{len(self.names)}", **behaviour.parts}
        answers = honest(parts)
        for key, more in behaviour.says.items():
            for known in [each for each in answers if each == key or each.partition(".")[0] == key] or [key]:
                answers[known] = {**answers[known], **more} if isinstance(more, dict) and known in answers else more
        text = json.dumps(answers).replace("CANARY", str(self.canary(name)))
        (place / fake_host.ANSWERS).write_text(text, encoding="utf-8")
        (behaviour.archive or pack)(place / fake_host.ARCHIVE, parts)
        self.names[name] = answers["name"]
        return {
            "ansible_python_interpreter": self.script(f"python-{name}", "python", str(place)),
            "llama_cpp_builders": [behaviour.builders],
        }

    def run(self, hosts: dict[str, Values]) -> None:
        (self.folder / "canaries").mkdir()
        everyone = {
            "ansible_connection": "ssh",
            "ansible_ssh_executable": self.script("ssh", "ssh"),
            "ansible_sftp_executable": self.script("sftp", "sftp"),
            "ansible_ssh_args": "",
            "ansible_ssh_transfer_method": "sftp",
            "ansible_remote_tmp": str(self.folder / "tmp"),
            "ansible_async_dir": str(self.folder / "jobs"),
            "llama_cpp_source": fake_shared.ARGUMENTS["source"],
            "llama_cpp_cmake_options": fake_shared.ARGUMENTS["cmake_options"],
            "llama_cpp_controller_cache": str(self.cache.place),
        }
        inventory = self.folder / "hosts.json"
        inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": everyone}}), encoding="utf-8")
        variables: dict[str, object] = {"llama_fleet_serial": [len(hosts) - len(SECOND_BATCH), len(SECOND_BATCH)]}
        self.outcome = runner.run(runner.Request("site", variables, (inventory,)), self.seen.append)

    def calls(self, name: str, module: str, kind: str = "run") -> list[Values]:
        log = self.folder / "hosts" / name / fake_host.CALLS
        calls = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        return [call for call in calls if (call["module"], call["kind"]) == (module, kind)]

    def failures(self, name: str) -> list[str]:
        return [failure.text for failure in self.outcome.failures if failure.host == name]

    def warnings(self) -> list[str]:
        return [event.text for event in self.seen if isinstance(event, events.Remark)]


def host_of(name: str) -> str:
    return f"bad-{sorted(BEHAVIOURS).index(name)}"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> typing.Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with pytest.MonkeyPatch.context() as patch:
        (folder / "private").mkdir()
        patch.setattr(tempfile, "tempdir", str(folder / "private"))
        patch.setenv("ANSIBLE_FORKS", "8")
        made = Fleet(folder)
        hosts = {"builder": made.add("builder", Behaviour(parts={"libc": HONEST["builder"]}, builders="builder"))}
        hosts |= {host_of(name): made.add(host_of(name), behaviour) for name, behaviour in BEHAVIOURS.items()}
        hosts |= {
            name: made.add(name, Behaviour(parts={"libc": HONEST[name]}, builders="builder")) for name in SECOND_BATCH
        }
        made.run(hosts)
        yield made


def test_no_behaviour_is_lost() -> None:
    assert len(BEHAVIOURS) == 27


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_it_ends_with_one_sentence_or_as_an_honest_host(name: str, fleet: Fleet) -> None:
    behaviour, host = BEHAVIOURS[name], host_of(name)
    told = fleet.failures(host)
    if behaviour.sentence:
        assert len(told) == 1, told
        assert behaviour.sentence in told[0]
        assert "Traceback" not in told[0]
        assert fleet.calls(host, "llama_server") == []
    else:
        assert told == []
        assert len(fleet.calls(host, "llama_server")) == 1


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_nothing_of_it_is_run_or_written_on_the_controller(name: str, fleet: Fleet) -> None:
    host = host_of(name)
    assert list((fleet.folder / "canaries").glob(f"{host}*")) == []
    assert [each.entry.name for each in fleet.cache.accepted() if each.builder.host == host] == (
        [fleet.names[host]] if BEHAVIOURS[name].accepted else []
    )
    warned = [
        text for text in fleet.warnings() if text.startswith(f"The release of {host} is not shared with other hosts: ")
    ]
    assert len(warned) == bool(BEHAVIOURS[name].warns), warned
    assert all(
        BEHAVIOURS[name].warns.replace("CANARY", host) in text or BEHAVIOURS[name].warns in text for text in warned
    )


def test_the_honest_builders_release_stays_and_is_what_others_take(fleet: Fleet) -> None:
    (kept,) = [each for each in fleet.cache.accepted() if each.builder.host == "builder"]
    assert kept.archive.read_bytes() == (fleet.folder / "hosts" / "builder" / fake_host.ARCHIVE).read_bytes()
    (taken,) = fleet.calls("taker", "llama_cpp_release")
    assert taken["trusted_signers"] == [fleet.cache.signer()]
    assert len(taken["cache"]) == 1
    (offered,) = {call["offered"] for call in fleet.calls("taker", "llama_cpp_release", "plan")}
    assert next(iter(json.loads(offered)["releases"].values()))["sha256"] == kept.entry.sha256


def test_a_good_host_is_given_nothing_of_a_bad_one(fleet: Fleet) -> None:
    for call in fleet.calls("alone", "llama_cpp_release", "plan"):
        assert set(json.loads(call["offered"])["releases"]) == {fleet.names["builder"]}
    (built,) = fleet.calls("alone", "llama_cpp_release")
    assert (built["cache"], built["trusted_signers"]) == ([], [])
    for name in (*SECOND_BATCH, "builder"):
        assert fleet.failures(name) == []
        assert {call["source"] for call in fleet.calls(name, "llama_cpp_release")} == {fake_shared.ARGUMENTS["source"]}


def test_no_host_is_invented_and_none_speaks_for_another(fleet: Fleet) -> None:
    known = {*map(host_of, BEHAVIOURS), *HONEST}
    assert {event.host for event in fleet.seen if not isinstance(event, events.Remark)} == known
    assert fleet.outcome.untouched == []
    assert not [event for event in fleet.seen if isinstance(event, events.Progress) and event.text.startswith("forged")]


def test_no_control_character_reaches_the_operator(fleet: Fleet) -> None:
    texts = [event.text for event in fleet.seen if not isinstance(event, events.StageDone)]
    texts.append(console.answers(fleet.outcome))
    assert [text for text in texts if not all(each.isprintable() or each in "\n\t" for each in text)] == []
