# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the lookup of packed releases in a folder and on a real web server."""

from __future__ import annotations

import dataclasses
import re
import socket
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import run
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.release import cache, pack
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Plain
from ansible_collections.llama_fleet.core.tests.unit.fakes.packed import PARTS, publish
from ansible_collections.llama_fleet.core.tests.unit.fakes.site import NAME, NEW, OLD, Handler, Site, find

if typing.TYPE_CHECKING:
    import pathlib


@pytest.mark.parametrize("slashes", ["", "/", "//"])
@pytest.mark.parametrize("kind", ["url", "folder"])
def test_found_by_fingerprint(site: Site, kind: str, slashes: str) -> None:
    location = site.location(kind) + slashes
    cached = find(location)
    archive = site.folder / f"{NAME}.tar.gz"
    assert cached == cache.Cached(location, NAME, files.sha256_of(archive), archive.stat().st_size, OLD, PARTS, True)
    assert cached.reference == f"{site.location(kind)}/{NAME}.tar.gz"
    assert Handler.asked == ([f"/{site.folder.name}/index.json"] if kind == "url" else [])


@pytest.mark.parametrize(
    ("parts", "fingerprint", "name"),
    [
        ({"backend": "cpu", "libc": "glibc 2.36"}, "", NEW),  # the newest
        ({"compiler": "g++ 12"}, "", OLD),
        ({"compiler": "g++ 12", "backend": "cuda"}, "", ""),
        ({"toolkit": "13.0"}, "", ""),
        ({}, "", ""),
        ({"compiler": "g++ 12"}, NEW, NEW),
        ({"compiler": "g++ 12"}, "0c" * 32, ""),
        ({}, OLD[:12], ""),
    ],
)
def test_found_by_what_is_known(site: Site, parts: dict[str, typing.Any], fingerprint: str, name: str) -> None:
    cached = find(str(site.folder), parts=parts, fingerprint=fingerprint)
    assert (cached.fingerprint if cached else "") == name


def test_the_first_location_that_has_it(site: Site, tmp_path: pathlib.Path) -> None:
    pack.pack(publish(tmp_path / "third", fingerprint="0c" * 32), tmp_path / "near", None, Progress(), run)
    cached = find(str(tmp_path / "near"), site.url, str(site.folder))
    assert cached
    assert cached.location == site.url
    assert find(str(tmp_path / "near"), fingerprint="0d" * 32) is None


@pytest.mark.parametrize(
    ("place", "text", "told"),
    [
        ("nowhere", None, ", found no {location}/index.json. "),
        ("web/nowhere", None, ", found no {location}/index.json. "),
        ("web/broken", None, ", found HTTP status 500 from {location}/index.json"),
        ("web/cut", None, ", found an answer truncated at byte"),
        ("web/nonsense", None, ", found no answer from {location}/index.json (BadStatusLine"),
        ("http://127.0.0.1:9", None, ", found no answer from {location}/index.json (Connection refused"),
        ("a folder", None, ", found {location}/index.json, which cannot be read (Is a directory)"),
        *[
            (place, text, ", found {location}/index.json, which is " + told)
            for place in ("site", "web/site")
            for text, told in (
                ("<html>Welcome</html>", "a file that is not JSON"),
                ("\0\xff", "a file that is not JSON"),
                ('["releases"]', "JSON, but no index of packed releases"),
                ('{"releases": []}', "JSON, but no index of packed releases"),
                ('{"format": 2, "releases": {}}', "an index of format 2, where this version of llama-fleet reads 1"),
                ('{"releases": {}}', "an index of format None, where"),
                (
                    '{"format": 1, "releases": {"b77": []}}',
                    "an index in which releases.b77 is a list, expected an object",
                ),
            )
        ],
    ],
)
def test_a_location_that_cannot_be_read_is_a_warning(
    site: Site, web: tuple[pathlib.Path, str], place: str, text: str | None, told: str
) -> None:
    root, url = web
    location = f"{url}/{place[4:]}" if place.startswith("web/") else place if ":" in place else str(root / place)
    if text is not None:
        (root / "site").mkdir(exist_ok=True)
        (root / "site" / "index.json").write_text(text, encoding="latin-1")
    if place == "a folder":
        (root / place / "index.json").mkdir(parents=True)
    warnings: list[str] = []
    cached = cache.find([location, site.url], {}, OLD, warnings)
    assert cached
    assert cached.location == site.url
    (warning,) = warnings
    assert re.match(r"llama_cpp_cache: expected .+" + re.escape(told.format(location=location)), warning)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sha256": "../../etc"}, "sha256 is '../../etc', expected a text like"),
        ({"size": 0}, "size is 0, expected a whole number"),
        ({"size": "7"}, "size is '7', expected a whole number"),
        ({"fingerprint": None}, "fingerprint is null, expected a text"),
        ({"signed": "yes"}, "signed is 'yes', expected true or false"),
    ],
)
def test_an_entry_that_is_none(site: Site, changes: dict[str, typing.Any], told: str) -> None:
    index = files.read_json(site.folder / "index.json", Plain()) or {}
    index["releases"][NAME].update(changes)
    files.write_json(site.folder / "index.json", index)
    warnings: list[str] = []
    assert cache.find([str(site.folder)], {}, OLD, warnings) is None
    assert f"an index in which releases.{NAME}.{told}" in warnings[0]


def test_an_entry_whose_name_leads_elsewhere(site: Site) -> None:
    index = files.read_json(site.folder / "index.json", Plain()) or {}
    index["releases"]["../../etc/b1"] = index["releases"].pop(NAME)
    files.write_json(site.folder / "index.json", index)
    warnings: list[str] = []
    assert cache.find([str(site.folder)], {}, OLD, warnings) is None
    assert "an index in which a name in releases is '../../etc/b1'" in warnings[0]


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("relative/folder", "relative/folder"),
        ("", ""),
        ("ftp://host/folder", "ftp://host/folder"),
        ("https://", "https://"),
        ("https://host:port/folder", "https://host:port/folder"),
        ("https://user:secret@host/folder", "https://…@host/folder"),
        ("https://host/folder?token=secret", "https://host/folder"),
        ("https://host/a folder", "https://host/a folder"),
    ],
)
def test_locations_that_are_none(location: str, shown: str) -> None:
    (problem,) = cache.location_problems(["/srv/packed", "https://host:8443/folder/", location])
    assert (problem.subject, problem.found) == ("llama_cpp_cache", f"'{shown}'")


def test_nothing_of_a_server_that_hangs_is_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    patience = cache.PATIENCE
    assert patience.tries * patience.total + (patience.tries - 1) * patience.longest_wait <= 150, (
        "seconds for a location"
    )
    monkeypatch.setattr(cache, "PATIENCE", dataclasses.replace(patience, seconds=0.2, total=0.2, backoff=0.01))
    warnings: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/folder"
        assert cache.find([url], {}, OLD, warnings) is None
    assert warnings[0].startswith(
        "llama_cpp_cache: expected a file or index that can be read, found no answer from "
        f"{url}/index.json (no byte for 0.2 s) (3 times in a row)"
    )
