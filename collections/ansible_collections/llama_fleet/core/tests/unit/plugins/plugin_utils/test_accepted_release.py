# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test which releases the controller accepts as the ones it asked a host to build."""

from __future__ import annotations

import gzip
import re
import typing

import pytest
import zstandard

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.options import fingerprint
from ansible_collections.llama_fleet.core.plugins.plugin_utils import accepted_release
from ansible_collections.llama_fleet.core.plugins.plugin_utils.accepted_release import Asked, accept, asked
from ansible_collections.llama_fleet.core.tests.unit.fakes import shared as fake_shared
from ansible_collections.llama_fleet.core.tests.unit.fakes.build_host import Host
from ansible_collections.llama_fleet.core.tests.unit.fakes.shared import (
    ARGUMENTS,
    BUILD,
    FINGERPRINT,
    NAME,
    PARTS,
    PLANNED,
)

if typing.TYPE_CHECKING:
    import pathlib

RELEASE = Asked(BUILD, FINGERPRINT, PARTS)


def of(**parts: typing.Any) -> dict[str, typing.Any]:
    """Return the answer of a host that has built other parts, with the fingerprint of those parts."""
    changed = {**PARTS, **parts}
    return {"build": changed["build"], "fingerprint": fingerprint(changed), "fingerprint_parts": changed}


def test_what_was_asked_for_has_the_controllers_name() -> None:
    found = asked(ARGUMENTS, PLANNED, fake_shared.result())
    assert (found, found.name, found.file) == (RELEASE, NAME, f"{NAME}.tar.gz")
    # Parts that a host learns only during the build may differ from the plan.
    assert asked(ARGUMENTS, {**PLANNED, "compiler": ""}, fake_shared.result()) == RELEASE


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"fingerprint": "ef" * 32}, "a fingerprint that does not match its parts"),
        ({"fingerprint_parts": {**PARTS, "extra": 1}}, "a fingerprint that does not match its parts"),
        ({"fingerprint_parts": {}}, "a release of another kind"),
        (of(build="../../../etc/cron.d/x"), "a release of another kind"),
        (of(build="b1 -oProxyCommand=x"), "a release of another kind"),
        (of(source="{{ lookup('pipe', 'x') }}"), "a release of another kind"),
        (of(compiler="\x1b[2J"), "a release of another kind"),
        (of(source="cd" * 32), "a release whose source is not the one that was planned"),
        (of(libc="glibc 2.41"), "a release whose libc is not the one that was planned"),
        (of(cmake_options={}), "a release whose cmake_options is not the one that was asked for"),
        (
            of(cmake_options={**PARTS["cmake_options"], "CMAKE_CXX_FLAGS": "-fplugin=evil.so"}),
            "a release whose cmake_options is not the one that was asked for",
        ),
    ],
)
def test_what_was_not_asked_for_has_none(said: dict[str, typing.Any], reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        asked(ARGUMENTS, PLANNED, fake_shared.result(**said))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"source": "cd" * 32}, "source"),
        ({"build": "b9"}, "build"),
        ({"backend": "cuda"}, "backend"),
        ({"cuda_architectures": ["90-real"]}, "cuda_architectures"),
    ],
)
def test_a_host_whose_plan_lies_gets_no_further(change: dict[str, typing.Any], name: str) -> None:
    said = of(**change)
    with pytest.raises(ValueError, match=f"{name} is not the one that was asked for"):
        asked(ARGUMENTS, said["fingerprint_parts"], fake_shared.result(**said))


def test_the_archive_is_read_and_summed_here(tmp_path: pathlib.Path) -> None:
    archive = fake_shared.pack(tmp_path / "a.tar.gz", links={"bin/x": "llama-server"})
    entry = accept(archive, RELEASE)
    assert (entry.name, entry.sha256, entry.size, entry.fingerprint, entry.parts) == (
        NAME,
        fake_shared.sha256(archive),
        archive.stat().st_size,
        FINGERPRINT,
        PARTS,
    )
    assert list(tmp_path.iterdir()) == [archive]


ARCHIVES: dict[str, typing.Callable[[pathlib.Path], object]] = {
    "another fingerprint": lambda path: fake_shared.pack(path, fingerprint="ef" * 32),
    "another build": lambda path: fake_shared.pack(path, build="b9"),
    "other parts": lambda path: fake_shared.pack(path, fingerprint_parts={**PARTS, "libc": "glibc 2.41"}),
    "a file above the release": lambda path: fake_shared.pack(path, {"../x": b"x"}),
    "an absolute file": lambda path: fake_shared.pack(path, {"/tmp/x": b"x"}),
    "a link that leads out": lambda path: fake_shared.pack(path, links={"bin/x": "../../../etc/passwd"}),
    "a file of other bytes": lambda path: fake_shared.pack(path, {"bin/a": b"x"}, files={"bin/a": "cd" * 32}),
    "cut short": lambda path: path.write_bytes(fake_shared.pack(path).read_bytes()[:-200]),
    "in zstd, for which the controller has nothing": lambda path: path.write_bytes(
        zstandard.compress(gzip.decompress(fake_shared.pack(path).read_bytes()))
    ),
    "nothing": lambda path: path.touch(),
    "no archive": lambda path: path.write_bytes(b"x" * 1000),
    "more than there is room for": lambda path: fake_shared.pack(
        path, sizes={"bin/llama-server": 1 << 60, "licenses/LICENSE": 5}
    ),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_another_archive_is_refused_and_nothing_of_it_stays(name: str, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    ARCHIVES[name](folder / "a.tar.gz")
    with pytest.raises(accepted_release.REFUSALS):
        accept(folder / "a.tar.gz", RELEASE)
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "a.tar.gz"]


@pytest.mark.parametrize(
    ("limit", "most", "reason"),
    [("LARGEST_ARCHIVE", 10, "an archive of "), ("LARGEST_RELEASE", 1, "more than fit")],
)
def test_an_archive_has_its_limits_here(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, limit: str, most: int, reason: str
) -> None:
    fake_shared.pack(tmp_path / "a.tar.gz")
    monkeypatch.setattr(accepted_release, limit, most)
    with pytest.raises(ValueError, match=reason):
        accept(tmp_path / "a.tar.gz", RELEASE)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


@pytest.mark.parametrize("size", [0, -1, True, "7", accepted_release.LARGEST_ARCHIVE + 1, None])
def test_a_size_that_is_none_is_refused(size: object) -> None:
    with pytest.raises(ValueError, match="the size of its packed release"):
        accepted_release.size_of({"size": size})


def test_a_real_build_is_what_was_asked_for(tmp_path: pathlib.Path) -> None:
    host = Host(tmp_path)
    arguments = {"source": host.source, "root": str(host.root)}
    planned, built = host.run(plan_only=True), host.run()
    found = asked(arguments, planned["fingerprint_parts"], built)
    assert (found.name, found.parts) == (built["path"].rpartition("/")[2], built["fingerprint_parts"])


def test_what_there_is_no_room_for_is_refused_before_any_of_it_is_written(tmp_path: pathlib.Path) -> None:
    ARCHIVES["more than there is room for"](tmp_path / "a.tar.gz")
    with pytest.raises(ValueError, match="more than fit"):
        accept(tmp_path / "a.tar.gz", RELEASE)
