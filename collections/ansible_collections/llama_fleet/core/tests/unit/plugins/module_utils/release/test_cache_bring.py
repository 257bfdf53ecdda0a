# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test fetching packed releases from a folder and from a real web server."""

from __future__ import annotations

import re
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result, run
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.release import cache, pack, signature
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Plain
from ansible_collections.llama_fleet.core.tests.unit.fakes.packed import borrow, make_key, make_old
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner
from ansible_collections.llama_fleet.core.tests.unit.fakes.site import NAME, NEW, OLD, Handler, Site, find

if typing.TYPE_CHECKING:
    import pathlib


def bring(site: Site, kind: str, folder: pathlib.Path, *trusted: str) -> bytes:
    cached = find(site.location(kind))
    assert cached
    with cache.bring(cached, folder, trusted, Progress(), run) as archive:
        return archive.read()


@pytest.mark.parametrize("trusting", [False, True])
@pytest.mark.parametrize("kind", ["url", "folder"])
def test_brought_and_verified(site: Site, tmp_path: pathlib.Path, kind: str, trusting: bool) -> None:
    cached = find(site.location(kind))
    assert cached
    with cache.bring(
        cached, tmp_path / "here", [site.other, site.builder] if trusting else [], Progress(), run
    ) as archive:
        assert pack.unpack(archive, "there/x", tmp_path / "staged", borrow, Progress())["fingerprint"] == OLD
    assert not (tmp_path / "here").exists() or list((tmp_path / "here").iterdir()) == []
    assert (site.folder / f"{NAME}.tar.gz").is_file()
    paths = ["index.json", *([f"{NAME}.tar.gz.sig"] if trusting else []), f"{NAME}.tar.gz"]
    assert Handler.asked == ([f"/{site.folder.name}/{path}" for path in paths] if kind == "url" else [])


@pytest.mark.parametrize("trusting", [False, True])
@pytest.mark.parametrize("kind", ["url", "folder"])
def test_an_archive_of_an_earlier_version_is_brought(
    site: Site, tmp_path: pathlib.Path, kind: str, trusting: bool
) -> None:
    old = make_old(site.folder, NAME)
    if trusting:
        key = tmp_path / "key"
        trusted = [make_key(key)]
        signature.sign(old, key, run)
    cached = find(site.location(kind))
    assert cached
    assert cached.reference == f"{site.location(kind)}/{NAME}.tar.zst"
    with cache.bring(cached, tmp_path / "here", trusted if trusting else [], Progress(), run) as archive:
        assert pack.unpack(archive, "there/x", tmp_path / "staged", borrow, Progress())["fingerprint"] == OLD


def test_what_is_there_already_is_not_fetched_again(site: Site, tmp_path: pathlib.Path) -> None:
    right = (site.folder / f"{NAME}.tar.gz").read_bytes()
    for there, asked in ((right, 1), (b"damaged", 2)):
        (tmp_path / f"{NAME}.tar.gz").write_bytes(there)
        Handler.asked.clear()
        assert bring(site, "url", tmp_path) == right
        assert len(Handler.asked) == asked


def change(site: Site) -> None:
    path = site.folder / f"{NAME}.tar.gz"
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def truncate(site: Site) -> None:
    path = site.folder / f"{NAME}.tar.gz"
    path.write_bytes(path.read_bytes()[:-1])


def remove(site: Site) -> None:
    (site.folder / f"{NAME}.tar.gz").unlink()


@pytest.mark.parametrize("trusting", [False, True])
@pytest.mark.parametrize("kind", ["url", "folder"])
@pytest.mark.parametrize("damage", [change, truncate, remove])
def test_an_archive_that_is_not_the_one_listed(
    site: Site, tmp_path: pathlib.Path, kind: str, damage: typing.Callable[[Site], None], trusting: bool
) -> None:
    damage(site)
    sums = rf"expected sha256 .*, found sha256 [0-9a-f]{{64}} of .*{NAME}.tar.gz"
    gone = (
        f"expected .*, found HTTP status 404 from {site.url}/{NAME}.tar.gz"
        if kind == "url"
        else (f"expected .*, found {site.folder}/{NAME}.tar.gz, which cannot be read or copied")
    )
    with pytest.raises(ProblemError, match=f"^llama_cpp_cache: {gone if damage is remove else sums}"):
        bring(site, kind, tmp_path / "here", *([site.builder] if trusting else []))
    assert not (tmp_path / "here" / f"{NAME}.tar.gz").exists()


def test_changed_bytes_with_a_changed_sum_are_not_trusted(site: Site, tmp_path: pathlib.Path) -> None:
    """An attacker who can write to the location can write its index too."""
    change(site)
    index = files.read_json(site.folder / "index.json", Plain()) or {}
    index["releases"][NAME]["sha256"] = files.sha256_of(site.folder / f"{NAME}.tar.gz")
    files.write_json(site.folder / "index.json", index)
    for kind in ("url", "folder"):
        with pytest.raises(
            ProblemError,
            match=(f"^llama_cpp_cache: expected .*, found {NAME}.tar.gz, whose signature by the builder is invalid"),
        ):
            bring(site, kind, tmp_path / "here", site.builder)
        assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize("kind", ["url", "folder"])
