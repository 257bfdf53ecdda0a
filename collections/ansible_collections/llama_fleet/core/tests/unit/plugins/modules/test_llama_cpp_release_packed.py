# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Releases packed on one host and taken by another, kept, removed; the project's own binaries."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import platform
import re
import shutil
import tarfile
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.published import Published
from ansible_collections.llama_fleet.core.plugins.module_utils.release import index as release_index
from ansible_collections.llama_fleet.core.tests.unit.fakes import packed as fake_packed
from ansible_collections.llama_fleet.core.tests.unit.fakes import site as fake_site
from ansible_collections.llama_fleet.core.tests.unit.fakes.build_host import NEEDS_BUILD, Facts, Host

pytestmark = NEEDS_BUILD


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Host, Facts]:
    """Return a host that has built and packed its release, signed with the key ``signer``, and the result of that."""
    folder = tmp_path_factory.mktemp("built")
    fake_packed.make_key(folder / "signer")
    host = Host(folder)
    return host, host.run(state="packed", pack_to=str(folder / "packed"), signing_key=str(folder / "signer"))


@pytest.fixture
def host(tmp_path: pathlib.Path, built: tuple[Host, Facts]) -> Host:
    """Return the host that takes the archive: the same source, another root."""
    folder = tmp_path / "host"
    folder.mkdir()
    host = Host(folder)
    host.source = built[0].source
    return host


def location(built: tuple[Host, Facts]) -> str:
    return str(built[0].folder / "packed")


def manifest_of(result: Facts) -> dict[str, typing.Any]:
    return typing.cast(
        "dict[str, typing.Any]",
        json.loads((pathlib.Path(result["path"]) / "manifest.json").read_text(encoding="utf-8")),
    )


def test_packed_once(built: tuple[Host, Facts]) -> None:
    host, first = built
    assert (first["changed"], first["compiled"], first["origin"]) == (True, True, "built")
    assert (pathlib.Path(first["packed"]["path"]).name, first["packed"]["signed"]) == (
        f"b1234-{first['fingerprint'][:12]}.tar.gz",
        True,
    )
    again = host.run(state="packed", pack_to=location(built), signing_key=str(host.folder / "signer"))
    assert (again["changed"], again["packed"]) == (False, first["packed"])
    planned = host.run(state="packed", pack_to=str(host.folder / "elsewhere"), plan_only=True)
    assert (planned["would_change"], planned["would_compile"], (host.folder / "elsewhere").exists()) == (
        True,
        False,
        False,
    )


def test_another_host_takes_it(host: Host, built: tuple[Host, Facts]) -> None:
    planned = host.run(cache=[location(built)], plan_only=True)
    assert (planned["would_change"], planned["would_compile"], planned["takes"]) == (
        True,
        False,
        f"b1234-{planned['fingerprint'][:12]}",
    )
    shutil.rmtree(host.root / "venv")  # nothing is compiled with
    taken = host.run(cache=["/nowhere", location(built)])
    assert (taken["changed"], taken["compiled"], taken["origin"], taken["taken_from"].startswith(location(built))) == (
        True,
        False,
        "packed",
        True,
    )
    assert taken["fingerprint"] == built[1]["fingerprint"]
    assert manifest_of(taken)["files"] == manifest_of(built[1])["files"]
    again = host.run(cache=[location(built)])
    assert (again["changed"], again["path"]) == (False, taken["path"])
    assert not list((host.root / "sources").glob("*"))


def test_what_the_controller_offers_is_part_of_a_plan(host: Host, built: tuple[Host, Facts]) -> None:
    offered = (built[0].folder / "packed" / release_index.INDEX).read_text(encoding="utf-8")
    planned = host.run(offered=offered, plan_only=True)
    assert (planned["would_compile"], planned["takes"], planned["taken_from"]) == (
        False,
        pathlib.Path(built[1]["path"]).name,
        "controller",
    )


def test_always_built_if_wanted(host: Host, built: tuple[Host, Facts]) -> None:
    made = host.run(cache=[location(built)], method="source")
    assert (made["compiled"], made["origin"]) == (True, "built")


@pytest.mark.parametrize("trusted", [True, False])
def test_only_of_who_is_trusted(host: Host, built: tuple[Host, Facts], trusted: bool) -> None:
    key = (
        (built[0].folder / "signer.pub").read_text(encoding="utf-8")
        if trusted
        else fake_packed.make_key(host.folder / "other")
    )
    made = host.run(cache=[location(built)], trusted_signers=[key])
    assert (made["changed"], made["compiled"]) == (True, not trusted)
    assert ("trusted_signers" in str(made.get("warnings"))) == (not trusted)


@pytest.mark.parametrize("pinned", [True, False])
def test_one_in_particular(host: Host, built: tuple[Host, Facts], pinned: bool) -> None:
    packed = built[1]["packed"]
    source = f"release+{packed['path']}" + (f"#sha256={packed['sha256']}" if pinned else "")
    assert host.run(source=source, _ansible_check_mode=True)["changed"]
    taken = host.run(source=source)
    assert (taken["changed"], taken["compiled"], taken["fingerprint"]) == (True, False, built[1]["fingerprint"])
    assert not host.run(source=source)["changed"]


