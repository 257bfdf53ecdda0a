# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import pathlib
import subprocess
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import handover, unprivileged

needs_root = pytest.mark.skipif(not handover.may_become_others(), reason="needs root, which may become another user")
USER = 60_600


@pytest.fixture
def open_folder(tmp_path: pathlib.Path) -> typing.Iterator[pathlib.Path]:
    """Make a folder that every user may enter, unlike those of pytest."""
    folder = pathlib.Path("/var/tmp") / f"llama-fleet-test-{tmp_path.name}-{os.getpid()}"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    yield folder
    subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.mark.parametrize(
    ("capabilities", "may"),
    [
        ("000001ffffffffff", True),
        ("00000000a80425fb", True),
        ("0000000000000000", False),
        ("00000000000000c0", False),
        ("", False),
    ],
)
def test_root_without_the_capabilities_becomes_nobody(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capabilities: str, may: bool
) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tx\nCapEff:\t{capabilities}\n", encoding="ascii")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert handover.may_become_others(str(status)) is may
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert handover.may_become_others(str(status)) is False


def test_the_builder_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "may_become_others", lambda: True)
    monkeypatch.setattr(handover, "_has_name", lambda number: number > 60_570)
    assert handover.builder() == 60_570
    monkeypatch.setattr(handover, "may_become_others", lambda: False)
    assert handover.builder() == 0


def test_what_is_closed_to_others_is_found_with_the_folder_that_closes_it(open_folder: pathlib.Path) -> None:
    inner = open_folder / "a" / "b"
    inner.mkdir(parents=True)
    file = inner / "model"
    file.write_text("x")
    (open_folder / "link").symlink_to(inner)
    assert handover.blocked([str(file), str(inner), str(open_folder / "missing" / "file")]) == ""
    (open_folder / "a").chmod(0o700)
    assert (
        handover.blocked([str(open_folder / "link" / "model")])
        == f"{open_folder}/link/model, where {open_folder}/a is closed to others"
    )
    (open_folder / "a").chmod(0o711)
    assert handover.blocked([str(file)]) == ""
    assert handover.blocked([str(open_folder / "a")]) == f"{open_folder}/a, which others may not read"
    file.chmod(0o640)
    assert handover.blocked([str(file)]) == f"{file}, which others may not read"


def _server(report: pathlib.Path) -> list[str]:
    code = (
        "import os, sys; words = sys.argv[1:]; paths = [words[words.index(f) + 1] for f in ('--api-key-file',)] + "
        "[os.environ['LLAMA_ARG_SSL_KEY_FILE']];"
        "print(os.getuid(), os.getgid(), os.getgroups(), os.environ['HOME'], *[open(p).read() for p in paths], sep='|')"
    )
    return ["/usr/bin/python3", "-I", "-c", code, "--api-key-file", str(report / "key"), "--x", str(report / "key")]


@needs_root
def test_a_server_reads_its_secrets_in_memory_and_is_nobody(tmp_path: pathlib.Path) -> None:
    for name in ("key", "tls"):
        (tmp_path / name).write_text(f"the {name}")
        (tmp_path / name).chmod(0o400)
    environment = {"LLAMA_ARG_SSL_KEY_FILE": str(tmp_path / "tls"), "HOME": "/root", "PATH": "/bin"}
    open_before = len(os.listdir("/proc/self/fd"))
    with handover.handed_over(_server(tmp_path), environment, USER) as handed:
        assert str(tmp_path / "tls") not in handed.environment.values()
        assert handed.command[-1] == str(tmp_path / "key"), "only the value of a private flag is replaced"
        copies = [os.fstat(descriptor) for descriptor in handed.descriptors]
        assert [(copy.st_uid, copy.st_gid, copy.st_mode & 0o777) for copy in copies] == [(USER, USER, 0o400)] * 2
        done = subprocess.run(
            handed.command,
            env=handed.environment,
            pass_fds=handed.descriptors,
            check=False,
            capture_output=True,
            text=True,
            **unprivileged.identity(USER),
        )
    assert (done.stdout.strip(), done.stderr) == (f"{USER}|{USER}|{unprivileged.device_groups()}|/|the key|the tls", "")
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_for_nobody_else_all_stays_as_it_is(tmp_path: pathlib.Path) -> None:
    command = _server(tmp_path)
    with handover.handed_over(command, {"HOME": "/root"}, 0) as handed:
        assert handed == (command, {"HOME": "/root"}, ())
    assert unprivileged.identity(0) == {}
    assert unprivileged.identity(USER) == {"user": USER, "group": USER, "extra_groups": unprivileged.device_groups()}


@needs_root
def test_what_root_has_is_given_and_nothing_else(tmp_path: pathlib.Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "cache"
    outside.write_text("x")
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "link").symlink_to(outside)
    (folder / "theirs").write_text("x")
    os.chown(folder / "theirs", 1234, 1234)
    assert handover.give(str(folder), USER)
    owners = {str(path.relative_to(tmp_path)): path.lstat().st_uid for path in [*folder.rglob("*"), folder, outside]}
    assert owners == {"cache": USER, "cache/deep": USER, "cache/deep/link": USER, "cache/theirs": 1234, "outside": 0}
    assert handover.give(str(folder), USER)
    os.chown(folder, 1234, 1234)
    assert not handover.give(str(folder), USER)
