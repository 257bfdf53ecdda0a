# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The generation that a container starts after a play that succeeded or failed."""

import dataclasses
import os
import pathlib
import shutil
import typing

import pytest

from llama_fleet import settings
from llama_fleet.container import generations, record, start, startlog, variables, volumes
from llama_fleet.errors import RunInterruptedError
from llama_fleet.run import runner
from llama_fleet.run.events import Failure, Outcome
from llama_fleet.run.runner import Request
from tests.unit.container.fake_volume import CATALOGUE, SETTINGS, Volume

COMMIT = "c0ffee"
BUILD = Failure("localhost", "compiler: expected none, found an error.", role="llama_cpp")
NETWORK = Failure("localhost", "llama_cpp_source: expected one, found no answer.", role="llama_cpp", plan=True)
NOTHING = Failure("localhost", "llama_cpp_update: expected a release, found never.", role="llama_cpp", plan=True)
GATE = Failure(
    "localhost",
    "instance default: expected a server that passes its gate, found generation 2 not good. Fix: Read its log:\nx",
    role="llama_server",
)
SETTING = Failure("localhost", "llama_server_ctx_size: expected 8, found 9.", role="llama_server", plan=True)
TOKEN = Failure("localhost", "gguf_model_token: expected another, found a bad one.", role="gguf_model", plan=True)
CHECK = Failure(
    "localhost", "llama_server_x: expected a variable, found a name that no role has.", role="validate_variables"
)


@dataclasses.dataclass
class Plays:
    """Stands in for the play: what comes of one attempt after the other."""

    volume: Volume
    ends: list[Failure | None] = dataclasses.field(default_factory=list)
    asked: list[dict[str, typing.Any]] = dataclasses.field(default_factory=list)

    def run(self, request: Request, _listener: object) -> Outcome:
        self.asked.append(dict(request.variables))
        failure = self.ends.pop(0)
        results: dict[str, typing.Any] = {} if failure in (NETWORK, NOTHING) else {"llama_cpp": {"commit": COMMIT}}
        if failure is None:
            results["llama_server"] = {"generation": self.volume.generation()}
        return Outcome(failures=[failure] if failure else [], results={"localhost": results})

    def sources(self) -> list[tuple[str, str]]:
        return [
            (str(values["llama_cpp_source"]).partition(":")[0], values.get("llama_cpp_update", "always"))
            for values in self.asked
        ]