def test_one_that_is_damaged_is_refused(host: Host, built: tuple[Host, Facts]) -> None:
    damaged = host.folder / pathlib.Path(built[1]["packed"]["path"]).name
    data = bytearray(pathlib.Path(built[1]["packed"]["path"]).read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    failed = host.run(source=f"release+{damaged}#sha256={built[1]['packed']['sha256']}")
    assert f"llama_cpp_source: expected sha256 {built[1]['packed']['sha256']}, found sha256" in failed["msg"]
    assert "expected" in host.run(source=f"release+{damaged}")["msg"]
    assert not list((host.root / "releases").glob("*"))


def test_old_ones_go_but_not_what_an_instance_uses(host: Host) -> None:
    paths = [pathlib.Path(host.run(version=f"b{number}", keep=0)["path"]) for number in (1, 2, 3)]
    generation = host.folder / "etc" / "instances" / "default" / "generations" / "1"
    generation.mkdir(parents=True)
    files.write_json(generation / "manifest.json", {"command": [f"{paths[0]}/bin/llama-server"]})
    etc = {"instances": str(host.folder / "etc")}
    planned = host.run(version="b3", keep=1, plan_only=True, **etc)
    assert (planned["would_change"], planned["removed"]) == (True, [str(paths[1])])
    assert paths[1].exists()
    made = host.run(version="b3", keep=1, **etc)
    assert (made["changed"], made["removed"]) == (True, [str(paths[1])])
    assert [path.exists() for path in paths] == [True, False, True]
    assert not host.run(version="b3", keep=1, **etc)["changed"]


def test_a_generation_that_cannot_be_read_keeps_them(host: Host) -> None:
    for number in (1, 2):
        host.run(version=f"b{number}", keep=0)
    generation = host.folder / "etc" / "instances" / "default" / "generations" / "1"
    generation.mkdir(parents=True)
    (generation / "manifest.json").write_text("{", encoding="utf-8")
    result = host.run(version="b2", keep=1, instances=str(host.folder / "etc"))
    assert (result["changed"], result["removed"]) == (False, [])
    assert "llama_cpp_instances" in str(result["warnings"])


def test_the_projects_own_binaries(host: Host, built: tuple[Host, Facts]) -> None:
    """They have the layout of the project's archives; the programs in them are those that were built."""
    (host.folder / "site" / "b1").mkdir(parents=True)
    machine = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]
    archive = host.folder / "site" / "b1" / f"llama-b1-bin-ubuntu-{machine}.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(pathlib.Path(built[1]["path"]) / "bin", "llama-b1")
    source = f"upstream:b1#sha256={files.sha256_of(archive)}"
    with fake_site.served(host.folder / "site") as url:
        failed = host.run(source=f"upstream:b1#sha256={'0' * 64}", upstream_url=url)
        taken = host.run(source=source, upstream_url=url, method="upstream")
    assert f"llama_cpp_source: expected sha256 {'0' * 64}, found sha256" in failed["msg"]
    assert (taken["changed"], taken["compiled"], taken["origin"], taken["build"]) == (True, False, "upstream", "b1")
    manifest = manifest_of(taken)
    assert manifest["smoke_test"]["cpu"]["generation"] > 0
    assert (manifest["why"], manifest_of(built[1])["why"][:22]) == (
        "llama_cpp_source names them",
        "llama_cpp_method is au",
    )
    assert {f"bin/{name}" for name in ("llama-server", "llama-bench")} < set(manifest["files"])
    assert not host.run(source=source, upstream_url="http://127.0.0.1:9")["changed"], "no request for what is there"


def test_a_channel_of_the_projects_binaries(host: Host, built: tuple[Host, Facts]) -> None:
    machine = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]
    archive = host.folder / "site" / "b7" / f"llama-b7-bin-ubuntu-{machine}.tar.gz"
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(pathlib.Path(built[1]["path"]) / "bin", "llama-b7")
    answer = Published("b7", "1" * 40, "v0.8.0", {archive.name: files.sha256_of(archive)})
    changed = dataclasses.replace(answer, sums={archive.name: "0" * 64})
    with fake_site.served(host.folder / "site") as url:
        unasked = host.run(source="upstream:stable", upstream_url=url)
        failed = host.run(source="upstream:stable", upstream_url=url, published=changed.to_json())
        taken = host.run(source="upstream:stable", upstream_url=url, published=answer.to_json())
    assert "found upstream:stable without checksums" in unasked["msg"]
    assert f"expected sha256 {'0' * 64}, found sha256" in failed["msg"]
    assert (taken["changed"], taken["compiled"], taken["build"], taken["commit"]) == (True, False, "v0.8.0", "1" * 40)
    manifest = manifest_of(taken)
    assert (manifest["channel"], manifest["nightly"], manifest["origin"]) == ("stable", "b7", "upstream")
    assert not host.run(source="upstream:stable", update="missing")["changed"], "no answer for what is there"


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"method": "upstream"}, "llama_cpp_method: expected .*, found upstream"),
        (
            {"method": "source", "source": "release+/srv/b1-0123456789ab.tar.gz"},
            "llama_cpp_method: expected .*, found source",
        ),
        (
            {"source": "release+/srv/b1-0123456789ab.tar.gz"},
            "llama_cpp_source: expected .*, found no file /srv/b1-0123456789ab.tar.gz",
        ),
        ({"cache": ["releases"]}, "llama_cpp_cache: expected .*, found 'releases'"),
        ({"trusted_signers": ["a friend"]}, "llama_cpp_trusted_signers"),
        ({"state": "packed", "signing_key": "/nowhere"}, "llama_cpp_signing_key"),
    ],
)
def test_bad_input_is_a_sentence(host: Host, parameters: Facts, sentence: str) -> None:
    assert re.search(sentence, host.run(**parameters)["msg"])
