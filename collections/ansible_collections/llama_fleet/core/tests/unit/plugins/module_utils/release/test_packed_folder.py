# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the index, manifests and signatures in a folder of packed releases, with the real ssh-keygen."""

from __future__ import annotations

import re
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import run
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import pack
from ansible_collections.llama_fleet.core.plugins.module_utils.release import signature as release_signature
from ansible_collections.llama_fleet.core.tests.unit.fakes import packed as fake_packed
from ansible_collections.llama_fleet.core.tests.unit.fakes.packed import Host, make_key

if typing.TYPE_CHECKING:
    import pathlib

NAME = "b77-fefefefefefe"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("key") / "key"
    make_key(path)
    return path


@pytest.fixture
def host(tmp_path: pathlib.Path, key: pathlib.Path) -> Host:
    return Host(tmp_path, fake_packed.publish(tmp_path / "root"), tmp_path / "packed", key)


def test_the_index_tells_what_is_there(host: Host) -> None:
    packed, _changed = host.pack()
    another = fake_packed.publish(host.root / "root", fingerprint="ab" * 32, compiler="clang 21")
    host.pack(host.key, another)
    listed = host.listed()
    assert sorted(listed) == ["b77-abababababab", NAME]
    assert listed[NAME].pop("packed") > 1_700_000_000
    assert listed[NAME] == {
        "fingerprint": "fe" * 32,
        "parts": fake_packed.PARTS,
        "sha256": packed.sha256,
        "size": packed.size,
        "signed": False,
        "suffix": ".tar.gz",
    }
    assert listed["b77-abababababab"]["signed"]
    assert listed["b77-abababababab"]["parts"]["compiler"] == "clang 21"
    kinds = [f"{name}.{kind}" for name in listed for kind in ("tar.gz", "json")]
    assert host.names() == sorted([".lock", "index.json", *kinds, "b77-abababababab.tar.gz.sig"])
    assert {path.name: path.stat().st_mode & 0o777 for path in host.folder.glob("[!.]*")} == dict.fromkeys(
        host.names()[1:], 0o644
    )


def test_a_release_that_is_signed_later_keeps_its_bytes(host: Host, key: pathlib.Path) -> None:
    unsigned, _changed = host.pack()
    assert host.plan(host.key)
    signed, changed = host.pack(host.key)
    assert (changed, signed.signed, signed.sha256) == (True, True, unsigned.sha256)
    signature = signed.archive.with_name(f"{NAME}.tar.gz.sig")
    public = key.with_name("key.pub").read_text(encoding="utf-8")
    assert release_signature.verify(signed.archive, signature, [public], run, "") == "the key"
    assert host.listed()[NAME]["signed"] is True


@pytest.mark.parametrize("form", ["RFC4716", "PEM"])
def test_another_key_signs_anew_where_keys_can_be_told_apart(host: Host, form: str) -> None:
    host.pack(host.key)
    other = host.root / "other"
    public = make_key(other, "ecdsa", form=form)
    assert host.plan(other) is (form == "RFC4716")
    packed, changed = host.pack(other)
    assert changed is (form == "RFC4716")
    assert (
        release_signature.signed_by(packed.archive.with_name(f"{NAME}.tar.gz.sig")) == " ".join(public.split()[:2])
    ) is changed


@pytest.mark.parametrize("damage", ["archive", "truncated", "manifest", "signature", "not listed"])
def test_what_is_damaged_is_packed_again(host: Host, damage: str) -> None:
    packed, _changed = host.pack(host.key)
    whole = packed.archive.read_bytes()
    signature = packed.archive.with_name(f"{NAME}.tar.gz.sig")
    if damage == "archive":
        packed.archive.unlink()
    elif damage == "truncated":
        packed.archive.write_bytes(whole[:-1])
    elif damage == "manifest":
        (host.folder / f"{NAME}.json").write_text("{}", encoding="utf-8")
    elif damage == "signature":
        signature.write_text("", encoding="utf-8")
    else:
        (host.folder / "index.json").write_text('{"format": 1, "releases": {}}', encoding="utf-8")
    # Without the key, a signature of the same bytes stays.
    kept = damage in ("archive", "truncated", "manifest")
    again, changed = host.pack()
    assert (changed, again.signed, signature.exists()) == (True, kept, kept or damage == "signature")
    assert host.plan(host.key) is not kept
    assert host.pack(host.key)[0].signed
    assert packed.archive.read_bytes() == whole


