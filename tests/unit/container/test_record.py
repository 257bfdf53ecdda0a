# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The comparison at a restart: settings, secret files, image, machine, and every file of the server."""

import json
import os
import pathlib
import shutil
import typing

import pytest

from llama_fleet.container import record, variables
from tests.unit.container.fake_volume import CATALOGUE, SETTINGS, Volume

NAMES = variables.names(CATALOGUE)
NOW = 1000.0


@pytest.fixture
def volume(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Volume:
    made = Volume(tmp_path)
    monkeypatch.setattr(record, "STATE", str(made.state))
    return made


@pytest.mark.parametrize(
    "more",
    [
        {"CTX_SIZE": "1"},
        {"NVIDIA_DRIVER_GPU": "none"},
        {"LLAMA_SERVER_NO_SUCH": "1"},
        {"LLAMA_ARG_X": "1"},
        {"CUDA_VISIBLE_DEVICES": "1"},
        {"NVIDIA_VISIBLE_DEVICES": "1"},
        {"HF_ENDPOINT": "http://x"},
        {"HF_TOKEN": "other"},
        {"LLAMA_API_KEY_FILE": "/dev/null/none"},
    ],
    ids=lambda more: next(iter(more)),
)
def test_a_setting_makes_another_state(more: dict[str, str]) -> None:
    assert record.desired({**SETTINGS, **more}, NAMES) != record.desired(SETTINGS, NAMES)


@pytest.mark.parametrize(
    "more",
    [
        {"HOSTNAME": "x"},
        {"HOME": "/x"},
        {"PATH": "/x"},
        {"LLAMA_FLEET_LOG": "json"},
        {"CTX_SIZE": ""},
        {"LLAMA_SERVER_PORT": "tcp://10.0.0.1:8080"},
        {"LLAMA_SERVER_SERVICE_PORT_HTTP": "8080"},
        {"OTHER_SERVICE_HOST": "10.0.0.2"},
    ],
    ids=lambda more: next(iter(more)),
)
def test_what_is_no_setting_makes_none(more: dict[str, str]) -> None:
    assert record.desired({**SETTINGS, **more}, NAMES) == record.desired(SETTINGS, NAMES)


def test_the_content_of_a_secrets_file_counts(tmp_path: pathlib.Path) -> None:
    secret = tmp_path / "token"
    seen = set()
    for text in ("one", "two", "one"):
        secret.write_text(text, encoding="utf-8")
        seen.add(record.desired({**SETTINGS, "HF_TOKEN_FILE": str(secret)}, NAMES))
    assert len(seen) == 2


@pytest.mark.parametrize("part", ["image", "machine"])
def test_the_image_and_the_machine_count(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = record.desired(SETTINGS, NAMES)
    assert record.desired(SETTINGS, NAMES) == before
    monkeypatch.setattr(record, part, lambda: ["another"])
    assert record.desired(SETTINGS, NAMES) != before


def test_an_image_is_told_by_its_id_and_else_by_our_files(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tmp_path / "src" / "llama_fleet"
    shutil.copytree(pathlib.Path(record.__file__).parents[1], ours, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(record, "IMAGE_ID", str(tmp_path / "id"))
    monkeypatch.setattr(record, "__file__", str(ours / "container" / "record.py"))
    before = record.image()
    (ours / "__pycache__").mkdir()
    (ours / "__pycache__" / "cli.cpython-311.pyc.140737").touch()
    assert record.image() == before
    os.utime(ours / "settings.py", (1, 1))
    assert record.image() != before
    (tmp_path / "id").write_text("sha256:1\n", encoding="utf-8")
    assert record.image() == "sha256:1"


def test_the_machine_is_known_by_its_cpu_and_not_by_its_clock() -> None:
    told = json.dumps(record.machine())
    assert "model name" in told or "CPU part" in told
    assert "MHz" not in told


def change(volume: Volume, kept: record.Record, what: str) -> None:
    """Make something of what was recorded another."""
    if what == "a longer model":
        before = volume.model.stat().st_mtime_ns
        volume.model.write_bytes(b"GGUF0")
        os.utime(volume.model, ns=(before, before))
    elif what == "a touched model":
        os.utime(volume.model, (1, 1))
    elif what == "no program":
        next(volume.releases.glob("*/bin/llama-server")).unlink()
    elif what == "another key":
        os.utime(pathlib.Path(kept["generation"], "api-key"), (1, 1))
    elif what == "another link":
        (volume.instance / "current").unlink()
        (volume.instance / "current").symlink_to("generations/7")


def test_it_is_as_recorded(volume: Volume) -> None:
    kept = volume.record(SETTINGS)
    assert record.read() == kept | {"format": 1}
    assert record.difference(kept, SETTINGS, NOW) == ""


@pytest.mark.parametrize("what", ["a longer model", "a touched model", "no program", "another key", "another link"])
def test_each_file_is_looked_at(volume: Volume, what: str) -> None:
    kept = volume.record(SETTINGS)
    change(volume, kept, what)
    assert record.difference(kept, SETTINGS, NOW).endswith("has changed since the last start")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"desired": ""}, "no earlier start is recorded"),
        ({"desired": "other"}, "the settings, the image or the machine"),
        ({"retry_after": NOW - 1}, "is tried again"),
        ({"retry_after": NOW + 1}, ""),
        ({"listings": {"/proc/self/nothing": ["b1"]}}, "a new release"),
    ],
)
def test_what_else_makes_a_start_look_anew(volume: Volume, more: dict[str, typing.Any], reason: str) -> None:
    found = record.difference({**volume.record(SETTINGS), **more}, SETTINGS, NOW)
    assert (reason in found) if reason else found == ""


