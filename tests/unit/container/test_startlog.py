# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The log of a container's start for people and programs, and its phase for the health check."""

import pathlib

import pytest

from llama_fleet.container import startlog


@pytest.fixture(autouse=True)
def phase(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(startlog, "PHASE", str(tmp_path / "phase.json"))
    return tmp_path / "phase.json"


def test_the_last_phase_is_read_if_it_is_whole(phase: pathlib.Path) -> None:
    startlog.phase(startlog.PREPARING, "x", port=1)
    assert startlog.read_phase() == {"format": 1, "phase": startlog.PREPARING, "text": "x", "port": 1}
    phase.write_text("[]", encoding="utf-8")
    assert startlog.read_phase() == {}


def test_where_no_phase_can_be_written_the_start_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startlog, "PHASE", "/proc/self/nothing/phase.json")
    startlog.phase(startlog.PREPARING, "x")
    assert startlog.read_phase() == {}


def test_a_phase_is_told_only_in_a_folder_of_this_user(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(folder: pathlib.Path) -> object:
        monkeypatch.setattr(startlog, "PHASE", str(folder / "phase.json"))
        startlog.phase(startlog.PREPARING, "x")
        return startlog.read_phase().get("text")

    assert told(tmp_path / "new") == "x"
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(tmp_path / "new")
    assert told(tmp_path / "link") is None
    (tmp_path / "new").chmod(0o777)
    assert told(tmp_path / "new") is None
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert told(tmp_path / "file") is None


@pytest.mark.parametrize(
    ("arguments", "given", "split"),
    [
        ([], "", ("plain", [])),
        ([], "json", ("json", [])),
        (["--log", "json", "--verbose"], "", ("json", ["--verbose"])),
        (["--log=plain", "-v"], "json", ("plain", ["-v"])),
        (["--verbose", "--log", "json"], "", ("plain", ["--verbose", "--log", "json"])),
        (["--log-file", "x"], "", ("plain", ["--log-file", "x"])),
        (["--log"], "", ("", [])),
    ],
)
def test_only_the_first_words_are_ours(arguments: list[str], given: str, split: tuple[str, list[str]]) -> None:
    assert startlog.split(arguments, given) == split


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gpu-1"])
def test_a_server_that_others_reach_is_open_without_a_key(host: str) -> None:
    certificate = ["--ssl-cert-file", "/c.pem", "--ssl-key-file", "/k.pem"]
    assert startlog.is_open(["s", *certificate], host)
    assert not startlog.is_open(["s", "--api-key-file", "/k"], host)
    assert [name for name in ("127.0.0.1", "127.9.9.9", "localhost", "::1") if startlog.is_open(["s"], name)] == []


def test_a_servers_address_is_that_of_its_last_flag_and_else_of_its_environment() -> None:
    environment = {"LLAMA_ARG_HOST": "::", "LLAMA_ARG_PORT": "1", "LLAMA_ARG_API_PREFIX": "/a"}
    assert startlog.address(["s"], environment) == {"host": "::", "port": "1", "prefix": "/a", "certificate": ""}
    flags = ["s", "--port", "2", "--ssl-cert-file", "/c.pem", "--port", "3", "--host"]
    assert startlog.address(flags, environment) == {"host": "::", "port": "3", "prefix": "/a", "certificate": "/c.pem"}
    assert startlog.address(["s"], {})["port"] == "8080"
