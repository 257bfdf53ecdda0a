# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The phases no-op and image of tests/gpu/run: what they take for a success, and what not."""

from __future__ import annotations

import os
import subprocess
import typing

import pytest

from tests.gpu.phases import image, noop
from tests.gpu.session import CPU, MARK, FailedError, NotHereError, Run, shapes

if typing.TYPE_CHECKING:
    import pathlib

SUMMARY = "changed={changed} in {time}, {calls} module calls\nhttp://127.0.0.1:8209\n"
START = {"ready_seconds": 1.0, "health": "serving", "ended_with": 0}


@pytest.fixture
def run(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(Run, "install_ansible", lambda _run: None)
    monkeypatch.setattr(Run, "model_file", lambda run, model: run.work / f"{model.name}.gguf")
    return Run(
        tmp_path,
        tmp_path / "work",
        tmp_path / "root",
        CPU,
        (shapes("Q8_0")["small"],),
        8,
        4,
        1,
        8000,
        {},
        wanted="release+/x",
    )


def said(monkeypatch: pytest.MonkeyPatch, *texts: str) -> list[str]:
    """Let ``llama-fleet`` say these in turn; returns the commands that it was given."""
    commands: list[str] = []
    left = list(texts)

    def command(_run: Run, name: str, _arguments: list[str]) -> str:
        commands.append(name)
        return left.pop(0) if name == "up" else ""

    monkeypatch.setattr(noop, "_command", command)
    return commands


def test_a_run_with_nothing_to_do_is_counted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = said(
        monkeypatch,
        SUMMARY.format(changed=2, time="1 min 6 s", calls=7),
        SUMMARY.format(changed=0, time="5.1 s", calls=8),
    )
    first, second = noop.run(run)
    assert (first["run"], first["changed"], first["module_calls"]) == ("the first", 2, 7)
    assert (second["changed"], second["module_calls"]) == (0, 8)
    assert commands == ["up", "up", "down"]


@pytest.mark.parametrize(
    ("summary", "reason"),
    [
        (SUMMARY.format(changed=1, time="5.1 s", calls=4), "changed 1 and made 4 module calls"),
        (SUMMARY.format(changed=0, time="5.1 s", calls=9), "changed 0 and made 9 module calls"),
        ("it works", "told no summary: it works"),
    ],
)
def test_one_that_does_something_fails_and_the_server_is_stopped(
    run: Run, monkeypatch: pytest.MonkeyPatch, summary: str, reason: str
) -> None:
    commands = said(monkeypatch, SUMMARY.format(changed=2, time="9 s", calls=7), summary)
    with pytest.raises(FailedError, match=reason):
        list(noop.run(run))
    assert commands[-1] == "down"


def test_the_options_name_this_runs_release_and_nothing_empty_but_the_prompt(run: Run) -> None:
    words = noop.options(run)
    assert words[:4] == ["--detach", "--no-llama-cpp-install-packages", "--port", "8020"]
    pairs = dict(zip(words[2::2], words[3::2], strict=True))
    assert (pairs["--llama-cpp-source"], pairs["--llama-cpp-root"]) == ("release+/x", str(run.root))
    assert [name for name, value in pairs.items() if not value] == ["--prompt"]


@pytest.mark.parametrize(("first", "second"), [(True, True), (False, False)])
def test_a_restart_that_looks_at_everything_anew_fails(
    run: Run, monkeypatch: pytest.MonkeyPatch, first: bool, second: bool
) -> None:
    starts = [{**START, "unchanged": first}, {**START, "unchanged": second}]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(image.Container, "prepare", lambda _here: None)
    monkeypatch.setattr(image.Container, "refusal", lambda _here: "")
    monkeypatch.setattr(image.Container, "once", lambda _here: starts.pop(0))
    with pytest.raises(FailedError, match="changed, and so the second"):
        list(image.run(run))
    starts += [{**START, "unchanged": False}, {**START, "unchanged": True}]
    found = list(image.run(run))
    assert [value.get("start") for value in found] == [None, "the first", "a restart", None]
    assert "not_seen" in found[-1]


def test_a_host_that_allows_no_mounts_cannot_show_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(image.Container, "prepare", lambda _here: None)
    monkeypatch.setattr(image.Container, "refusal", lambda _here: "unshare: Operation not permitted")
    with pytest.raises(NotHereError, match="Operation not permitted"):
        list(image.run(run))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotHereError, match="mounts want root"):
        list(image.run(run))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a rehearsal wants mounts")
def test_the_root_has_what_the_host_has_but_tmp_var_and_models_of_its_own(run: Run, tmp_path: pathlib.Path) -> None:
    here = image.Container(run, tmp_path / "image")
    here.user = 0
    (tmp_path / "image/root/models").mkdir(parents=True)
    (tmp_path / "image/root/var/lib").mkdir(parents=True)
    for folder in (run.folder, run.work, run.root):
        folder.mkdir(exist_ok=True)
    (run.folder / "seen").touch()
    (tmp_path / "image/root/models/ours").touch()
    script = (
        f"echo $$; ls /models /var; ls -d {run.folder}/seen /usr/bin; ls /proc/1 >/dev/null && touch /tmp/left; "
        f"echo ${MARK}"
    )
    assert here.refusal() == ""
    done = subprocess.run(
        here._command("sh", "-c", script), env=here._environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [
        "1",
        "/models:",
        "ours",
        "/var:",
        "lib",
        f"{run.folder}/seen",
        "/usr/bin",
        str(run.work),
    ]
    assert not os.path.exists("/tmp/left")
    with open("/proc/self/mounts", encoding="utf-8") as file:
        assert str(tmp_path) not in file.read()