def test_a_release_that_is_only_being_made_is_none(volume: Volume) -> None:
    volume.release("b2")
    (volume.releases / ".new-b3").mkdir()
    assert [name.partition("-")[0] for name in record.listing(str(volume.releases))] == ["b2"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 0}'])
def test_a_record_that_is_none_is_empty(volume: Volume, text: str) -> None:
    volume.state.mkdir()
    pathlib.Path(record.path()).write_text(text, encoding="utf-8")
    assert record.read() == {}


def test_the_record_is_for_its_owner_and_holds_no_secret(volume: Volume) -> None:
    volume.record({**SETTINGS, "HF_TOKEN": "t0ken", "LLAMA_API_KEY": "k3y"})
    path = pathlib.Path(record.path())
    assert path.stat().st_mode & 0o777 == 0o600
    assert not {"t0ken", "k3y"} & set(path.read_text(encoding="utf-8").replace('"', " ").split())
    assert [entry.name for entry in volume.state.iterdir() if entry.name.startswith("converged")] == ["converged.json"]


def test_a_record_that_cannot_be_written_leaves_the_old_one(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = volume.record(SETTINGS)

    def replace(*_paths: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="No space"):
        record.write({**kept, "warning": "new"})
    assert record.read()["warning"] == ""
    assert not list(volume.state.glob("*.new"))


def test_what_was_not_checked_with_the_generation_and_secrets_stay_out(volume: Volume) -> None:
    kept = volume.record({**SETTINGS})
    environment = {
        "PATH": "/bin",
        "LLAMA_ARG_PORT": "64",
        "HF_TOKEN": "t",
        "LLAMA_API_KEY": "k",
        "GGUF_MODEL_TOKEN": "t",
        "CTX_SIZE": "1",
        "LLAMA_ARG_HOST": "::",
        "LLAMA_ARG_TOOLS": "all",
        "LLAMA_FLEET_ARGUMENTS": '["--tools", "all"]',
    }
    command, served = record.server(kept, environment, ["--version"])
    assert command[1:] == ["--no-webui", "--version"]
    assert {name: served[name] for name in environment if name in served} == {
        "PATH": "/bin",
        "LLAMA_ARG_PORT": "1",
        "CTX_SIZE": "1",
        "LLAMA_ARG_HOST": "0.0.0.0",
    }
    assert served["LLAMA_ARG_MODEL"] == str(volume.model)