def test_hosts_that_share_a_folder_do_not_pack_in_turn(host: Host) -> None:
    """Two builds with the same fingerprint can have different bytes."""
    packed, _changed = host.pack(host.key)
    other = fake_packed.publish(host.root / "other", b"other bytes")
    assert pack.plan_pack(other, host.folder, host.key) is False
    assert host.pack(host.key, other) == (packed, False)


def test_other_bytes_do_not_keep_the_signature(host: Host) -> None:
    old, _changed = host.pack(host.key)
    (host.folder / f"{NAME}.json").unlink()
    new, changed = host.pack(release=fake_packed.publish(host.root / "other", b"other bytes"))
    assert (changed, new.signed) == (True, False)
    assert old.sha256 != new.sha256 == files.sha256_of(new.archive) == host.listed()[NAME]["sha256"]
    assert not new.archive.with_name(f"{NAME}.tar.gz.sig").exists()


def test_an_archive_of_an_earlier_version_is_not_packed_again(host: Host) -> None:
    host.pack()
    old = fake_packed.make_old(host.folder, NAME)
    assert host.plan() is False
    packed, changed = host.pack()
    assert (packed.archive, packed.sha256, changed) == (old, files.sha256_of(old), False)
    assert not (host.folder / f"{NAME}.tar.gz").exists()


def test_a_new_archive_beside_an_old_one_is_no_second_release(host: Host) -> None:
    """The old one stays, because a source can name it with its sum, but the index lists one of them."""
    host.pack()
    old = fake_packed.make_old(host.folder, NAME)
    packed, changed = host.pack(host.key)
    assert (packed.archive.name, packed.signed, changed) == (f"{NAME}.tar.gz", True, True)
    assert {name: entry["sha256"] for name, entry in host.listed().items()} == {NAME: packed.sha256}
    assert old.is_file()
    (host.folder / "index.json").unlink()
    host.pack(release=fake_packed.publish(host.root / "root", fingerprint="ab" * 32))
    assert host.listed()[NAME]["sha256"] == packed.sha256


def test_a_lost_index_of_archives_of_an_earlier_version(host: Host) -> None:
    host.pack()
    old = fake_packed.make_old(host.folder, NAME)
    (host.folder / "index.json").unlink()
    host.pack(release=fake_packed.publish(host.root / "root", fingerprint="ab" * 32))
    assert (host.listed()[NAME]["sha256"], host.listed()[NAME]["suffix"]) == (files.sha256_of(old), ".tar.zst")


@pytest.mark.parametrize("where", ["index.json", f"{NAME}.json"])
def test_another_release_of_the_same_name_is_replaced(host: Host, where: str) -> None:
    host.pack()
    path = host.folder / where
    path.write_text(path.read_text(encoding="utf-8").replace("fe" * 32, "fe" * 31 + "aa"), encoding="utf-8")
    assert host.plan()
    assert host.pack()[1]
    assert host.listed()[NAME]["fingerprint"] == "fe" * 32
    assert not host.plan()


def test_a_lost_index_is_made_anew_from_the_folder(host: Host) -> None:
    host.pack(host.key)
    before = host.listed()
    (host.folder / "index.json").unlink()
    (host.folder / "b1-stray.tar.gz").write_bytes(b"of nobody")
    another = fake_packed.publish(host.root / "root", fingerprint="ab" * 32)
    host.pack(release=another)
    assert host.listed()[NAME] == before[NAME]
    assert sorted(host.listed()) == ["b77-abababababab", NAME]


def test_what_is_gone_from_the_folder_goes_from_the_index(host: Host) -> None:
    packed, _changed = host.pack()
    packed.archive.unlink()
    host.pack(release=fake_packed.publish(host.root / "root", fingerprint="ab" * 32))
    assert list(host.listed()) == ["b77-abababababab"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<html>", "a file that is not JSON"),
        ("[]", "JSON, but no index of packed releases"),
        ('{"format": 2, "releases": {}}', "an index of format 2, where this version of llama-fleet reads 1"),
        (
            '{"format": 1, "releases": {"../b1": {}}}',
            "an index in which a name in releases is '../b1', expected a text like [A-Za-z0-9][A-Za-z0-9._+-]{0,199}",
        ),
    ],
)
def test_an_index_of_somebody_else_stays(host: Host, text: str, found: str) -> None:
    host.folder.mkdir()
    (host.folder / "index.json").write_text(text, encoding="utf-8")
    for call in (host.plan, host.pack):
        with pytest.raises(
            ProblemError,
            match=f"^llama_cpp_pack_to: expected .*, found .*/packed/index.json with {re.escape(found)}\\.",
        ):
            call()
    assert host.names() == ["index.json"]
    assert (host.folder / "index.json").read_text(encoding="utf-8") == text