@pytest.fixture
def plays(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Plays:
    volume = Volume(tmp_path)
    made = Plays(volume)
    monkeypatch.setattr(record, "STATE", str(volume.state))
    monkeypatch.setattr(variables, "MODELS", str(volume.models))
    monkeypatch.setattr(startlog, "PHASE", str(volume.phase))
    monkeypatch.setattr(runner, "run", made.run)
    monkeypatch.setattr(settings, "load", lambda: CATALOGUE)
    return made


def begin(plays: Plays, *ends: Failure | None, **more: str) -> tuple[record.Record, int]:
    plays.ends = list(ends)
    plays.asked.clear()
    ended = start.converge({**SETTINGS, **more}, startlog.Log())
    assert plays.ends == []
    return ended


def number(kept: record.Record) -> str:
    return os.path.basename(str(kept["generation"]))


def test_what_the_play_made_is_recorded_and_started(plays: Plays) -> None:
    kept, status = begin(plays, None)
    assert (status, number(kept), kept["warning"], kept["retry_after"]) == (0, "1", "", 0)
    assert kept["remote"] == {"url": "https://git.example/llama.cpp", "version": "", "commit": COMMIT}
    assert kept["summary"] == "generation 1, b1, tiny.gguf"
    assert record.difference(record.read(), SETTINGS, 0) == ""
    assert [os.readlink(plays.volume.state / "models"), kept["listings"]] == [str(plays.volume.models), {}]


def test_every_file_of_the_server_is_in_the_record(plays: Plays) -> None:
    certificate = plays.volume.models / "c.pem"
    certificate.write_text("c", encoding="utf-8")
    adapter = plays.volume.models / "a.gguf"
    adapter.write_text("a", encoding="utf-8")
    plays.volume.generation(
        LLAMA_ARG_SSL_CERT_FILE=str(certificate), LLAMA_ARG_LORA=f"{adapter}:0.5,{plays.volume.models}/none"
    )
    described = generations.Store(variables.of(SETTINGS, CATALOGUE), CATALOGUE).described(1, follows=False)
    release = next(plays.volume.releases.glob("b1-*"))
    generation = plays.volume.instance / "generations/1"
    expected = [plays.volume.model, certificate, adapter, release / "manifest.json", release / "bin/llama-server"]
    assert set(described["files"]) == {
        str(path) for path in (*expected, *(generation / name for name in ("manifest.json", "environment", "api-key")))
    }
    assert all(described["files"].values())


@pytest.mark.parametrize("update", ["missing", "background", "never"])
def test_only_always_asks_for_the_newest_at_each_start(plays: Plays, update: str) -> None:
    kept, _status = begin(plays, None, LLAMA_CPP_UPDATE=update)
    assert kept["remote"] is None
    assert list(kept["listings"].values()) == ([] if update == "never" else [[f"b1-{'fe' * 6}"]])


def test_a_pinned_build_asks_nobody(plays: Plays) -> None:
    kept, _status = begin(plays, None, LLAMA_CPP_VERSION="b1")
    assert kept["remote"] is None


def test_without_an_answer_of_the_repository_the_release_that_is_there_serves(
    plays: Plays, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, status = begin(plays, NETWORK, None)
    assert (status, plays.sources()) == (0, [("git+https", "always"), ("git+https", "never")])
    assert kept["warning"] == f"{NETWORK.text} Using the installed release."
    assert f"Warning: {kept['warning']}" in capsys.readouterr().err
    # Asked again at each start, and followed once it answers.
    assert (kept["remote"]["commit"], kept["retry_after"]) == ("", 0)
    assert record.difference(kept, SETTINGS, 10**11) == ""


def test_a_build_that_fails_is_not_tried_at_each_start(plays: Plays) -> None:
    kept, status = begin(plays, BUILD, None)
    assert (status, kept["remote"]["commit"]) == (0, COMMIT)
    now = kept["retry_after"] - start.RETRY
    assert record.difference(kept, SETTINGS, now + 1) == ""
    assert "tried again" in record.difference(kept, SETTINGS, now + start.RETRY)


@pytest.mark.parametrize("failure", [NETWORK, BUILD])
def test_a_first_start_takes_the_roles_own_build_where_the_newest_is_not_to_be_had(
    plays: Plays, failure: Failure
) -> None:
    kept, status = begin(plays, failure, NOTHING, None, LLAMA_CPP_SOURCE="")
    assert (status, plays.sources()) == (0, [("git+https", "always"), ("git+https", "never"), ("pypi", "always")])
    assert kept["warning"].endswith("Using the default build of llama-fleet.")


def test_never_builds_nothing_also_where_the_roles_own_build_is_taken(plays: Plays) -> None:
    _record, status = begin(plays, NOTHING, None, LLAMA_CPP_SOURCE="", LLAMA_CPP_UPDATE="never")
    assert (status, plays.sources()) == (0, [("git+https", "never"), ("pypi", "never")])


def test_who_names_a_source_gets_no_other(plays: Plays, capsys: pytest.CaptureFixture[str]) -> None:
    assert begin(plays, NETWORK, NOTHING) == ({}, 1)
    assert f"Error: {NETWORK.text}" in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(("failure", "lasting"), [(GATE, True), (TOKEN, False)])
def test_the_last_good_generation_of_the_same_model_starts(
    plays: Plays, failure: Failure, lasting: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(plays, None)
    os.unlink(record.path())  # as someone does who wants all to be tried again
    plays.volume.generation(is_good=False)
    kept, status = begin(plays, failure, CTX_SIZE="512")
    assert (status, number(kept), os.readlink(plays.volume.instance / "current")) == (0, "1", "generations/1")
    assert "Starting generation 1 instead, which passed its gate." in capsys.readouterr().err
    unchanged = record.difference(kept, {**SETTINGS, "CTX_SIZE": "512"}, kept["retry_after"] - 1) == ""
    assert unchanged is lasting, "what the network or a token may cure is tried at each start"


@pytest.mark.parametrize(("failure", "more"), [(SETTING, {}), (CHECK, {}), (TOKEN, {"MODEL": "a/other"})])
def test_a_mistake_starts_nothing(
    plays: Plays, failure: Failure, more: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    begin(plays, None)
    before = record.read()
    assert begin(plays, failure, **more) == ({}, 1)
    assert f"Error: {failure.text}" in capsys.readouterr().err
    assert record.read() == before


@pytest.mark.parametrize("damage", ["model", "program", "key", "gate"])
def test_a_generation_that_is_not_whole_is_no_way_back(plays: Plays, damage: str) -> None:
    begin(plays, None)
    generation = plays.volume.instance / "generations/1"
    if damage == "model":
        plays.volume.model.write_bytes(b"")
    elif damage == "program":
        next(plays.volume.releases.glob("*/bin/llama-server")).unlink()
    elif damage == "key":
        (generation / "api-key").unlink()
    else:
        manifest = generation / "manifest.json"
        manifest.write_text(
            manifest.read_text(encoding="utf-8").replace('"good": true', '"good": false'), encoding="utf-8"
        )
    assert begin(plays, GATE) == ({}, 1)


def test_the_newest_good_one_is_taken_where_the_current_is_not(plays: Plays) -> None:
    for context in ("1", "2"):
        begin(plays, None, CTX_SIZE=context)
    plays.volume.generation(is_good=False)
    assert number(begin(plays, GATE)[0]) == "2"
    assert sorted(record.read_object(generations.path())["models"]) == ["1", "2"]
    shutil.rmtree(plays.volume.instance / "generations/1")
    begin(plays, None)
    assert sorted(record.read_object(generations.path())["models"]) == ["2", "4"]


def test_a_wrong_environment_is_told_before_anything_runs(plays: Plays, capsys: pytest.CaptureFixture[str]) -> None:
    assert begin(plays, PORT="http", LLAMA_SERVER_PROT="1") == ({}, 2)
    assert [line.partition(": expected")[0] for line in capsys.readouterr().err.splitlines()] == [
        "Error: PORT",
        "Error: LLAMA_SERVER_PROT",
    ]


def test_an_interruption_ends_the_start(plays: Plays, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_arguments: object) -> typing.NoReturn:
        raise RunInterruptedError(15)

    monkeypatch.setattr(runner, "run", run)
    assert begin(plays) == ({}, 143)


def test_a_record_that_cannot_be_written_is_a_warning(
    plays: Plays, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(*_arguments: object) -> typing.NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record, "write", write)
    kept, status = begin(plays, None)
    assert (status, number(kept)) == (0, "1")
    assert "cannot be written (No space left on device)" in capsys.readouterr().err


def test_a_volume_that_is_full_is_told_in_a_sentence(
    plays: Plays, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(plays, None)
    plays.volume.generation(is_good=False)

    def switch(*_arguments: object) -> typing.NoReturn:
        raise OSError(28, "No space left on device", "/v/current")

    monkeypatch.setattr(generations.Store, "switch", switch)
    assert begin(plays, GATE) == ({}, 1)
    assert capsys.readouterr().err.splitlines()[-1] == "Error: /v/current: No space left on device."


def test_models_that_lie_elsewhere_are_left_there(
    plays: Plays, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(volumes, "join", lambda *_folders: pytest.fail("joined"))
    assert begin(plays, None, GGUF_MODEL_ROOT=str(tmp_path))[1] == 0