def test_who_is_not_trusted_sends_nothing(site: Site, tmp_path: pathlib.Path, kind: str) -> None:
    with pytest.raises(
        ProblemError, match=r"^llama_cpp_cache: expected .*, found .*\.sig, which is by ssh-ed25519 SHA256:"
    ):
        bring(site, kind, tmp_path / "here", site.other)
    assert f"/{site.folder.name}/{NAME}.tar.gz" not in Handler.asked
    (site.folder / f"{NAME}.tar.gz.sig").unlink()
    with pytest.raises(
        ProblemError, match=r"^llama_cpp_cache: expected .*, found .*\.sig, which is missing or not an SSH"
    ):
        bring(site, kind, tmp_path / "here", site.builder)
    Handler.asked.clear()
    unsigned = find(site.location(kind), fingerprint=NEW)
    assert unsigned
    with pytest.raises(
        ProblemError, match=rf"^llama_cpp_cache: expected .*, found {unsigned.reference}, which is not signed\."
    ):
        start(cache.bring(unsigned, tmp_path / "here", [site.builder], Progress(), run))
    assert len(Handler.asked) <= 1
    assert not list(tmp_path.glob("here/*"))


def test_a_signer_that_is_no_key_is_told_before_anything_is_read(site: Site, tmp_path: pathlib.Path) -> None:
    cached = find(site.url)
    assert cached
    Handler.asked.clear()
    with pytest.raises(ProblemError, match=r"^llama_cpp_trusted_signers: expected .*, found 'nobody'"):
        start(cache.bring(cached, tmp_path, ["nobody"], Progress(), run))
    assert Handler.asked == []


def test_nothing_is_fetched_that_could_not_be_verified(site: Site, tmp_path: pathlib.Path) -> None:
    cached = find(site.url)
    assert cached
    Handler.asked.clear()
    with pytest.raises(ProblemError, match=r"^ssh-keygen: expected .*, found no such program"):
        start(cache.bring(cached, tmp_path, [site.builder], Progress(), FakeRunner(Result(1, "", ""))))
    assert Handler.asked == []


@pytest.mark.parametrize("trusting", [False, True])
@pytest.mark.parametrize("swap", ["another file in its place", "other bytes in it"])
def test_what_is_verified_is_what_is_unpacked(site: Site, tmp_path: pathlib.Path, swap: str, trusting: bool) -> None:
    """A write to the folder right after the verification changes nothing."""
    cached = find(str(site.folder))
    assert cached
    path = site.folder / f"{NAME}.tar.gz"
    path.chmod(0o666)
    with cache.bring(cached, tmp_path / "here", [site.builder] if trusting else [], Progress(), run) as archive:
        if swap == "another file in its place":
            path.unlink()
        path.write_bytes(b"evil")
        assert pack.unpack(archive, "there/x", tmp_path / "staged", borrow, Progress())["fingerprint"] == OLD


def start(opening: typing.ContextManager[object]) -> None:
    with opening:
        pytest.fail("it was brought")


@pytest.mark.parametrize("name", ["", "..", "a%2Fb", ".hidden"])
def test_names_that_could_lead_elsewhere_are_not_used(
    site: Site, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    targets: list[pathlib.Path] = []
    monkeypatch.setattr(cache, "fetch", lambda _url, target, *_more, **_named: targets.append(target))
    with pytest.raises(ProblemError, match="which cannot be read or copied"):
        start(cache.obtain(f"{site.url}/{name}", "0" * 64, tmp_path, [], Progress(), run, "llama_cpp_source"))
    (target,) = targets
    assert re.fullmatch(re.escape(str(tmp_path)) + r"/[0-9a-f]{16}\.tar\.gz", str(target))


def test_a_path_needs_no_sum(site: Site, tmp_path: pathlib.Path) -> None:
    path = site.folder / f"{NAME}.tar.gz"
    with cache.obtain(str(path), "", tmp_path, [], Progress(), run, "llama_cpp_source") as archive:
        assert archive.read() == path.read_bytes()
    with pytest.raises(
        ProblemError, match=r"^llama_cpp_source: expected .*, found .*/none.tar.gz, which cannot be read or copied"
    ):
        start(cache.obtain(str(tmp_path / "none.tar.gz"), "", tmp_path, [], Progress(), run, "llama_cpp_source"))


def test_an_answer_that_breaks_off_goes_on_at_the_next_run(
    site: Site, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tmp_path / f"{NAME}.tar.gz.part"
    part.write_bytes((site.folder / f"{NAME}.tar.gz").read_bytes()[:500])
    seen: list[int] = []
    monkeypatch.setattr(Progress, "update", lambda _self, done, _total, _unit: seen.append(done))
    bring(site, "url", tmp_path)
    assert seen[0] == 500
    assert seen[-1] == (site.folder / f"{NAME}.tar.gz").stat().st_size
